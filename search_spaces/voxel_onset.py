"""Onset by a network that attends to voxels: what of a detector's attention is kept, and how fast the rest learns."""

from ray import tune

SPACE = {
    "learned": tune.choice(["head", "network"]),
    "attention": tune.choice(["softmax", "off"]),
    "optimiser": tune.choice(["adabound", "adamw"]),
    "schedule": tune.choice(["constant", "cosine"]),
    "lr": tune.loguniform(1e-3, 5e-2),
    "final_lr": tune.loguniform(1e-1, 1e1),
    "gamma": tune.loguniform(1e-3, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-2),
    "sharpness": tune.choice([1.0, 2.0]),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.choice([0.0, 0.5]),
}

REASONS = {
    "learned": (
        "The head alone keeps the detector's attention, which lay in the lesion to .8, and beat tuning all at one "
        "rate; from random weights all of it learns."
    ),
    "attention": "Off is a mean over the brain, which left .60 of .85 AUC: the sweep tells what attention is worth.",
    "optimiser": "As in voxel_detection.",
    "schedule": "As in voxel_detection.",
    "lr": "As in voxel_detection; heads alone take .02 to .05 equally.",
    "final_lr": "As in voxel_detection.",
    "gamma": "As in voxel_detection.",
    "weight_decay": "As in voxel_detection.",
    "sharpness": "4 got stuck beside the lesion when it learned from random weights.",
    "batch_size": "As in detection.",
    "augmentation": "As in voxel_detection, in steps, so that trials share what frozen stages make of a view.",
}
