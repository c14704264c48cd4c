"""Attention fine-tuning: the trunk stands still; the gates learn, and what else may move with them."""

from ray import tune

SPACE = {
    "learned": tune.choice(["gates", "gates+slices", "gates+slices+head"]),
    "attention": tune.choice(["mean_flow", "softmax", "sigmoid"]),
    "lr": tune.loguniform(1e-5, 1e-2),
    "final_lr": tune.loguniform(1e-4, 1e-1),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-3),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.choice([0.0, 0.5, 1.0]),
}

REASONS = {
    "learned": (
        "The paper fine-tunes the attention modules; whether slice weights and head move with them it leaves open."
    ),
    "attention": "The norms of the published gates; off would leave nothing to learn.",
    "lr": ("The gates start from random weights beside a finished network: from fine-tuning steps to training steps."),
    "final_lr": "As in tss_4h5.",
    "gamma": "As in detection.",
    "weight_decay": "As in detection.",
    "batch_size": "As in detection.",
    "augmentation": (
        "As in detection, in steps: trials of the same strength see the same views, and share what frozen stages make "
        "of them."
    ),
}
