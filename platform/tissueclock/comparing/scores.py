"""What one promoted checkpoint scored on the holdout: `holdout.tsv` read, and judged at the threshold of validation.

The figures are made anew from the scores; those in `holdout.json` are held against them.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tissueclock.comparing.statistics import AucEstimate, Interval, Rate, bootstrap_auc, estimate_auc, estimate_rate
from tissueclock.errors import InputError
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows

COLUMNS = ("unit", "patient", "label", "logit")
_TOLERANCE = 1e-3
"""`holdout.json` may be this far from its scores: rounded logits move it less, one patient of 500 more."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scored units, in the file's order.

    Attributes:
        units: What was scored, each name once.
        patients: Whose it is.
        labels: True is positive.
        logits: Higher is more positive.
    """

    units: tuple[str, ...]
    patients: tuple[str, ...]
    labels: Bool[np.ndarray, " unit"]
    logits: Float[np.ndarray, " unit"]

    @property
    def n_positive(self) -> int:
        """How many units are positive."""
        return int(self.labels.sum())

    def take(self, units: tuple[str, ...]) -> "Scores":
        """These units, in the order asked."""
        index = {unit: i for i, unit in enumerate(self.units)}
        chosen = [index[unit] for unit in units]
        return Scores(units, tuple(self.patients[i] for i in chosen), self.labels[chosen], self.logits[chosen])


@dataclass(frozen=True, slots=True)
class Confusion:
    """Calls at one threshold, as rates with Wilson's intervals; None where nobody could be counted.

    Attributes:
        sensitivity: Of the positive units, those called positive.
        specificity: Of the negative units, those called negative.
        accuracy: Of all units, those called rightly.
    """

    sensitivity: Rate | None
    specificity: Rate | None
    accuracy: Rate | None


NOBODY_CALLED = Confusion(None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class HoldoutResult:
    """A checkpoint, judged on the holdout.

    Attributes:
        unit: What was scored: `hemisphere` or `patient`.
        onset_before_min: The cut of an onset question, minutes; None for any other question.
        threshold: The logit from which on a unit is called positive, chosen on validation.
        scores: The scores.
        auc: With DeLong's interval; None where the holdout holds one class only.
        bootstrap: Of the AUC, over patients; None where it was not asked for or there is no AUC.
        confusion: At the threshold.
        attention_in_lesion: The mean share, in [0, 1]; None where no lesions are known or no voxels are attended.
        complaints: Where `holdout.json` and the scores disagree, a line each.
    """

    unit: str
    onset_before_min: float | None
    threshold: float
    scores: Scores
    auc: AucEstimate | None
    bootstrap: Interval | None
    confusion: Confusion
    attention_in_lesion: float | None
    complaints: tuple[str, ...]


def judge_holdout(folder: PromotedFolder, *, generator: np.random.Generator | None = None) -> HoldoutResult:
    """Reads a promoted checkpoint's holdout scores and judges them.

    Args:
        folder: The checkpoint's.
        generator: For the bootstrap; None leaves it out.

    Raises:
        InputError: A file is missing or damaged.
    """
    facts = folder.read_holdout("threshold")
    scores = read_scores(folder.holdout_scores)
    auc = bootstrap = None
    if 0 < scores.n_positive < len(scores.units):
        auc = estimate_auc(scores.labels, scores.logits, patients=scores.patients)
        if generator is not None:
            bootstrap = bootstrap_auc(scores.labels, scores.logits, scores.patients, generator=generator)
    threshold = float(facts["threshold"])
    confusion = count_calls(scores.labels, scores.logits >= threshold)
    return HoldoutResult(
        unit=str(facts["unit"]),
        onset_before_min=facts.get("onset_before_min"),
        threshold=threshold,
        scores=scores,
        auc=auc,
        bootstrap=bootstrap,
        confusion=confusion,
        attention_in_lesion=facts["metrics"].get("attention_in_lesion"),
        complaints=_complaints(folder.holdout, facts["metrics"], auc=auc, confusion=confusion),
    )


def read_scores(path: Path) -> Scores:
    """Reads `holdout.tsv`.

    Raises:
        InputError: The file is missing or damaged, a label is not 0 or 1, a logit is not finite, a unit appears twice.
    """
    rows = read_rows(path, required=COLUMNS)
    logits = np.empty(len(rows))
    for i, row in enumerate(rows):
        cells = row.cells
        if cells["label"] not in ("0", "1"):
            raise InputError(f"{path}, row {row.number} ({cells['unit']}): label is {cells['label']!r}; allowed: 0, 1")
        try:
            logits[i] = float(cells["logit"])
        except ValueError:
            logits[i] = math.nan
        if not math.isfinite(logits[i]):
            raise InputError(
                f"{path}, row {row.number} ({cells['unit']}): logit is {cells['logit']!r}; a finite number is allowed"
            )
    units = tuple(row.cells["unit"] for row in rows)
    if len(set(units)) < len(units):
        raise InputError(f"{path}: {len(units) - len(set(units))} units appear more than once; each may appear once")
    labels = np.array([row.cells["label"] == "1" for row in rows])
    return Scores(units, tuple(row.cells["patient"] for row in rows), labels, logits)


def count_calls(labels: Bool[np.ndarray, " unit"], calls: Bool[np.ndarray, " unit"]) -> Confusion:
    """Sensitivity, specificity and accuracy of yes/no calls."""

    def rate(right: Bool[np.ndarray, " chosen"]) -> Rate | None:
        return estimate_rate(int(right.sum()), len(right)) if len(right) else None

    return Confusion(rate(calls[labels]), rate(~calls[~labels]), rate(calls == labels))


def _complaints(
    path: Path, claimed: dict[str, Any], *, auc: AucEstimate | None, confusion: Confusion
) -> tuple[str, ...]:
    found = {
        "auc": auc and auc.auc,
        "sensitivity": confusion.sensitivity and confusion.sensitivity.value,
        "specificity": confusion.specificity and confusion.specificity.value,
        "accuracy": confusion.accuracy and confusion.accuracy.value,
    }
    return tuple(
        f"{path}: {name} is {claimed[name]:.4f}, but the scores beside it give {value:.4f}"
        for name, value in found.items()
        if value is not None and claimed.get(name) is not None and abs(claimed[name] - value) > _TOLERANCE
    )
