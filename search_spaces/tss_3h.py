"""Onset before 3 hours: how much of the detection network stays frozen, and how gently the rest moves."""

from ray import tune

SPACE = {
    "freeze_depth": tune.choice([0, 1, 2, 3, 4]),
    "attention": tune.choice(["off", "mean_flow"]),
    "lr": tune.loguniform(1e-5, 1e-2),
    "final_lr": tune.loguniform(1e-4, 3e-1),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-3),
    "dropout": tune.uniform(0.0, 0.5),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.choice([0.0, 0.5, 1.0]),
    "pos_weight": tune.choice(["off", "balanced"]),
}

REASONS = {
    "freeze_depth": (
        "Named stages frozen from the input. The paper freezes two; 0 is plain fine-tuning, and with 5 "
        "only the head would be left. Pinned at 0 where the first weights are random."
    ),
    "attention": (
        "The paper switches the gate on last; on from here is the alternative, with the norm of every "
        "published attention configuration."
    ),
    "lr": (
        "From a hundredth of AdaBound's default, for weights that should hardly move, to ten times it, "
        "for the control arm's random ones."
    ),
    "final_lr": "1 to some 300 times lr; 0.1 is the package's default.",
    "gamma": "As in detection.",
    "weight_decay": "As in detection.",
    "dropout": "As in detection.",
    "batch_size": "As in detection.",
    "augmentation": (
        "As in detection, in steps: trials of the same strength see the same views, and share what frozen stages make "
        "of them."
    ),
    "pos_weight": "About 40 % of onsets lie before 3 h, so balancing is a choice: on or off.",
}
