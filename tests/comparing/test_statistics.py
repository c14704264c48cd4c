"""DeLong, Wilson and the bootstrap against scikit-learn, scipy, brute force, hand-worked cases and simulation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as roc_curve_of_scikit_learn

from tissueclock.comparing.statistics import (
    AucDifference,
    bootstrap_auc,
    compare_aucs,
    estimate_auc,
    estimate_rate,
    roc_curve,
)
from tissueclock.errors import InputError
from tissueclock.learning.metrics import youden_threshold


def _sample(seed: int, n_positive: int, n_negative: int, *, shift: float = 1.0, decimals: int = 1):
    """Labels and two correlated scores with ties, in random order."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(n_positive + n_negative) < n_positive)
    shared = generator.normal(size=len(labels))
    first, second = (
        np.round(shared + generator.normal(size=len(labels)) + weight * shift * labels, decimals)
        for weight in (1.0, 0.6)
    )
    return labels, first, second


def _brute_force(labels, scores_of):
    """AUCs and their covariance by DeLong 1988's definition: every positive against every negative, in loops."""
    positive, negative = np.flatnonzero(labels), np.flatnonzero(~labels)
    m, n = len(positive), len(negative)
    aucs, v10, v01 = [], np.zeros((len(scores_of), m)), np.zeros((len(scores_of), n))
    for k, scores in enumerate(scores_of):
        total = 0.0
        for i in range(m):
            for j in range(n):
                x, y = scores[positive[i]], scores[negative[j]]
                psi = 1.0 if x > y else 0.5 if x == y else 0.0
                v10[k, i] += psi / n
                v01[k, j] += psi / m
                total += psi
        aucs.append(total / (m * n))
    return np.array(aucs), np.atleast_2d(np.cov(v10) / m + np.cov(v01) / n)


@pytest.mark.parametrize(("n_positive", "n_negative"), [(2, 3), (10, 10), (37, 37), (200, 5)])
def test_auc_is_scikit_learns_ties_included(n_positive, n_negative):
    labels, scores, _ = _sample(n_positive, n_positive, n_negative)
    assert estimate_auc(labels, scores).auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_curve_is_scikit_learns_ties_included(decimals):
    labels, scores, _ = _sample(decimals, 30, 20, decimals=decimals)

    expected = roc_curve_of_scikit_learn(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(labels, scores), expected[:2], atol=1e-15)


@pytest.mark.parametrize(("n_positive", "n_negative", "decimals"), [(5, 4, 0), (37, 37, 1), (60, 25, 8)])
def test_variances_and_test_are_those_of_delongs_definition(n_positive, n_negative, decimals):
    labels, first, second = _sample(3, n_positive, n_negative, decimals=decimals)
    aucs, covariance = _brute_force(labels, [first, second])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z = (aucs[0] - aucs[1]) / math.sqrt(variance)

    compared = compare_aucs(labels, first, second)

    assert estimate_auc(labels, first).variance == pytest.approx(covariance[0, 0], rel=1e-9)
    assert estimate_auc(labels, second).variance == pytest.approx(covariance[1, 1], rel=1e-9)
    assert compared.difference == pytest.approx(aucs[0] - aucs[1], abs=1e-12)
    assert compared.variance == pytest.approx(variance, rel=1e-9)
    assert compared.z == pytest.approx(z, rel=1e-9)
    assert compared.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-9)


def test_a_case_worked_by_hand():
    # Positives 3, 2; negatives 1, 2: wins 1 + 1 + 1 + 1/2 of 4. V10 = (1, .75), V01 = (1, .75), each of variance 1/32,
    # so the variance is 1/64 + 1/64, the logit ln 7, its standard error sqrt(1/32) / (7/64).
    labels = np.array([True, True, False, False])
    estimate = estimate_auc(labels, np.array([3.0, 2.0, 1.0, 2.0]))
    half = 1.959963984540054 * math.sqrt(1 / 32) / (7 / 64)
    assert estimate.auc == 0.875
    assert estimate.variance == pytest.approx(1 / 32)
    assert estimate.interval.low == pytest.approx(1 / (1 + math.exp(-(math.log(7) - half))))
    assert estimate.interval.high == pytest.approx(1 / (1 + math.exp(-(math.log(7) + half))))


def test_only_the_order_of_scores_counts():
    labels, scores, other = _sample(5, 20, 30)
    assert estimate_auc(labels, np.exp(scores)) == estimate_auc(labels, scores)
    assert compare_aucs(labels, np.exp(scores), 3 * other).p == compare_aucs(labels, scores, other).p


def test_a_score_is_no_better_than_itself():
    labels, scores, _ = _sample(6, 20, 30)
    difference = compare_aucs(labels, scores, scores)
    assert (difference.difference, difference.z, difference.p) == (0.0, 0.0, 1.0)


def test_a_patient_scored_twice_counts_once():
    labels, scores, other = _sample(7, 20, 30, decimals=8)
    twice = np.repeat(np.arange(50), 2)
    patients = [f"sub-{i}" for i in twice]
    once, doubled = estimate_auc(labels, scores), estimate_auc(labels[twice], scores[twice], patients=patients)
    assert doubled.auc == pytest.approx(once.auc)
    assert doubled.variance == pytest.approx(once.variance)
    assert estimate_auc(labels[twice], scores[twice]).variance < 0.6 * once.variance
    assert compare_aucs(labels[twice], scores[twice], other[twice], patients=patients).p == pytest.approx(
        compare_aucs(labels, scores, other).p
    )


def test_the_variance_holds_where_a_patients_two_halves_agree():
    # Each patient gives a positive and a negative half that share a level: compared with the spread of many draws.
    def draw(generator):
        level = generator.normal(size=(40, 1))
        scores = (level + generator.normal(size=(40, 2)) + np.array([1.0, 0.0])).ravel()
        labels = np.tile([True, False], 40)
        return estimate_auc(labels, scores, patients=[str(i // 2) for i in range(80)])

    generator = np.random.default_rng(8)
    estimates = [draw(generator) for _ in range(600)]
    spread = np.var([estimate.auc for estimate in estimates])
    assert np.mean([estimate.variance for estimate in estimates]) == pytest.approx(spread, rel=0.15)


def test_ninety_five_percent_intervals_hold_the_truth_about_that_often():
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(X > Y) for unit normals whose means differ by 1
    generator = np.random.default_rng(9)
    labels = np.arange(74) < 37
    held = 0
    for _ in range(600):
        interval = estimate_auc(labels, generator.normal(size=74) + labels).interval
        held += interval.low <= truth <= interval.high
    assert 0.93 <= held / 600 <= 0.975


def test_the_test_rejects_equal_scores_about_one_time_in_twenty():
    generator = np.random.default_rng(10)
    labels = np.arange(74) < 37
    rejected = 0
    for _ in range(600):
        shared = generator.normal(size=74) + labels
        first, second = (shared + generator.normal(size=74) for _ in range(2))
        difference = compare_aucs(labels, first, second)
        rejected += (difference.p or 1.0) < 0.05
    assert 0.025 <= rejected / 600 <= 0.08


@pytest.mark.parametrize(("n_positive", "n_negative"), [(1, 1), (1, 9), (10, 10), (37, 37)])
def test_a_perfect_score_still_has_an_interval(n_positive, n_negative):
    labels = np.arange(n_positive + n_negative) < n_positive
    estimate = estimate_auc(labels, labels.astype(float))
    low = estimate.interval.low
    n_other = (n_positive + n_negative) / 2 - 1
    variance = low * (1 - low) * (1 + n_other * ((1 - low) / (2 - low) + low / (1 + low))) / (n_positive * n_negative)
    assert (estimate.auc, estimate.interval.high) == (1.0, 1.0)
    assert 0 < low < 1
    assert (1 - low) / math.sqrt(variance) == pytest.approx(1.959964, rel=1e-5)


def test_more_patients_narrow_a_perfect_scores_interval():
    lows = [estimate_auc(np.arange(2 * n) < n, -np.arange(2 * n).astype(float)).interval.low for n in (5, 20, 80)]
    assert lows == sorted(lows)
    assert lows[-1] > 0.93


def test_a_constant_score_is_not_certain_to_be_worth_a_half():
    interval = estimate_auc(np.arange(20) < 10, np.zeros(20)).interval
    assert interval.low == pytest.approx(1 - interval.high)
    assert 0.2 < interval.low < 0.3


def test_a_difference_without_variance_has_an_interval_but_no_p():
    labels = np.arange(20) < 10
    difference = compare_aucs(labels, labels.astype(float), np.zeros(20))
    assert difference.difference == 0.5
    assert (difference.z, difference.p) == (None, None)
    assert 0 < difference.interval.low < 0.5 < difference.interval.high <= 0.8
    assert isinstance(difference, AucDifference)


@pytest.mark.parametrize(("n_hits", "n"), [(0, 10), (10, 10), (24, 42), (34, 40), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_rates_have_scipys_wilson_interval(n_hits, n, confidence):
    rate = estimate_rate(n_hits, n, confidence=confidence)
    expected = binomtest(n_hits, n).proportion_ci(confidence, method="wilson")
    assert rate.value == n_hits / n
    assert (rate.interval.low, rate.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilsons_interval_is_the_published_one():
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I: 81 of 263.
    interval = estimate_rate(81, 263).interval
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_the_bootstrap_agrees_with_delong_on_many_patients():
    labels, scores, _ = _sample(11, 150, 150)
    delong = estimate_auc(labels, scores).interval
    patients = [f"sub-{i}" for i in range(300)]
    interval = bootstrap_auc(labels, scores, patients, generator=np.random.default_rng(0))
    assert (interval.low, interval.high) == pytest.approx((delong.low, delong.high), abs=0.012)


def test_a_bootstrap_is_that_of_resampled_units_scored_by_scikit_learn():
    labels, scores, _ = _sample(12, 12, 15)
    generator = np.random.default_rng(1)
    aucs, classes = [], (np.flatnonzero(labels), np.flatnonzero(~labels))
    for _ in range(800):
        drawn = np.concatenate([generator.choice(units, len(units)) for units in classes])
        aucs.append(roc_auc_score(labels[drawn], scores[drawn]))
    expected = np.quantile(aucs, [0.025, 0.975])
    interval = bootstrap_auc(labels, scores, [str(i) for i in range(27)], generator=np.random.default_rng(2))
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.03)


def test_the_same_generator_gives_the_same_bootstrap():
    labels, scores, _ = _sample(13, 12, 15)
    patients = [str(i // 2) for i in range(27)]
    one, two = (bootstrap_auc(labels, scores, patients, generator=np.random.default_rng(4)) for _ in range(2))
    other = bootstrap_auc(labels, scores, patients, generator=np.random.default_rng(5))
    assert one == two != other


def test_one_class_has_no_auc():
    with pytest.raises(InputError, match=r"3 of 3 are positive; an AUC needs both classes"):
        estimate_auc(np.ones(3, bool), np.arange(3.0))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match=r"1 of 3 are not finite"):
        compare_aucs(np.array([True, False, False]), np.arange(3.0), np.array([0.0, np.nan, 1.0]))


def test_patients_must_match_the_units():
    with pytest.raises(InputError, match=r"2 found for 3 units"):
        estimate_auc(np.array([True, False, False]), np.arange(3.0), patients=["a", "b"])


@pytest.mark.parametrize(("n_hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_rate_of_nothing_is_refused(n_hits, n):
    with pytest.raises(InputError, match=rf"{n_hits} of {n} found"):
        estimate_rate(n_hits, n)


def test_aucs_and_their_paired_test_are_those_of_r_s_proc() -> None:
    """`data/make_proc.R` made the figures."""
    proc = json.loads((Path(__file__).parent / "data" / "proc.json").read_text())
    labels = np.array(proc["label"]) == 1
    first, second = np.array(proc["first"]), np.array(proc["second"])
    estimates = [estimate_auc(labels, scores) for scores in (first, second)]
    assert [found.auc for found in estimates] == pytest.approx(proc["auc"], rel=1e-12)
    assert [math.sqrt(found.variance) for found in estimates] == pytest.approx(proc["se"], rel=1e-9)
    test = compare_aucs(labels, first, second)
    assert (test.z, test.p) == pytest.approx((proc["z"], proc["p"]), rel=1e-9)
    assert (test.interval.low, test.interval.high) == pytest.approx(tuple(proc["difference_ci"]), rel=1e-6)
    calls = first >= youden_threshold(labels, first)
    assert (calls[labels].mean(), (~calls[~labels]).mean()) == pytest.approx(tuple(proc["youden"][1:]))
