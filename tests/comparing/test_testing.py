"""Tests of differences against worked values, and against what they must never say."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tissueclock.comparing.statistics import AucDifference, Interval, compare_aucs
from tissueclock.comparing.testing import adjust_holm, compare_calls, equivalence_p, judge_difference
from tissueclock.errors import InputError


def difference(value: float, error: float) -> AucDifference:
    return AucDifference(value, error**2, Interval(value - 1.96 * error, value + 1.96 * error), value / error, None)


def test_mcnemars_p_is_the_sign_test_of_the_units_that_one_alone_calls_rightly() -> None:
    labels = np.array([True] * 20)
    first = np.array([True] * 17 + [False] * 3)
    second = np.array([False] * 9 + [True] * 11)
    calls = compare_calls(labels, first, second)
    assert (calls.n_first, calls.n_second) == (9, 3)
    assert calls.p == pytest.approx(binomtest(9, 12).pvalue)
    assert compare_calls(labels, first, first).p == 1.0


def test_holm_steps_down_and_leaves_out_what_has_no_p_value() -> None:
    assert adjust_holm([0.01, None, 0.04, 0.03, 0.005]) == [pytest.approx(0.03), None, *[pytest.approx(0.06)] * 2, 0.02]
    assert adjust_holm([None]) == [None]


@pytest.mark.parametrize(("value", "error"), [(0.0, 0.02), (0.01, 0.02), (0.02, 0.02), (-0.03, 0.012), (0.0, 0.04)])
def test_two_one_sided_tests_decide_as_the_90_percent_interval_does(value: float, error: float) -> None:
    p = equivalence_p(difference(value, error), margin=0.05)
    within = value - 1.6449 * error > -0.05 and value + 1.6449 * error < 0.05
    assert (p is not None and p < 0.05) is within


@pytest.mark.parametrize(
    ("value", "error", "p", "verdict"),
    [
        (0.1, 0.02, 0.001, "first is better"),
        (-0.1, 0.02, 0.001, "second is better"),
        (0.0, 0.01, 0.9, "equivalent"),
        (0.01, 0.004, 0.01, "equivalent"),  # certain, and too small to matter
        (0.04, 0.05, 0.4, "undecided"),
        (0.1, 0.03, None, "undecided"),
    ],
)
def test_what_a_difference_allows_to_say(value: float, error: float, p: float | None, verdict: str) -> None:
    assert judge_difference(difference(value, error), p=p, margin=0.05) == verdict


def test_of_scores_that_know_nothing_few_are_called_better_than_one_another() -> None:
    generator = np.random.default_rng(3)
    verdicts = []
    for _ in range(400):
        labels = np.arange(80) % 2 == 0
        first, second = generator.normal(size=(2, 80))
        found = compare_aucs(labels, first, second)
        verdicts.append(judge_difference(found, p=found.p, margin=0.05))
    assert sum("better" in verdict for verdict in verdicts) <= 32  # 5 %: 20, and chance
    assert "equivalent" not in verdicts  # 80 patients cannot show it at this margin


def test_a_margin_out_of_bounds_is_refused() -> None:
    with pytest.raises(InputError, match="margin is 0"):
        equivalence_p(difference(0.0, 0.1), margin=0.0)
