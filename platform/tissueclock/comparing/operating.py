"""How scores serve at chosen points: precision over all thresholds, predictive values, sensitivity at a specificity.

References:
    Boyd, Eng & Page 2013 (interval of the AUPRC), doi 10.1007/978-3-642-40994-3_55.
    Zhou & Qin 2005 (sensitivity at a specificity, "BTII"), doi 10.1002/sim.1563.
    Leeflang et al. 2008 (cut-offs chosen on the data), doi 10.1373/clinchem.2007.096032.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from tissueclock.comparing.scores import Confusion, Scores, count_calls
from tissueclock.comparing.statistics import Estimate, Interval, Rate, estimate_rate, normal_z, roc_curve

SPECIFICITIES = (0.8, 0.9)
_N_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Operating:
    """What one score is worth at chosen points, on the holdout.

    Attributes:
        auprc: Average precision.
        prevalence: Share of positive units: the AUPRC of chance.
        ppv: Of the units called positive at the threshold of validation, those that are; None where none was called.
        npv: Of the units called negative, those that are; likewise.
        sensitivity_at: By specificity. The cut is read off the holdout itself.
        optimistic: Calls at the cut that is best on the holdout (Youden), as published results may have been made.
        optimistic_threshold: That cut, a logit.
    """

    auprc: Estimate
    prevalence: float
    ppv: Rate | None
    npv: Rate | None
    sensitivity_at: Mapping[float, Estimate]
    optimistic: Confusion
    optimistic_threshold: float


def measure_operating(scores: Scores, *, threshold: float, generator: np.random.Generator) -> Operating:
    """Measures a score at chosen points.

    Args:
        scores: Both classes among them.
        threshold: The logit from which on a unit is called positive, chosen on validation.
        generator: Where the bootstrap's chance comes from.
    """
    called = scores.logits >= threshold
    best = youden_threshold(scores.labels, scores.logits)
    return Operating(
        auprc=estimate_auprc(scores.labels, scores.logits),
        prevalence=scores.n_positive / len(scores.units),
        ppv=_rate(scores.labels[called]),
        npv=_rate(~scores.labels[~called]),
        sensitivity_at={
            specificity: estimate_sensitivity_at(
                scores.labels, scores.logits, specificity=specificity, generator=generator
            )
            for specificity in SPECIFICITIES
        },
        optimistic=count_calls(scores.labels, scores.logits >= best),
        optimistic_threshold=best,
    )


def estimate_auprc(labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]) -> Estimate:
    """Average precision, with Boyd's interval: binomial in the number of positive units, on the logit scale."""
    value = float(average_precision_score(labels, scores))
    clipped = min(max(value, 1e-6), 1 - 1e-6)
    half = normal_z() / math.sqrt(int(labels.sum()) * clipped * (1 - clipped))
    low, high = (float(expit(logit(clipped) + sign * half)) for sign in (-1, 1))
    return Estimate(value, Interval(low, high))


def estimate_sensitivity_at(
    labels: Bool[np.ndarray, " unit"],
    scores: Float[np.ndarray, " unit"],
    *,
    specificity: float,
    generator: np.random.Generator,
) -> Estimate:
    """Sensitivity at the lowest cut that reaches a specificity; the interval counts that the cut is estimated too.

    Args:
        labels: True is positive.
        scores: Higher is more positive.
        specificity: In (0, 1).
        generator: Where the bootstrap's chance comes from.
    """
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    value = float(_above_quantile(positive[None], negative[None], specificity)[0] / len(positive))
    draws = [generator.integers(0, len(part), (_N_RESAMPLES, len(part))) for part in (positive, negative)]
    hits = _above_quantile(positive[draws[0]], np.sort(negative[draws[1]], axis=1), specificity)
    z = normal_z()
    adjusted = (hits + z**2 / 2) / (len(positive) + z**2)  # Agresti and Coull
    centre, half = float(adjusted.mean()), z * float(adjusted.std(ddof=1))
    return Estimate(value, Interval(max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value))))


def youden_threshold(labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]) -> float:
    """The score at which sensitivity plus specificity is highest on these very units; the highest of several."""
    false_positive, true_positive = roc_curve(labels, scores)
    steps = np.unique(scores)[::-1]
    return float(steps[int(np.argmax((true_positive - false_positive)[1:]))])


def _above_quantile(
    positive: Float[np.ndarray, "draw p"], negative: Float[np.ndarray, "draw n"], specificity: float
) -> Float[np.ndarray, " draw"]:
    """How many positives lie above the negative that leaves the wanted share at or below it; negatives are sorted."""
    index = min(math.ceil(specificity * negative.shape[1] - 1e-9), negative.shape[1]) - 1
    return np.asarray((positive > negative[:, [index]]).sum(axis=1), dtype=float)


def _rate(right: Bool[np.ndarray, " chosen"]) -> Rate | None:
    return estimate_rate(int(right.sum()), len(right)) if len(right) else None
