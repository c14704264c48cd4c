"""Genesis: the whole U-Net learns to restore hemispheres from random weights; the space is the optimiser's."""

from ray import tune

SPACE = {
    "optimiser": tune.choice(["adabound", "amsbound", "sgd", "adamw"]),
    "lr": tune.loguniform(3e-4, 1e-2),
    "final_lr": tune.loguniform(1e-2, 1.0),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-8, 1e-4),
    "batch_size": tune.choice([4, 8]),
}

REASONS = {
    "optimiser": "As in detection; the reference trains with SGD at rate 1.0, which AdaBound's bounds may close in on.",
    "lr": "As in detection: AdaBound's Adam-like first steps from random weights.",
    "final_lr": (
        "The reference's SGD rate is 1.0 with momentum 0.9, on a squared error that is small; its tenth is the "
        "package's default; one decade below that."
    ),
    "gamma": "As in detection.",
    "weight_decay": "The reference has none; up to where it begins to act in some thousand steps.",
    "batch_size": "The reference's is 6; 4 is the default in 3D.",
}
