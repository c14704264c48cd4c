"""When to stop, and which epoch was the best."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class EarlyStopping:
    """The best epoch so far, and how long ago it was.

    An epoch is better if its score is higher, or as high with a lower loss.

    Attributes:
        patience: Epochs without a better one after which to stop, at least 1.
        objective: The metric that scores an epoch.
        best: All metrics of the best epoch; empty before the first.
        n_since: Epochs since then.
    """

    patience: int
    objective: str = "val_auc"
    best: dict[str, float] = field(default_factory=dict)
    n_since: int = 0

    def observe(self, metrics: Mapping[str, float]) -> bool:
        """Takes in an epoch's metrics (the objective and `val_loss` count); returns whether it is the best so far."""
        rank = (metrics[self.objective], -metrics["val_loss"])
        is_better = not self.best or rank > (self.best[self.objective], -self.best["val_loss"])
        if is_better:
            self.best = dict(metrics)
        self.n_since = 0 if is_better else self.n_since + 1
        return is_better

    def report(self) -> dict[str, float]:
        """What an epoch's metrics say of all so far: `best_value`, `best_epoch` and `epochs_since_best`."""
        return {
            "best_value": self.best[self.objective],
            "best_epoch": self.best["epoch"],
            "epochs_since_best": float(self.n_since),
        }

    @property
    def exhausted(self) -> bool:
        """Whether patience is at an end."""
        return self.n_since >= self.patience

    def as_facts(self) -> dict[str, Any]:
        """The state as JSON facts."""
        return {"best": self.best, "n_since": self.n_since}

    def from_facts(self, facts: Mapping[str, Any]) -> "EarlyStopping":
        """The state that `as_facts` gave, with this patience and objective."""
        return replace(self, best=dict(facts["best"]), n_since=int(facts["n_since"]))
