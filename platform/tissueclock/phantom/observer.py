"""The lesion-feature observer: gradient boosting on what can be measured in the true lesion, scored out of fold.

What it reaches estimates how much the images know of the time; a network that reaches more, on the same patients, has
found a leak.
"""

import math

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from tissueclock.seeds import derive_seed

N_FOLDS = 5
CUTS_MIN = {"observer_3h": 180.0, "observer_4h5": 270.0}
"""Columns of `truth/observer.tsv`: the score for onset before this many minutes."""


def score_patients(
    features: Float[np.ndarray, "patient feature"], positive: Bool[np.ndarray, " patient"], *, seed: int
) -> npt.NDArray[np.float64]:
    """Scores each patient by a model that was fitted on the others.

    Args:
        features: One row per patient.
        positive: Which patients are of the positive class.
        seed: Of the folds and of the trees.

    Returns:
        Probability of the positive class; NaN for all where a class has fewer than two patients.
    """
    n_folds = min(N_FOLDS, int(positive.sum()), int((~positive).sum()))
    if n_folds < 2:
        return np.full(len(positive), math.nan)
    stream = derive_seed(seed, "observer") % 2**32
    model = GradientBoostingClassifier(
        n_estimators=150,
        max_depth=2,
        learning_rate=0.05,
        subsample=0.5,
        max_features=3,
        min_samples_leaf=min(20, max(1, len(positive) // 20)),
        random_state=stream,
    )
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=stream)
    scores: npt.NDArray[np.float64] = cross_val_predict(model, features, positive, cv=folds, method="predict_proba")[
        :, 1
    ]
    return scores
