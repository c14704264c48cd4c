"""Radiomics, onset before 3 hours: which model, of how many features, of which region."""

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

REASONS = {
    "model": "Lee 2020 fits these three and prefers none: .76, .73 and .76 sensitive at .83 specificity.",
    "c": (
        "The published grid reaches 2^15; some hundred patients and tens of correlated features overfit long before: "
        "three decades below scikit-learn's default of 1, one above."
    ),
    "tree_depth": "Stumps overlook pairs of features, and no tree of some hundred patients has more than 8 levels.",
    "leaf": "1 is the published forest; more makes its votes less sure of themselves.",
    "alpha": "The published 0.2, two to three decades to either side: from the fewest features to most of them.",
    "least_features": "The published 5; as few as 5 of 265 correlated ones are chosen by chance among equals.",
    "adc_factor": (
        "The published 0.835, at which overlap with the lesion was best on the easy phantom (Dice .54; .37 at 0.7 and "
        ".51 at 0.9). In steps: trials of the same region share its measurements."
    ),
    "b1000_sd": "The published 1.5, half a standard deviation to either side; in steps, as above.",
}
