"""The truth beside a phantom: what was put in, what can be measured of it, what the observer makes of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissueclock.channels import SERIES
from tissueclock.cohort.store import LESION_MASKS, TRUTH
from tissueclock.errors import CohortError
from tissueclock.phantom.features import FEATURES
from tissueclock.phantom.observer import CUTS_MIN
from tissueclock.storage.tsv import MISSING, read_rows, write_rows

FOLDER, MASKS, LESIONS, OBSERVER = TRUTH, LESION_MASKS, "lesions.tsv", "observer.tsv"
CLEAN_RATIOS = tuple(f"clean_ratio_{series}" for series in SERIES)
NUMBERS = ("onset_to_mri_min", "effective_min", "volume_ml", "white_matter_share", *CLEAN_RATIOS, *FEATURES)
WORDS = ("territory", "dwi_visible", "field")


@dataclass(frozen=True, slots=True)
class TrueLesion:
    """A patient's lesion as it was made.

    Attributes:
        patient: The participant's id.
        words: `territory`, `dwi_visible` (yes or no), `field`.
        numbers: Time by the clock and by the tissue (minutes), volume, white matter's share of it, noise-free ratios
            per series and the measured features. The time here is the one that the tissue was made with, also where
            the cohort's onset times were permuted.
    """

    patient: str
    words: Mapping[str, str]
    numbers: Mapping[str, float]


def write_lesions(path: Path, lesions: Sequence[TrueLesion]) -> None:
    """Writes `truth/lesions.tsv`; numbers with nine digits.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    write_rows(
        path,
        columns=("patient", *WORDS, *NUMBERS),
        rows=(
            {
                "patient": lesion.patient,
                **lesion.words,
                **{name: f"{lesion.numbers[name]:.9g}" for name in NUMBERS},
            }
            for lesion in lesions
        ),
    )


def read_lesions(path: Path) -> tuple[TrueLesion, ...]:
    """Reads `truth/lesions.tsv`.

    Raises:
        CohortError: The file is missing or a row is not as it was written.
    """
    lesions = []
    for row in read_rows(path, required=("patient", *WORDS, *NUMBERS)):
        try:
            numbers = {name: float(row.cells[name]) for name in NUMBERS}
        except ValueError as error:
            raise CohortError(f"{path}, row {row.number} ({row.cells['patient']}): {error}") from error
        lesions.append(TrueLesion(row.cells["patient"], {name: row.cells[name] for name in WORDS}, numbers))
    return tuple(lesions)


def write_observer(path: Path, patients: Sequence[str], scores: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Writes `truth/observer.tsv`: out-of-fold scores, `n/a` where a class was too small to fit.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    write_rows(
        path,
        columns=("patient", *CUTS_MIN),
        rows=(
            {
                "patient": patient,
                **{name: MISSING if math.isnan(scores[name][i]) else f"{scores[name][i]:.9g}" for name in CUTS_MIN},
            }
            for i, patient in enumerate(patients)
        ),
    )


def read_observer(path: Path) -> dict[str, dict[str, float]]:
    """Reads `truth/observer.tsv`: per column, the score of each patient that has one.

    Raises:
        CohortError: The file is missing or lacks a column.
    """
    rows = read_rows(path, required=("patient", *CUTS_MIN))
    return {
        name: {row.cells["patient"]: float(row.cells[name]) for row in rows if row.cells[name] != MISSING}
        for name in CUTS_MIN
    }
