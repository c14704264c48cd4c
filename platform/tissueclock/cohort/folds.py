"""Folds: of the patients that a sweep may see each validates once, so that no lucky few judge a configuration."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissueclock.cohort.split import fold_patients
from tissueclock.cohort.store import Cohort


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The rows of a cohort that one network learns from, and those that judge it.

    Attributes:
        train: Ascending.
        validation: Ascending; no patient has rows in both.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


def make_folds(cohort: Cohort, *, n_folds: int, seed: int) -> tuple[Fold, ...]:
    """The folds of a cohort's training and validation patients; the holdout is in none.

    Patients who can judge nothing (`Patient.is_scored`) train in every fold.

    Args:
        cohort: A packed cohort.
        n_folds: 1 is the cohort's own split; else each other patient validates one fold and trains the others.
        seed: Of the dealing; it is the same for all phases of a study, so that a chain never validates on a patient
            whom an earlier phase of the same fold has learned from.

    Raises:
        CohortError: There are fewer patients than folds.
    """
    view = cohort.sweep_view()
    if n_folds == 1:
        return (Fold(view.rows("train"), view.rows("validation")),)
    rows = np.sort(np.concatenate([view.rows("train"), view.rows("validation")]))
    seen = {hemisphere.patient for hemisphere in view.facts(rows)}
    judging = [patient for patient in cohort.patients if patient.participant_id in seen and patient.is_scored]
    fold_of = fold_patients(judging, n_folds=n_folds, seed=seed)
    of_row = np.array([fold_of.get(hemisphere.patient, 0) for hemisphere in view.facts(rows)])
    return tuple(Fold(rows[of_row != fold], rows[of_row == fold]) for fold in range(1, n_folds + 1))


def judged_rows(cohort: Cohort, *, n_folds: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """By name, the parts of a cohort that need both answers of a question: its splits, or its folds and the holdout.

    Raises:
        CohortError: There are fewer patients than folds.
    """
    folds = make_folds(cohort, n_folds=n_folds, seed=seed)
    if n_folds == 1:
        parts = {"train": folds[0].train, "validation": folds[0].validation}
    else:
        parts = {f"fold {i} of {n_folds}": fold.validation for i, fold in enumerate(folds, start=1)}
    return {**parts, "holdout": cohort.split_rows("holdout")}
