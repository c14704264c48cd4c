"""How well scores tell positives from negatives.

References:
    Youden 1950, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real, Shaped
from numpy import ndarray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from tissueclock.errors import CohortError


def classification_metrics(
    labels: Shaped[ndarray, " sample"],
    scores: Real[ndarray, " sample"],
    *,
    threshold: float | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """AUC, AUPRC, and sensitivity, specificity, accuracy and Youden's J at one threshold.

    Args:
        labels: 0 or 1.
        scores: Higher for positives; logits, so that their mean over a group means something.
        threshold: A sample is called positive if its score is at least this; None takes `youden_threshold`, which is
            optimistic unless the samples are those that thresholds are chosen on.
        groups: Whose each sample is (a patient): scores are averaged over a group before anything is counted.

    Returns:
        `auc`, `auprc`, `sensitivity`, `specificity`, `accuracy`, `youden` and `threshold` (in units of the score), all
        finite, and the counts `n` and `n_positive`.

    Raises:
        CohortError: One class only, labels of a group differ, or a score is not a number: no metric is defined.
    """
    if groups is not None:
        labels, scores = average_by_group(labels, scores, groups=groups)
    is_positive = np.asarray(labels) > 0.5
    n, n_positive = len(is_positive), int(is_positive.sum())
    if n_positive in (0, n):
        raise CohortError(f"metrics: {n_positive} of {n} samples are positive, but both classes are needed")
    if not np.isfinite(scores).all():
        raise CohortError(f"metrics: {int((~np.isfinite(scores)).sum())} of {n} scores are not finite numbers")
    if threshold is None:
        threshold = youden_threshold(is_positive, scores)
    called = scores >= threshold
    sensitivity = float(called[is_positive].mean())
    specificity = float((~called[~is_positive]).mean())
    return {
        "auc": float(roc_auc_score(is_positive, scores)),
        "auprc": float(average_precision_score(is_positive, scores)),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": float((called == is_positive).mean()),
        "youden": sensitivity + specificity - 1.0,
        "threshold": float(threshold),
        "n": float(n),
        "n_positive": float(n_positive),
    }


def youden_threshold(labels: Shaped[ndarray, " sample"], scores: Real[ndarray, " sample"]) -> float:
    """The score at which sensitivity + specificity is largest; the highest one of several.

    A threshold is one of the scores: a sample is called positive if its score is at least that.
    """
    false_positive_rate, true_positive_rate, thresholds = roc_curve(labels, scores)
    i_best = 1 + int(np.argmax((true_positive_rate - false_positive_rate)[1:]))  # the first is infinite: none positive
    return float(thresholds[i_best])


def average_by_group(
    labels: Shaped[ndarray, " sample"], scores: Real[ndarray, " sample"], *, groups: Sequence[str]
) -> tuple[Float[ndarray, " group"], Float[ndarray, " group"]]:
    """Each group's label and mean score, groups in the order of their names.

    Raises:
        CohortError: Samples of one group have different labels.
    """
    names, i_group = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(i_group)
    mean_label = np.bincount(i_group, weights=labels) / counts
    if (mixed := (mean_label > 0) & (mean_label < 1)).any():
        raise CohortError(f"metrics: {names[mixed][0]} has samples of both classes, but a patient must have one")
    return mean_label, np.bincount(i_group, weights=scores) / counts
