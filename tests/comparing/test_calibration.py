"""Calibration, operating points and agreement against other libraries and worked values."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, brier_score_loss, precision_recall_curve

from tissueclock.comparing.agreement import estimate_kappa
from tissueclock.comparing.calibration import fit_temperature, measure_calibration, net_benefit, temperature_of_mean
from tissueclock.comparing.operating import measure_operating, youden_threshold
from tissueclock.comparing.scores import Scores


def drawn(n: int, *, seed: int = 0, sharpened: float = 1.0) -> Scores:
    """Labels drawn with the probability of the logit, which is then made too extreme by a factor."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-0.3, 1.5, n)
    labels = generator.random(n) < expit(logits)
    names = tuple(map(str, range(n)))
    return Scores(names, names, labels, sharpened * logits)


def test_the_temperature_undoes_what_made_logits_too_extreme() -> None:
    assert fit_temperature(drawn(20_000, sharpened=3.0)) == pytest.approx(3.0, rel=0.05)


def test_slope_intercept_and_brier_are_those_of_other_libraries() -> None:
    scores = drawn(400, sharpened=2.0)
    told = measure_calibration(scores, temperature=1.0)
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(scores.logits[:, None], scores.labels)
    assert told.slope is not None
    assert told.slope.value == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert told.slope.interval.low < 0.5 < told.slope.interval.high
    assert told.brier.value == pytest.approx(brier_score_loss(scores.labels, expit(scores.logits)))
    assert told.intercept is not None
    shifted = expit(scores.logits + told.intercept.value)
    assert shifted.mean() == pytest.approx(scores.labels.mean())  # what calibration in the large means
    assert sum(part.observed.n for part in told.bins) == 400


def test_both_hemispheres_of_a_patient_widen_the_intervals_as_one_observation() -> None:
    once = drawn(200, seed=1)
    twice = Scores(
        tuple(f"{unit}/{side}" for unit in once.units for side in "lr"),
        tuple(patient for patient in once.patients for _ in "lr"),
        np.repeat(once.labels, 2),
        np.repeat(once.logits, 2),
    )
    one, two = (measure_calibration(scores, temperature=1.0).brier.interval for scores in (once, twice))
    assert (two.low, two.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(
    ("labels", "logits", "patients"),
    [
        ([0, 0, 0, 1, 1, 1], [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], "abcdef"),
        ([0, 1, 0, 1, 1, 0], [2.0] * 6, "abcdef"),
        ([0, 1], [1.0, 0.0], "ab"),
        ([0, 1], [0.0, 1.0], "aa"),
    ],
    ids=["separated", "all alike", "two patients", "one patient"],
)
def test_where_nothing_can_be_estimated_there_is_no_slope(
    labels: list[int], logits: list[float], patients: str
) -> None:
    units = tuple(f"{patient}{i}" for i, patient in enumerate(patients))
    scores = Scores(units, tuple(patients), np.array(labels, dtype=bool), np.array(logits))
    told = measure_calibration(scores, temperature=fit_temperature(scores))
    assert told.slope is None
    assert 0 <= told.brier.value <= 1
    measure_operating(scores, threshold=0.0, generator=np.random.default_rng(0))


def test_net_benefit_of_treating_everybody_is_prevalence_less_the_odds_of_the_rest() -> None:
    labels = np.arange(10) < 3
    assert net_benefit(labels, np.ones(10), [0.2]) == pytest.approx([0.3 - 0.7 * 0.25])
    assert net_benefit(labels, np.zeros(10), [0.2]) == pytest.approx([0.0])


def test_operating_points_are_what_counting_gives() -> None:
    scores = drawn(300, seed=4)
    told = measure_operating(scores, threshold=0.0, generator=np.random.default_rng(0))
    called = scores.logits >= 0
    assert told.ppv is not None
    assert told.ppv.value == pytest.approx(scores.labels[called].mean())
    assert told.npv is not None
    assert told.npv.value == pytest.approx((~scores.labels[~called]).mean())
    precision, recall, _ = precision_recall_curve(scores.labels, scores.logits)
    assert told.auprc.value == pytest.approx(auc(recall, precision), abs=0.01)
    for specificity, estimate in told.sensitivity_at.items():
        cut = np.quantile(scores.logits[~scores.labels], specificity, method="inverted_cdf")
        assert estimate.value == pytest.approx((scores.logits[scores.labels] > cut).mean())
        assert estimate.interval.low <= estimate.value <= estimate.interval.high


def test_the_optimistic_cut_is_the_best_of_all_cuts() -> None:
    scores = drawn(60, seed=5)
    best = youden_threshold(scores.labels, scores.logits)

    def youden(cut: float) -> float:
        called = scores.logits >= cut
        return float(called[scores.labels].mean() - called[~scores.labels].mean())

    assert youden(best) == max(youden(cut) for cut in scores.logits)


def test_fleiss_kappa_of_the_worked_example() -> None:
    """Ten subjects, fourteen raters, five categories: kappa .210 (the example that textbooks give)."""
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    kappa = estimate_kappa(counts)
    assert kappa is not None
    assert kappa.value == pytest.approx(0.210, abs=5e-4)
    assert kappa.interval.low < 0.21 < kappa.interval.high
    assert estimate_kappa(np.array([[3, 0], [3, 0]])) is None  # nobody ever said no


@pytest.mark.parametrize("noise", [0.3, 1.5, 3.0])
def test_the_mean_over_folds_is_told_at_a_temperature_of_its_own(noise: float) -> None:
    rng = np.random.default_rng(11)
    n, n_folds = 40_000, 5
    labels = rng.random(n) < 0.4
    odds = 2.0 * rng.standard_normal(n) + 2.0 * (2 * labels - 1)  # normal, variance twice the mean: log-odds
    by_fold = odds + rng.normal(0, noise, (n_folds, n))  # each fold's networks err on their own
    names = tuple(f"p{i}" for i in range(n))
    judges = Scores(names, names, labels, by_fold[rng.integers(0, n_folds, n), np.arange(n)])
    holdout = Scores(names, names, labels, by_fold.mean(axis=0), by_fold)

    one = fit_temperature(judges)
    of_the_mean = temperature_of_mean(one, judges=judges, others=holdout)

    assert of_the_mean == pytest.approx(fit_temperature(holdout), rel=0.05)
    assert one > of_the_mean
    assert temperature_of_mean(one, judges=judges, others=replace(holdout, by_fold=None)) == one
