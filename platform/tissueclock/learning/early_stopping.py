"""When to stop, and which epoch was the best."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class EarlyStopping:
    """The best epoch so far, and how long ago it was.

    An epoch's score is the objective's mean over it and the epochs before it, `smooth` of them at most: the best of
    many noisy values is mostly luck. An epoch is better if its score is higher, or as high with a lower loss.

    Attributes:
        patience: Epochs without a better one after which to stop, at least 1.
        objective: The metric that scores an epoch.
        smooth: Epochs that a score is the mean of, at least 1; 1: each epoch by itself.
        best: All metrics of the best epoch, its own and not smoothed; empty before the first.
        best_score: Its score; 0 before the first.
        n_since: Epochs since then.
        recent: The objective's last values, `smooth` at most.
    """

    patience: int
    objective: str = "val_auc"
    smooth: int = 1
    best: dict[str, float] = field(default_factory=dict)
    best_score: float = 0.0
    n_since: int = 0
    recent: tuple[float, ...] = ()

    def observe(self, metrics: Mapping[str, float]) -> bool:
        """Takes in an epoch's metrics (the objective and `val_loss` count); returns whether it is the best so far."""
        self.recent = (*self.recent, metrics[self.objective])[-self.smooth :]
        score = sum(self.recent) / len(self.recent)
        is_better = not self.best or (score, -metrics["val_loss"]) > (self.best_score, -self.best["val_loss"])
        if is_better:
            self.best, self.best_score = dict(metrics), score
        self.n_since = 0 if is_better else self.n_since + 1
        return is_better

    def report(self) -> dict[str, float]:
        """What an epoch's metrics say of all so far: `best_value` (the score), `best_epoch`, `epochs_since_best`."""
        return {
            "best_value": self.best_score,
            "best_epoch": self.best["epoch"],
            "epochs_since_best": float(self.n_since),
        }

    @property
    def exhausted(self) -> bool:
        """Whether patience is at an end."""
        return self.n_since >= self.patience

    def as_facts(self) -> dict[str, Any]:
        """The state as JSON facts."""
        return {"best": self.best, "best_score": self.best_score, "n_since": self.n_since, "recent": list(self.recent)}

    def from_facts(self, facts: Mapping[str, Any]) -> "EarlyStopping":
        """The state that `as_facts` gave, with this patience, objective and `smooth`; 0.1 wrote no scores."""
        best = dict(facts["best"])
        return replace(
            self,
            best=best,
            best_score=float(facts.get("best_score", best.get(self.objective, 0.0))),
            n_since=int(facts["n_since"]),
            recent=tuple(facts.get("recent", ()))[-self.smooth :],
        )
