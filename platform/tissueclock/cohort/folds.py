"""Folds: of the patients that a sweep may see each validates once, so that no lucky few judge a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.split import fold_patients
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The rows of a cohort that one network learns from, and those that judge it.

    Attributes:
        train: Ascending.
        validation: Ascending; no patient has rows in both.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


def make_folds(cohort: Cohort, *, n_folds: int, seed: int, by_site: bool = False) -> tuple[Fold, ...]:
    """The folds of a cohort's training and validation patients; the holdout is in none.

    Patients who can judge nothing (`Patient.is_scored`) train in every fold, but for that of their own site.

    Args:
        cohort: A packed cohort.
        n_folds: 1 is the cohort's own split; else each other patient validates one fold and trains the others.
        seed: Of the dealing; it is the same for all phases of a study, so that a chain never validates on a patient
            whom an earlier phase of the same fold has learned from.
        by_site: Whether each fold is the patients of one site, in the order of the sites' names (leave one site out).

    Raises:
        CohortError: There are fewer patients than folds; or, by site, another number of sites, or a patient without.
    """
    view = cohort.sweep_view()
    rows = np.sort(np.concatenate([view.rows("train"), view.rows("validation")]))
    seen = {hemisphere.patient for hemisphere in view.facts(rows)}
    patients = [patient for patient in cohort.patients if patient.participant_id in seen]
    if by_site:
        fold_of = _sites_as_folds(cohort, patients, n_folds=n_folds)
    elif n_folds == 1:
        return (Fold(view.rows("train"), view.rows("validation")),)
    else:
        judging = [patient for patient in patients if patient.is_scored]
        fold_of = fold_patients(judging, n_folds=n_folds, seed=seed, by_site=cohort.by_site)
    judges = {patient.participant_id for patient in patients if patient.is_scored}
    of_row = np.array([fold_of.get(hemisphere.patient, 0) for hemisphere in view.facts(rows)])
    is_judge = np.array([hemisphere.patient in judges for hemisphere in view.facts(rows)])
    return tuple(Fold(rows[of_row != i], rows[(of_row == i) & is_judge]) for i in range(1, n_folds + 1))


def _sites_as_folds(cohort: Cohort, patients: Sequence[Patient], *, n_folds: int) -> dict[str, int]:
    """The fold of each patient: the place of the patient's site among all, by name, from 1."""
    site_of = {patient.participant_id: patient.site for patient in patients if patient.site is not None}
    if without := [patient.participant_id for patient in patients if patient.site is None]:
        raise CohortError(
            f"{cohort.folder}: leave_one_site_out: patient {without[0]} (and {len(without) - 1} more) has neither site "
            "nor scanner in participants.tsv; each patient needs one"
        )
    sites = sorted(set(site_of.values()))
    if len(sites) < 2 or len(sites) != n_folds:
        needed = f"folds: {len(sites)} is needed" if len(sites) > 1 else "two sites are needed"
        raise CohortError(
            f"{cohort.folder}: leave_one_site_out with folds {n_folds}; {len(sites)} sites found "
            f"({', '.join(sites[:_LISTED])}): {needed}"
        )
    return {patient: sites.index(site) + 1 for patient, site in site_of.items()}


def judged_rows(cohort: Cohort, *, n_folds: int, seed: int, by_site: bool = False) -> dict[str, npt.NDArray[np.int64]]:
    """By name, the parts of a cohort that need both answers of a question: its splits, or its folds and the holdout.

    Raises:
        CohortError: See `make_folds`.
    """
    folds = make_folds(cohort, n_folds=n_folds, seed=seed, by_site=by_site)
    if n_folds == 1:
        parts = {"train": folds[0].train, "validation": folds[0].validation}
    else:
        parts = {f"fold {i} of {n_folds}": fold.validation for i, fold in enumerate(folds, start=1)}
    return {**parts, "holdout": cohort.split_rows("holdout")}
