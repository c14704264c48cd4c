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
    "augmentation": tune.uniform(0.0, 1.5),
}

REASONS = {
    "freeze_depth": "As in tss_3h: both onset phases keep the first layers of detection in the paper.",
    "attention": "As in tss_3h.",
    "lr": "As in tss_3h; the control arm starts from random weights and needs the upper end.",
    "final_lr": "The parent answers nearly the same question: beyond 0.1 its answer is forgotten in the first epoch.",
    "gamma": "As in detection: gamma * steps in 0.3 to 30 for phases of 1,000 to 3,000 steps.",
    "weight_decay": "As in detection.",
    "dropout": "As in tss_3h.",
    "batch_size": "As in detection.",
    "augmentation": "As in detection.",
}
