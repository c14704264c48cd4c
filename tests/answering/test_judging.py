"""Conformal answers: what is ruled out is wrong no more often than asked for, in each class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissueclock.answering.judging import Judges, fit_side_temperature, measure_coverage, tell
from tissueclock.comparing.scores import Scores


def drawn(n: int, rng: np.random.Generator, *, gain: float = 1.0) -> Scores:
    labels = rng.random(n) < 0.4
    names = tuple(f"p{i}" for i in range(n))
    return Scores(names, names, labels, gain * (rng.standard_normal(n) + 1.5 * (labels - 0.5)))


@pytest.mark.parametrize("error_rate", [0.1, 0.2])
def test_a_wrong_answer_is_told_as_often_as_asked_for_in_each_class(error_rate: float) -> None:
    rng = np.random.default_rng(5)
    missed: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(100):
        scores, new = drawn(150, rng), drawn(150, rng)
        judges = Judges(scores, np.zeros(150, dtype=np.int64), 1.0, 1.0)
        for label in (True, False):
            logits = new.logits[new.labels == label]
            credible = np.array([judges.credibility(np.array([logit]))[int(label)] for logit in logits])
            missed[label].append(float((credible <= error_rate).mean()))
    for each in missed.values():
        assert np.mean(each) == pytest.approx(error_rate, abs=0.02)


def test_each_fold_is_held_against_its_own_judges() -> None:
    labels = np.array([False, True] * 4)
    names = tuple(f"p{i}" for i in range(8))
    logits = np.array([-1.0, 1.0, -1.0, 1.0, 9.0, 11.0, 9.0, 11.0])  # the second fold's say 10 more
    judges = Judges(Scores(names, names, labels, logits), np.array([0, 0, 0, 0, 1, 1, 1, 1]), 1.0, 1.0)
    no, yes = judges.credibility(np.array([2.0, 12.0]))
    assert (no, yes) == (1 / 5, 1.0)


@given(no=st.floats(0, 1), yes=st.floats(0, 1), error_rate=st.floats(0.01, 0.5))
def test_what_is_told_is_what_alone_is_credible(no: float, yes: float, error_rate: float) -> None:
    told = tell(no, yes, error_rate=error_rate)
    assert (told == "yes") == (yes > error_rate >= no)
    assert (told == "no") == (no > error_rate >= yes)


def test_coverage_counts_wrong_answers_and_answers() -> None:
    rng = np.random.default_rng(3)
    judges = Judges(drawn(400, rng), np.zeros(400, dtype=np.int64), 1.0, 1.0)
    found = measure_coverage(judges, drawn(2000, rng), error_rate=0.1)
    assert found.right.value == pytest.approx(0.9, abs=0.03)
    assert 0.3 < found.told.value < 0.9


def test_the_temperature_of_sides_is_that_of_differences_of_one_sided_patients() -> None:
    rng = np.random.default_rng(1)
    n, gain = 4000, 3.0
    left = rng.random(n) < 0.5
    odds = 2.0 * (left - 0.5) * 2 + rng.standard_normal(n) * 2.0  # normal with variance twice its mean: log-odds
    units = tuple(f"p{i}/{side}" for i in range(n) for side in ("left", "right"))
    patients = tuple(f"p{i}" for i in range(n) for _ in range(2))
    labels = np.array([own for each in left.tolist() for own in (each, not each)])
    logits = np.array([half for each in (gain * odds).tolist() for half in (each, 0.0)])
    scores = Scores(units, patients, labels, logits)
    assert fit_side_temperature(scores, scores) == pytest.approx(gain, rel=0.1)


def test_similar_patients_are_the_nearest_of_known_onset() -> None:
    logits, ratio = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.1, 1.2, np.nan])
    names = tuple(f"p{i}" for i in range(4))
    judges = Judges(
        Scores(names, names, logits > 1, logits), np.zeros(4, dtype=np.int64), 1.0, 1.0,
        {"rFLAIR": ratio}, np.array([300.0, np.nan, 100.0, 50.0]),
    )  # fmt: skip
    found = judges.find_similar({"logit": 1.1, "rFLAIR": 1.11}, n=5)
    assert [each.onset_min for each in found] == [100.0, 300.0]  # one has no onset, one no ratio
    assert found[0].figures == {"logit": 2.0, "rFLAIR": 1.2}
    assert [each.onset_min for each in judges.find_similar({"logit": 2.9}, n=2)] == [50.0, 100.0]


def test_what_few_judges_have_is_no_part_of_what_is_typical() -> None:
    rng = np.random.default_rng(2)
    scores = drawn(30, rng)
    ratio = np.where(np.arange(30) < 6, 1.0, np.nan)
    judges = Judges(scores, np.zeros(30, dtype=np.int64), 1.0, 1.0, {"rFLAIR": ratio, "rDWI": rng.normal(1.5, 0.1, 30)})
    found = judges.find_typical(["rFLAIR", "rDWI"])
    assert found is not None
    assert found.names == ("logit", "rDWI")
