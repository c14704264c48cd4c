"""A lab's own space: the optimiser stays as it is, freezing and the first step are tuned."""

from ray import tune

SPACE = {
    "freeze_depth": tune.choice([0, 2, 4]),
    "lr": tune.loguniform(1e-4, 1e-2),
}

REASONS = {
    "freeze_depth": "Nothing, the paper's two stages, or all but the last.",
    "lr": "From a fine-tuning step to one that a network from scratch takes.",
}
