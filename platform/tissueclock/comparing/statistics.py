"""How far a score can be trusted: AUC with DeLong's interval, paired differences, Wilson's interval, a bootstrap.

Pure functions of labels, scores and patients; refuses to know files, phases and networks.

DeLong's variance is computed from midranks (Sun & Xu 2014), in O(n log n). A patient who gives several units (two
hemispheres) gives one independent observation, not several: the units' components are summed by patient before they are
squared (Obuchowski 1997), which is DeLong's own formula where every patient gives one unit.

References:
    DeLong, DeLong & Clarke-Pearson 1988, doi 10.2307/2531595.
    Sun & Xu 2014, doi 10.1109/LSP.2014.2337313.
    Obuchowski 1997, doi 10.2307/2533958.
    Newcombe 2006, doi 10.1002/sim.2324.
    Wilson 1927, doi 10.1080/01621459.1927.10502953.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from tissueclock.errors import InputError

CONFIDENCE = 0.95
N_RESAMPLES = 2000
_CHUNK_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class AucEstimate:
    """The area under a ROC curve.

    Attributes:
        auc: In [0, 1].
        variance: DeLong's; 0 where the placements do not vary (a perfect or a constant score).
        interval: On the logit scale with DeLong's variance; Newcombe's score interval where that variance is 0.
    """

    auc: float
    variance: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class AucDifference:
    """The first AUC minus the second, both on the same units.

    Attributes:
        difference: In [-1, 1].
        variance: Of the difference, the pairing accounted for.
        interval: Wald's; where the variance is 0, the two AUCs' own intervals squared and added.
        z: Difference over standard error; None where the variance is 0 but the difference is not.
        p: Two-sided; None where `z` is.
    """

    difference: float
    variance: float
    interval: Interval
    z: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Rate:
    """A fraction of units, with Wilson's interval.

    Attributes:
        n_hits: Units counted.
        n: Units they are counted among, at least 1.
        interval: Wilson's.
    """

    n_hits: int
    n: int
    interval: Interval

    @property
    def value(self) -> float:
        """`n_hits` over `n`."""
        return self.n_hits / self.n


def estimate_auc(
    labels: Bool[np.ndarray, " unit"],
    scores: Float[np.ndarray, " unit"],
    *,
    patients: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
) -> AucEstimate:
    """The AUC with DeLong's variance and an interval.

    Args:
        labels: True is positive.
        scores: Higher is more positive; any monotone scale.
        patients: Whose unit each is; None where every unit is another patient's.
        confidence: Of the interval, in (0, 1).

    Raises:
        InputError: One class only, or a score that is not finite.
    """
    _check(labels, scores)
    placements = _placements(labels, scores)
    variance = _variance(placements, labels, _clusters(patients, len(labels)))
    auc = float(placements[labels].mean())
    return AucEstimate(auc, variance, _auc_interval(auc, variance, labels, confidence))


def compare_aucs(
    labels: Bool[np.ndarray, " unit"],
    first: Float[np.ndarray, " unit"],
    second: Float[np.ndarray, " unit"],
    *,
    patients: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
) -> AucDifference:
    """Tests whether two scores of the same units have the same AUC (DeLong's paired test).

    Args:
        labels: True is positive.
        first: One score of each unit.
        second: Another score of the same units, on any scale.
        patients: Whose unit each is; None where every unit is another patient's.
        confidence: Of the interval, in (0, 1).

    Raises:
        InputError: One class only, or a score that is not finite.
    """
    _check(labels, first)
    _check(labels, second)
    placements = _placements(labels, first) - _placements(labels, second)
    variance = _variance(placements, labels, _clusters(patients, len(labels)))
    difference = float(placements[labels].mean())
    if variance > 0:
        z = difference / math.sqrt(variance)
        half = normal_z(confidence) * math.sqrt(variance)
        interval = Interval(max(-1.0, difference - half), min(1.0, difference + half))
        return AucDifference(difference, variance, interval, z, float(2 * ndtr(-abs(z))))
    if difference == 0:
        return AucDifference(0.0, 0.0, Interval(0.0, 0.0), 0.0, 1.0)
    one = estimate_auc(labels, first, patients=patients, confidence=confidence)
    two = estimate_auc(labels, second, patients=patients, confidence=confidence)
    below = math.hypot(one.auc - one.interval.low, two.interval.high - two.auc)
    above = math.hypot(one.interval.high - one.auc, two.auc - two.interval.low)
    return AucDifference(difference, 0.0, Interval(difference - below, difference + above), None, None)


def estimate_rate(n_hits: int, n: int, *, confidence: float = CONFIDENCE) -> Rate:
    """A fraction with Wilson's score interval.

    Args:
        n_hits: In [0, n].
        n: At least 1.
        confidence: Of the interval, in (0, 1).

    Raises:
        InputError: `n` is 0, or `n_hits` lies outside [0, n].
    """
    if n < 1 or not 0 <= n_hits <= n:
        raise InputError(f"rate: {n_hits} of {n} found; allowed: 0 to n hits of at least 1")
    z_squared = normal_z(confidence) ** 2
    value = n_hits / n
    centre = (value + z_squared / (2 * n)) / (1 + z_squared / n)
    half = math.sqrt(value * (1 - value) * z_squared / n + (z_squared / (2 * n)) ** 2) / (1 + z_squared / n)
    low = 0.0 if n_hits == 0 else centre - half
    high = 1.0 if n_hits == n else centre + half
    return Rate(n_hits, n, Interval(low, high))


def roc_curve(
    labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """The false and the true positive rate at each threshold, from (0, 0) to (1, 1); equal scores are one step.

    Args:
        labels: True is positive.
        scores: Higher is more positive.

    Raises:
        InputError: One class only, or a score that is not finite.
    """
    _check(labels, scores)
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    false_positive, true_positive = (np.cumsum(which[order])[steps] / which.sum() for which in (~labels, labels))
    return np.concatenate([[0.0], false_positive]), np.concatenate([[0.0], true_positive])


def bootstrap_auc(
    labels: Bool[np.ndarray, " unit"],
    scores: Float[np.ndarray, " unit"],
    patients: Sequence[str],
    *,
    generator: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The percentile interval of the AUC over resampled patients.

    Patients are drawn with replacement, all their units with them, within three strata: those with positive units
    only, with negative only, with both. So no resample lacks a class.

    Args:
        labels: True is positive.
        scores: Higher is more positive.
        patients: Whose unit each is.
        generator: Where the chance comes from.
        n_resamples: At least 1.
        confidence: Of the interval, in (0, 1).

    Raises:
        InputError: One class only, or a score that is not finite.
    """
    _check(labels, scores)
    clusters = _clusters(patients, len(labels))
    strata = _strata(labels, clusters)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    aucs = []
    for done in range(0, n_resamples, _CHUNK_RESAMPLES):
        size = min(_CHUNK_RESAMPLES, n_resamples - done)
        counts = np.zeros((size, clusters.max() + 1))
        for members in strata:
            even = np.full(len(members), 1 / len(members))
            counts[:, members] = generator.multinomial(len(members), even, size=size)
        weights = counts[:, clusters][:, order]
        positive = np.add.reduceat(weights * labels[order], starts, axis=1)
        negative = np.add.reduceat(weights * ~labels[order], starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # a tie counts half
        aucs.append((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))
    low, high = np.quantile(np.concatenate(aucs), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _placements(labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """Of each unit the fraction of the other class that it is ranked rightly against, ties counting half."""
    ranks = _midranks(scores)
    n_positive = int(labels.sum())
    placements = np.empty(len(labels))
    placements[labels] = (ranks[labels] - _midranks(scores[labels])) / (len(labels) - n_positive)
    placements[~labels] = 1 - (ranks[~labels] - _midranks(scores[~labels])) / n_positive
    return placements


def _midranks(scores: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """Each score's rank, from 1; equal scores share the mean of theirs."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def _variance(
    placements: Float[np.ndarray, " unit"], labels: Bool[np.ndarray, " unit"], clusters: Int[np.ndarray, " unit"]
) -> float:
    """Variance of the mean placement; 0 where it does not vary or a class has one patient only."""
    centred = placements - placements[labels].mean()
    n_clusters = int(clusters.max()) + 1
    sums = {}
    total = 0.0
    for positive in (True, False):
        chosen = labels == positive
        n_with = len(np.unique(clusters[chosen]))
        if n_with < 2:
            return 0.0
        sums[positive] = np.bincount(clusters[chosen], centred[chosen], minlength=n_clusters) / chosen.sum()
        total += n_with / (n_with - 1) * float(sums[positive] @ sums[positive])
    total += 2 * n_clusters / (n_clusters - 1) * float(sums[True] @ sums[False])
    return total if total > 1e-15 else 0.0  # below: rounding of placements that are all equal


def _auc_interval(auc: float, variance: float, labels: Bool[np.ndarray, " unit"], confidence: float) -> Interval:
    if variance > 0 and 0 < auc < 1:
        centre = math.log(auc / (1 - auc))
        half = normal_z(confidence) * math.sqrt(variance) / (auc * (1 - auc))
        return Interval(_logistic(centre - half), _logistic(centre + half))
    return _newcombe_interval(auc, int(labels.sum()), int((~labels).sum()), confidence)


def _newcombe_interval(auc: float, n_positive: int, n_negative: int, confidence: float) -> Interval:
    """Newcombe's method 5: the AUCs whose own variance makes the estimate just plausible; made for AUC = 1."""
    n_other = (n_positive + n_negative) / 2 - 1

    def excess(candidate: float) -> float:
        spread = 1 + n_other * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        variance = candidate * (1 - candidate) * spread / (n_positive * n_negative)
        return (auc - candidate) ** 2 - normal_z(confidence) ** 2 * variance

    tiny = 1e-12
    low = 0.0 if auc <= tiny else float(brentq(excess, 0.0, auc - tiny))
    high = 1.0 if auc >= 1 - tiny else float(brentq(excess, auc + tiny, 1.0))
    return Interval(low, high)


def _strata(labels: Bool[np.ndarray, " unit"], clusters: Int[np.ndarray, " unit"]) -> list[Int[np.ndarray, " cluster"]]:
    """Clusters with positive units only, with negative only, with both; empty strata are left out."""
    n_clusters = int(clusters.max()) + 1
    has_positive = np.bincount(clusters, labels, minlength=n_clusters) > 0
    has_negative = np.bincount(clusters, ~labels, minlength=n_clusters) > 0
    kinds = (has_positive & ~has_negative, has_negative & ~has_positive, has_positive & has_negative)
    return [np.flatnonzero(kind) for kind in kinds if kind.any()]


def _clusters(patients: Sequence[str] | None, n_units: int) -> Int[np.ndarray, " unit"]:
    if patients is None:
        return np.arange(n_units)
    if len(patients) != n_units:
        raise InputError(f"patients: {len(patients)} found for {n_units} units; allowed: one for each unit")
    return np.unique(np.asarray(patients), return_inverse=True)[1]


def _check(labels: Bool[np.ndarray, " unit"], scores: Float[np.ndarray, " unit"]) -> None:
    n_positive = int(labels.sum())
    if n_positive in (0, len(labels)):
        raise InputError(f"labels: {n_positive} of {len(labels)} are positive; an AUC needs both classes")
    if not np.isfinite(scores).all():
        raise InputError(f"scores: {int((~np.isfinite(scores)).sum())} of {len(scores)} are not finite; all must be")


def normal_z(confidence: float = CONFIDENCE) -> float:
    """How many standard errors a two-sided normal interval reaches: 1.96 at .95."""
    return float(ndtri((1 + confidence) / 2))


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))
