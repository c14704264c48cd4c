import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from tissueclock.errors import CohortError
from tissueclock.learning.metrics import classification_metrics, youden_threshold


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 80)
    return labels, np.round(labels + 1.5 * rng.standard_normal(80), 1)


def test_a_case_worked_by_hand():
    labels = np.array([0, 0, 0, 1, 1])
    scores = np.array([-2.0, 0.0, 1.0, 0.5, 3.0])
    metrics = classification_metrics(labels, scores)
    assert metrics["auc"] == pytest.approx(5 / 6)  # 5 of 6 pairs are in order
    assert metrics["threshold"] == 0.5  # J 2/3, against 1/2 at 3.0
    assert (metrics["sensitivity"], metrics["specificity"]) == (1.0, pytest.approx(2 / 3))
    assert metrics["accuracy"] == pytest.approx(4 / 5)
    assert metrics["youden"] == pytest.approx(2 / 3)


def test_counts_agree_with_the_confusion_matrix(scored):
    labels, scores = scored
    metrics = classification_metrics(labels, scores, threshold=0.3)
    (tn, fp), (fn, tp) = confusion_matrix(labels, scores >= 0.3)
    assert metrics["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert metrics["specificity"] == pytest.approx(tn / (tn + fp))
    assert metrics["accuracy"] == pytest.approx((tp + tn) / 80)
    assert metrics["threshold"] == 0.3


def test_auc_is_the_share_of_pairs_in_order(scored):
    labels, scores = scored
    difference = scores[labels == 1][:, None] - scores[labels == 0][None]
    assert classification_metrics(labels, scores)["auc"] == pytest.approx(
        ((difference > 0) + 0.5 * (difference == 0)).mean()
    )


def test_no_threshold_has_a_larger_youden_index(scored):
    labels, scores = scored
    best = classification_metrics(labels, scores)["youden"]
    others = [classification_metrics(labels, scores, threshold=float(t))["youden"] for t in np.unique(scores)]
    assert best == pytest.approx(max(others))


def test_useless_scores_still_give_a_finite_threshold():
    assert youden_threshold(np.array([0, 1]), np.array([0.0, 0.0])) == 0.0
    assert np.isfinite(youden_threshold(np.array([0, 1]), np.array([1.0, 0.0])))


def test_scores_are_averaged_over_a_patient_before_counting():
    labels = np.array([1, 1, 0, 0, 1])
    scores = np.array([3.0, -2.0, 0.0, 0.2, 2.0])
    metrics = classification_metrics(labels, scores, groups=["b", "b", "a", "a", "c"])
    assert metrics["n"] == 3.0
    assert metrics["n_positive"] == 2.0
    assert metrics["auc"] == 1.0  # 0.5 and 2 against 0.1
    assert metrics["threshold"] == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "groups", "message"),
    [
        ([1, 1], [0.0, 1.0], None, "2 of 2 samples are positive, but both classes are needed"),
        ([0, 1, 1], [0.0, 1.0, 2.0], ["a", "a", "b"], "a has samples of both classes"),
        ([0, 1], [0.0, float("nan")], None, "1 of 2 scores are not finite"),
    ],
)
def test_what_has_no_metric_is_refused(labels, scores, groups, message):
    with pytest.raises(CohortError, match=message):
        classification_metrics(np.array(labels), np.array(scores), groups=groups)
