"""Onset before 4.5 hours, from the 3 hour network: the same choices as there, with smaller steps."""

from ray import tune

SPACE = {
    "freeze_depth": tune.choice([0, 1, 2, 3, 4]),
    "attention": tune.choice(["off", "mean_flow"]),
    "lr": tune.loguniform(1e-5, 1e-2),
    "final_lr": tune.loguniform(1e-4, 1e-1),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-3),
    "dropout": tune.uniform(0.0, 0.5),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.choice([0.0, 0.5, 1.0]),
}

REASONS = {
    "freeze_depth": "As in tss_3h: both onset phases keep the first layers of detection in the paper.",
    "attention": "As in tss_3h.",
    "lr": "As in tss_3h.",
    "final_lr": "As in tss_3h, up to the package's default: the parent answers nearly the same question already.",
    "gamma": "As in detection.",
    "weight_decay": "As in detection.",
    "dropout": "As in detection.",
    "batch_size": "As in detection.",
    "augmentation": (
        "As in detection, in steps: trials of the same strength see the same views, and share what frozen stages make "
        "of them."
    ),
}
