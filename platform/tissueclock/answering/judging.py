"""What the patients who judged a checkpoint say of its logit for another one: a probability, and what can be ruled out.

References:
    Guo et al. 2017 (temperature), arXiv 1706.04599.
    Vovk et al. 2005 (conformal prediction, by class), doi 10.1007/b106715.
    Vovk 2015 (cross-conformal: each fold by its own networks), doi 10.1007/s10472-013-9368-4.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy.special import expit

from tissueclock.comparing.calibration import fit_temperature
from tissueclock.comparing.scores import Scores, read_scores
from tissueclock.comparing.statistics import Rate, estimate_rate
from tissueclock.errors import CheckpointError
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows

Told = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """The patients who judged a checkpoint, scored by networks that never learned from them.

    Attributes:
        scores: Their logits.
        folds: Which of the checkpoint's folds each validated, from 0.
        temperature: What logits are divided by, to be log-odds.
    """

    scores: Scores
    folds: Int64[ndarray, " unit"]
    temperature: float

    def probability(self, logit: float) -> float:
        """The calibrated probability of yes: that which the report holds against the holdout."""
        return float(expit(logit / self.temperature))

    def credibility(self, by_fold: Float[ndarray, " fold"]) -> tuple[float, float]:
        """How credible "no" and "yes" are for a patient: conformal p-values, each from the judges of that class.

        Of patients of a class, at most about a share e have one below e for it.

        Args:
            by_fold: The patient's logit by each fold's networks.
        """
        own = by_fold[self.folds]
        no, yes = ~self.scores.labels, self.scores.labels
        n_as_odd = (self.scores.logits >= own)[no].sum(), (self.scores.logits <= own)[yes].sum()
        return float((n_as_odd[0] + 1) / (no.sum() + 1)), float((n_as_odd[1] + 1) / (yes.sum() + 1))


def read_judges(promoted: PromotedFolder, *, n_folds: int) -> Judges:
    """Reads `validation.tsv` of a checkpoint.

    Raises:
        CheckpointError: The checkpoint was scored before folds were told.
        InputError: The table is missing or damaged.
    """
    path = promoted.validation_scores
    scores = read_scores(path)
    cells = [row.cells for row in read_rows(path, required=("unit",))]
    if "fold" not in cells[0]:
        raise CheckpointError(f"{path}: no column fold; delete holdout.json beside it and run tissueclock sweep again")
    told = {row["fold"] for row in cells}
    if wrong := told - {str(fold) for fold in range(1, n_folds + 1)}:
        raise CheckpointError(f"{path}: fold {min(wrong)!r} found; 1 to {n_folds} are allowed")
    folds = np.array([int(row["fold"]) - 1 for row in cells], dtype=np.int64)
    return Judges(scores, folds, fit_temperature(scores))


@dataclass(frozen=True, slots=True)
class Coverage:
    """How an error rate was met by patients who took no part.

    Attributes:
        right: Of all, those for whom the wrong answer was not told.
        told: Of all, those who were told yes or no.
    """

    right: Rate
    told: Rate


def measure_coverage(judges: Judges, holdout: Scores, *, error_rate: float) -> Coverage:
    """How the error rate is met on a holdout; of several folds the mean logit stands for each, as scoring kept it."""
    n_folds = int(judges.folds.max()) + 1
    said = [
        tell(*judges.credibility(np.full(n_folds, logit)), error_rate=error_rate) for logit in holdout.logits.tolist()
    ]
    wrong = [word == ("no" if label else "yes") for word, label in zip(said, holdout.labels.tolist(), strict=True)]
    n_told = sum(word != "cannot tell" for word in said)
    return Coverage(estimate_rate(len(said) - sum(wrong), len(said)), estimate_rate(n_told, len(said)))


def tell(credible_no: float, credible_yes: float, *, error_rate: float) -> Told:
    """`yes` or `no` where that answer alone is credible; where both are or neither is, nothing can be told."""
    no, yes = credible_no > error_rate, credible_yes > error_rate
    return "cannot tell" if no == yes else "yes" if yes else "no"


def fit_side_temperature(scores: Scores) -> float:
    """The temperature of the difference between a patient's halves, from the judges with a lesion on one side alone."""
    halves: dict[str, dict[str, tuple[float, bool]]] = {}
    for unit, patient, logit, label in zip(scores.units, scores.patients, scores.logits, scores.labels, strict=True):
        halves.setdefault(patient, {})[unit.rpartition("/")[2]] = (float(logit), bool(label))
    pairs = {
        patient: (own["left"][0] - own["right"][0], own["left"][1])
        for patient, own in halves.items()
        if own.keys() == {"left", "right"} and own["left"][1] != own["right"][1]
    }
    names = tuple(pairs)
    logits = np.array([pairs[name][0] for name in names], dtype=float)
    return fit_temperature(Scores(names, names, np.array([pairs[name][1] for name in names], dtype=bool), logits))
