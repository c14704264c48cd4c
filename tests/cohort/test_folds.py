"""Folds: every patient that a sweep may see validates once, and a holdout patient never."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tissueclock.cohort.folds import make_folds
from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.questions import HoldsLesion, OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError


@pytest.mark.parametrize("n_folds", [2, 5])
def test_every_patient_but_the_holdouts_validates_exactly_once(toy_cohort: Cohort, n_folds: int) -> None:
    folds = make_folds(toy_cohort, n_folds=n_folds, seed=3)
    seen = {h.patient for h in toy_cohort.table if h.split != "holdout"}
    judged = []
    for fold in folds:
        validates = {toy_cohort.table[row].patient for row in fold.validation}
        learned_from = {toy_cohort.table[row].patient for row in fold.train}
        assert not validates & learned_from
        assert validates | learned_from == seen
        judged += sorted(validates)
    assert sorted(judged) == sorted(seen)


def test_folds_are_alike_in_onset_and_size(toy_cohort: Cohort) -> None:
    folds = make_folds(toy_cohort, n_folds=4, seed=3)
    early = [np.mean([(toy_cohort.table[r].onset_to_mri_min or 9e9) < 180 for r in f.validation]) for f in folds]
    assert max(len(f.validation) for f in folds) - min(len(f.validation) for f in folds) <= 2
    assert max(early) - min(early) < 0.17  # two patients of twelve


def test_one_fold_is_the_cohorts_own_split(toy_cohort: Cohort) -> None:
    (fold,) = make_folds(toy_cohort, n_folds=1, seed=3)
    assert np.array_equal(fold.train, toy_cohort.split_rows("train"))
    assert np.array_equal(fold.validation, toy_cohort.split_rows("validation"))


def test_patients_of_unknown_onset_train_in_every_fold_and_judge_none(
    tmp_path: Path, pack: Callable[..., Path], patients: list[Patient]
) -> None:
    unknown = [Patient("woke", None, "left", {}, {}), Patient("unsure", None, None, {}, {})]
    cohort = Cohort.open(pack(tmp_path / "cohort", [*patients, *unknown]))
    rows = {i for i, half in enumerate(cohort.table) if half.patient in ("woke", "unsure")}
    for n_folds in (1, 3):
        for fold in make_folds(cohort, n_folds=n_folds, seed=3):
            assert rows <= set(fold.train.tolist())
            assert not rows & set(fold.validation.tolist())
    asked = (
        [HoldsLesion().label(half) for half in cohort.table[-4:]],
        [OnsetBefore(270.0).label(h) for h in cohort.table],
    )
    assert asked[0] == [True, False, None, None]
    assert asked[1][-4:] == [None] * 4


def test_more_folds_than_patients_are_refused(toy_cohort: Cohort) -> None:
    with pytest.raises(CohortError, match="48 patients for 49 folds"):
        make_folds(toy_cohort, n_folds=49, seed=3)


def at_sites(patients: list[Patient], *sites: str) -> list[Patient]:
    return [replace(each, extra={"site": sites[i % len(sites)]}) for i, each in enumerate(patients)]


def test_leave_one_site_out_makes_each_site_a_fold_that_nobody_of_it_trains(
    tmp_path: Path, pack: Callable[..., Path], patients: list[Patient]
) -> None:
    woke = Patient("woke", None, "left", {}, {"site": "b"})
    cohort = Cohort.open(pack(tmp_path / "cohort", [*at_sites(patients, "c", "a", "b"), woke]))
    site = {patient.participant_id: patient.site for patient in cohort.patients}
    folds = make_folds(cohort, n_folds=3, seed=3, by_site=True)

    for fold, own in zip(folds, ("a", "b", "c"), strict=True):
        assert {site[cohort.table[row].patient] for row in fold.validation} == {own}
        assert {site[cohort.table[row].patient] for row in fold.train} == {"a", "b", "c"} - {own}
        assert "woke" not in {cohort.table[row].patient for row in fold.validation}


@pytest.mark.parametrize(
    ("sites", "n_folds", "said"),
    [
        (("a", "b"), 5, r"leave_one_site_out with folds 5; 2 sites found \(a, b\): folds: 2 is needed"),
        (("a",), 1, r"1 sites found \(a\): two sites are needed"),
        (("a", ""), 2, "has neither site nor scanner in participants.tsv"),
    ],
)
def test_sites_that_are_no_folds_are_refused(
    tmp_path: Path, pack: Callable[..., Path], patients: list[Patient], sites: tuple[str, ...], n_folds: int, said: str
) -> None:
    cohort = Cohort.open(pack(tmp_path / "cohort", at_sites(patients, *sites)))
    with pytest.raises(CohortError, match=said):
        make_folds(cohort, n_folds=n_folds, seed=3, by_site=True)


def test_folds_are_alike_in_site_but_for_cohorts_packed_before(
    tmp_path: Path, pack: Callable[..., Path], patients: list[Patient]
) -> None:
    cohort = Cohort.open(pack(tmp_path / "cohort", at_sites(patients, "a", "b")))
    assert cohort.by_site
    at_a = [
        sum(cohort.patients[row // 2].site == "a" for row in fold.validation)
        for fold in make_folds(cohort, n_folds=2, seed=3)
    ]
    assert max(at_a) - min(at_a) <= 2  # one patient
    older = replace(cohort, by_site=False)
    stripped = Cohort.open(pack(tmp_path / "older", patients))
    assert not stripped.by_site
    for one, other in zip(
        make_folds(older, n_folds=2, seed=3),
        make_folds(replace(stripped, table=cohort.table), n_folds=2, seed=3),
        strict=True,
    ):
        assert np.array_equal(one.validation, other.validation)
