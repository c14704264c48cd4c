"""What the validation samples of several folds say together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.samples import Samples


def pool_validation(parts: Sequence[tuple[Samples, Float[ndarray, " sample"]]]) -> dict[str, float]:
    """`threshold`, chosen on all validation samples together, each scored by the learners that never saw it.

    Args:
        parts: The validation samples of each learner, with the logits that it gave them.
    """
    found: dict[int, list[float]] = {}
    facts: dict[int, tuple[float, str]] = {}
    for samples, logits in parts:
        groups = samples.groups or tuple(str(row) for row in samples.rows)
        for row, label, group, logit in zip(samples.rows, samples.labels, groups, logits, strict=True):
            found.setdefault(int(row), []).append(float(logit))
            facts[int(row)] = (float(label), group)
    labels = np.array([label for label, _ in facts.values()])
    logits = np.array([np.mean(found[row]) for row in facts])
    metrics = classification_metrics(labels, logits, groups=[group for _, group in facts.values()])
    return {"threshold": metrics["threshold"], "val_auc_pooled": metrics["auc"]}
