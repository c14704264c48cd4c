"""Stroke detection: the whole network learns from random weights, so the space is the optimiser's and the batch's."""

from ray import tune

SPACE = {
    "optimiser": tune.choice(["adabound", "amsbound", "sgd", "adamw"]),
    "lr": tune.loguniform(3e-4, 1e-2),
    "final_lr": tune.loguniform(1e-3, 3e-1),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-3),
    "dropout": tune.uniform(0.0, 0.5),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.uniform(0.0, 1.5),
}

REASONS = {
    "optimiser": (
        "The paper trains with AdaBound; AMSBound is the same with a maximum over past gradients (Luo "
        "2019). SGD and AdamW are the controls; pin one under fix to leave the others out."
    ),
    "lr": (
        "AdaBound's first, Adam-like steps: its default 1e-3, half a decade below and one above, for a "
        "network that starts from random weights."
    ),
    "final_lr": (
        "The SGD step that the bounds close on. The package's default is 0.1 (as SGD at 0.01 with "
        "momentum 0.9); two decades below and half a decade above."
    ),
    "gamma": (
        "How fast the bounds close. gamma times the steps of a phase should lie in 0.3 to 30; 272 "
        "patients at batch 8 make 1,000 to 3,000 steps."
    ),
    "weight_decay": (
        "Around the 1e-4 that ResNets are published with, down to where it no longer acts in a few thousand steps."
    ),
    "dropout": "The usual range on the features before a single logit.",
    "batch_size": "The paper states none; 8 is the default of SCIENCE 1.3, 16 halves the steps.",
    "augmentation": (
        "Strength: 0 is none, 1 is +-10 degrees, scale 0.9 to 1.1 and +-10 % intensity; up to half as much again."
    ),
}
