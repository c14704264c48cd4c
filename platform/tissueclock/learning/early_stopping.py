"""When to stop, and which epoch was the best.

Refuses to know what a metric is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class EarlyStopping:
    """The best epoch so far, and how long ago it was.

    An epoch is better if its score is higher, or as high with a lower loss.

    Attributes:
        patience: Epochs without a better one after which to stop, at least 1.
        best: All metrics of the best epoch; empty before the first.
        n_since: Epochs since then.
    """

    patience: int
    best: dict[str, float] = field(default_factory=dict)
    n_since: int = 0

    def observe(self, metrics: Mapping[str, float]) -> bool:
        """Takes in an epoch's metrics (`val_auc` and `val_loss` count); returns whether it is the best so far."""
        rank = (metrics["val_auc"], -metrics["val_loss"])
        is_better = not self.best or rank > (self.best["val_auc"], -self.best["val_loss"])
        if is_better:
            self.best = dict(metrics)
        self.n_since = 0 if is_better else self.n_since + 1
        return is_better

    @property
    def exhausted(self) -> bool:
        """Whether patience is at an end."""
        return self.n_since >= self.patience

    def as_facts(self) -> dict[str, Any]:
        """The state as JSON facts."""
        return {"best": self.best, "n_since": self.n_since}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], *, patience: int) -> "EarlyStopping":
        """The state that `as_facts` gave, with this patience."""
        return cls(patience=patience, best=dict(facts["best"]), n_since=int(facts["n_since"]))
