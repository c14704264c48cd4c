"""Radiomics, onset before 4.5 hours: the same choices as before 3 hours."""

from ray import tune

SPACE = {
    "model": tune.choice(["logistic", "svm", "forest"]),
    "c": tune.loguniform(1e-3, 1e1),
    "tree_depth": tune.choice([3, 5, 8]),
    "leaf": tune.choice([1, 3, 6]),
    "alpha": tune.loguniform(1e-2, 1e2),
    "least_features": tune.choice([5, 10, 20]),
    "adc_factor": tune.choice([0.75, 0.835, 0.9]),
    "b1000_sd": tune.choice([1.0, 1.5, 2.0]),
}

REASONS = dict.fromkeys(SPACE, "As in radiomics_3h.")
