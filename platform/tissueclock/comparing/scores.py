"""Scored units as `holdout.tsv` and `validation.tsv` hold them, and what calls at one threshold come to."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tissueclock.comparing.statistics import Rate, estimate_rate
from tissueclock.errors import InputError
from tissueclock.radiomics import ROI_ML
from tissueclock.storage.folders import fold_columns
from tissueclock.storage.tsv import MISSING, read_rows

COLUMNS = ("unit", "patient", "label", "logit")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scored units, in the file's order.

    Attributes:
        units: What was scored, each name once.
        patients: Whose it is.
        labels: True is positive.
        logits: Higher is more positive.
        by_fold: Where several folds' networks scored each unit, the logit by each, whose mean `logits` is.
    """

    units: tuple[str, ...]
    patients: tuple[str, ...]
    labels: Bool[np.ndarray, " unit"]
    logits: Float[np.ndarray, " unit"]
    by_fold: Float[np.ndarray, "fold unit"] | None = None

    @property
    def n_positive(self) -> int:
        """How many units are positive."""
        return int(self.labels.sum())

    @property
    def has_both(self) -> bool:
        """Whether both classes are among them."""
        return 0 < self.n_positive < len(self.units)

    def take(self, units: tuple[str, ...]) -> "Scores":
        """These units, in the order asked."""
        index = {unit: i for i, unit in enumerate(self.units)}
        chosen = [index[unit] for unit in units]
        by_fold = None if self.by_fold is None else self.by_fold[:, chosen]
        patients = tuple(self.patients[i] for i in chosen)
        return Scores(units, patients, self.labels[chosen], self.logits[chosen], by_fold)


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


def read_scores(path: Path) -> Scores:
    """Reads `holdout.tsv`, or `validation.tsv`.

    Raises:
        InputError: The file is missing or damaged, a label is not 0 or 1, a logit is not finite, a unit appears twice.
    """
    rows = read_rows(path, required=COLUMNS)
    by_column = {name: np.empty(len(rows)) for name in ("logit", *fold_columns(rows[0].cells))}
    for i, row in enumerate(rows):
        cells = row.cells
        if cells["label"] not in ("0", "1"):
            raise InputError(f"{path}, row {row.number} ({cells['unit']}): label is {cells['label']!r}; allowed: 0, 1")
        for name, values in by_column.items():
            try:
                values[i] = float(cells[name])
            except ValueError:
                values[i] = math.nan
            if not math.isfinite(values[i]):
                raise InputError(
                    f"{path}, row {row.number} ({cells['unit']}): {name} is {cells[name]!r}; a finite number is allowed"
                )
    units = tuple(row.cells["unit"] for row in rows)
    if len(set(units)) < len(units):
        raise InputError(f"{path}: {len(units) - len(set(units))} units appear more than once; each may appear once")
    labels = np.array([row.cells["label"] == "1" for row in rows])
    logits, *each = by_column.values()
    patients = tuple(row.cells["patient"] for row in rows)
    return Scores(units, patients, labels, logits, np.stack(each) if each else None)


def read_regions(path: Path) -> frozenset[str] | None:
    """The units of `holdout.tsv` in which the radiomics baseline found a region; None where it did not score them."""
    cells = [row.cells for row in read_rows(path, required=COLUMNS)]
    if ROI_ML not in cells[0]:
        return None
    return frozenset(row["unit"] for row in cells if row[ROI_ML] not in (MISSING, "0"))


def count_calls(labels: Bool[np.ndarray, " unit"], calls: Bool[np.ndarray, " unit"]) -> Confusion:
    """Sensitivity, specificity and accuracy of yes/no calls."""

    def rate(right: Bool[np.ndarray, " chosen"]) -> Rate | None:
        return estimate_rate(int(right.sum()), len(right)) if len(right) else None

    return Confusion(rate(calls[labels]), rate(~calls[~labels]), rate(calls == labels))
