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
    "augmentation": tune.uniform(0.0, 1.5),
    "pos_weight": tune.choice(["off", "balanced"]),
}

REASONS = {
    "freeze_depth": "Named stages frozen from the input. The paper freezes two; 0 is plain fine-tuning, and with 5 only "
    "the head would be left. Pinned at 0 where the first weights are random.",
    "attention": "The paper switches the gate on last; on from here is the alternative that SCIENCE 3.3 asks to try, with "
    "the norm that every published attention configuration uses.",
    "lr": "From a tenth of the usual fine-tuning step, for weights that should hardly move, to the training step of a "
    "network from scratch.",
    "final_lr": "1 to 300 times lr, within the bounds that keep batch-normalised fine-tuning stable.",
    "gamma": "As in detection: gamma * steps in 0.3 to 30 for phases of 1,000 to 3,000 steps.",
    "weight_decay": "As in detection.",
    "dropout": "As in detection; half the hemispheres have a lesion, so over-fitting comes sooner.",
    "batch_size": "As in detection.",
    "augmentation": "As in detection.",
    "pos_weight": "About 40 % of onsets lie before 3 h: balanced weights change the loss, hardly the ranking. On or off.",
}
