"""Whether a probability means what it says: calibration in the large, slope, Brier score, curve, net benefit.

Probabilities are those of the logit over a temperature that validation chose: no label of a holdout patient is used.

References:
    Cox 1958 (slope and intercept), doi 10.2307/2333203.
    Van Calster et al. 2019, doi 10.1186/s12916-019-1466-7.
    Guo et al. 2017 (temperature), arXiv 1706.04599.
    Ranjan & Gneiting 2010 (means of forecasts), doi 10.1111/j.1467-9868.2009.00726.x.
    Vickers & Elkin 2006 (net benefit), doi 10.1177/0272989X06295361.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from tissueclock.comparing.scores import Scores
from tissueclock.comparing.statistics import CONFIDENCE, Estimate, Interval, Rate, estimate_rate, normal_z

_LOG_TEMPERATURE = (math.log(1 / 20), math.log(20))
N_BINS = 5
_LEAST_LEFT = 0.1
"""Of a temperature, where folds differ so much that nothing can be said of their mean."""

_WIDEST = 50.0
"""An interval wider than this says that the classes are separated, or nearly."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Units of similar probability.

    Attributes:
        probability: Their mean.
        observed: How many of them are positive.
    """

    probability: float
    observed: Rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How probabilities compare with what happened.

    Attributes:
        temperature: What logits were divided by.
        intercept: Calibration in the large: the log-odds that must be added; 0 is right, above 0 means told too low.
        slope: Of the observed log-odds on those told; 1 is right, below 1 means too extreme. None where nothing can be
            estimated: classes that are separated completely, equal scores, a patient or two.
        brier: Mean squared error of the probability, 0 to 1.
        bins: Equal numbers of units in each, from the lowest probability.
    """

    temperature: float
    intercept: Estimate | None
    slope: Estimate | None
    brier: Estimate
    bins: tuple[Bin, ...]


def fit_temperature(scores: Scores) -> float:
    """The temperature, in [0.05, 20], under which the scores are likeliest; 1 where one class is missing."""
    if not scores.has_both:
        return 1.0
    signs = np.where(scores.labels, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signs * scores.logits / math.exp(log_temperature)).mean())

    return math.exp(float(minimize_scalar(loss, bounds=_LOG_TEMPERATURE, method="bounded").x))


def temperature_of_mean(temperature: float, *, judges: Scores, others: Scores) -> float:
    """The temperature of the mean over folds, from that of single folds.

    Nobody judged the mean: each judge was learned from by all folds but one. A mean over networks that err each in its
    own way varies less than one of them, so at their temperature it would tell too little (Ranjan & Gneiting 2010). If
    logits are normal within a class, the temperature goes with their variance there: that of a single fold, which the
    judges tell, less what is averaged away, which patients whom nobody learned from tell without their labels.

    Args:
        temperature: Of single folds, fitted on `judges`.
        judges: Each scored by one fold.
        others: Scored by all folds; where they were not, or there is one fold, the temperature stays.
    """
    if others.by_fold is None or not judges.has_both:
        return temperature
    within = float(np.mean([np.var(judges.logits[judges.labels == label]) for label in (False, True)]))
    averaged_away = float(others.by_fold.var(axis=0, ddof=1).mean()) * (1 - 1 / len(others.by_fold))
    return temperature * max(1 - averaged_away / within, _LEAST_LEFT) if within > 0 else temperature


def measure_calibration(scores: Scores, *, temperature: float, n_bins: int = N_BINS) -> Calibration:
    """Holds probabilities against what happened.

    Args:
        scores: Both classes among them.
        temperature: Fitted on other units.
        n_bins: At least 1.
    """
    logits = scores.logits / temperature
    errors = (expit(logits) - scores.labels) ** 2
    clusters = np.unique(np.asarray(scores.patients), return_inverse=True)[1]
    order = np.argsort(logits, kind="stable")
    separated = bool(logits[scores.labels].min() > logits[~scores.labels].max())
    bins = [
        Bin(float(expit(logits[part]).mean()), estimate_rate(int(scores.labels[part].sum()), len(part)))
        for part in np.array_split(order, min(n_bins, len(order)))
    ]
    return Calibration(
        temperature=temperature,
        intercept=_fit(scores.labels, np.ones((len(logits), 1)), clusters, offset=logits),
        slope=None if separated else _fit(scores.labels, np.column_stack([logits, np.ones(len(logits))]), clusters),
        brier=_mean(errors, clusters),
        bins=tuple(bins),
    )


def net_benefit(
    labels: Bool[np.ndarray, " unit"], probabilities: Float[np.ndarray, " unit"], thresholds: Sequence[float]
) -> Float[np.ndarray, " threshold"]:
    """True positives less false positives at the odds of each threshold, per unit.

    Args:
        labels: True is positive.
        probabilities: In [0, 1]; all 1 is to treat everybody.
        thresholds: The probability from which on a unit is treated, each in (0, 1).
    """
    called = probabilities >= np.asarray(thresholds)[:, None]
    odds = np.asarray(thresholds) / (1 - np.asarray(thresholds))
    return np.asarray(((called & labels).sum(axis=1) - (called & ~labels).sum(axis=1) * odds) / len(labels))


def _fit(
    labels: Bool[np.ndarray, " unit"],
    terms: Float[np.ndarray, "unit term"],
    clusters: Int[np.ndarray, " unit"],
    *,
    offset: Float[np.ndarray, " unit"] | None = None,
) -> Estimate | None:
    """The first coefficient of a logistic regression; None where nothing holds it back, or there is too little."""
    if len(np.unique(clusters)) <= terms.shape[1] or np.linalg.matrix_rank(terms) < terms.shape[1]:
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of classes separated completely, which the result tells
        fitted = GLM(labels.astype(float), terms, family=Binomial(), offset=offset).fit(
            cov_type="cluster", cov_kwds={"groups": clusters}
        )
        value, (low, high) = float(fitted.params[0]), fitted.conf_int(1 - CONFIDENCE)[0]
    if not math.isfinite(low + high) or high - low > _WIDEST:
        return None
    return Estimate(value, Interval(float(low), float(high)))


def _mean(values: Float[np.ndarray, " unit"], clusters: Int[np.ndarray, " unit"]) -> Estimate:
    """The mean of values in [0, 1] that come in clusters; the interval is made on the logit scale."""
    mean, n_clusters = float(values.mean()), int(clusters.max()) + 1
    sums = np.bincount(clusters, values - mean)
    variance = n_clusters / max(n_clusters - 1, 1) * float(sums @ sums) / len(values) ** 2
    if not 0 < mean < 1 or variance == 0:
        return Estimate(mean, Interval(mean, mean))
    half = normal_z() * math.sqrt(variance) / (mean * (1 - mean))
    centre = math.log(mean / (1 - mean))
    return Estimate(mean, Interval(float(expit(centre - half)), float(expit(centre + half))))
