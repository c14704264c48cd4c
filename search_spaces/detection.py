"""Stroke detection: the whole network learns from its first weights, so the space is the optimiser's and the batch's."""

from ray import tune

SPACE = {
    "optimiser": tune.choice(["adabound", "amsbound"]),
    "lr": tune.loguniform(3e-4, 1e-2),
    "final_lr": tune.loguniform(1e-3, 3e-1),
    "gamma": tune.loguniform(1e-4, 3e-2),
    "weight_decay": tune.loguniform(1e-6, 1e-3),
    "dropout": tune.uniform(0.0, 0.5),
    "batch_size": tune.choice([8, 16]),
    "augmentation": tune.uniform(0.0, 1.5),
}

REASONS = {
    "optimiser": "The paper trains with AdaBound; AMSBound is its convergent variant (Luo 2019). Name sgd or adamw under "
    "`fix` for a control.",
    "lr": "AdaBound's first, Adam-like steps. Below 3e-4 a random network has not begun after 30 epochs; above 1e-2 "
    "batch-normalised ResNets diverge in their first epoch.",
    "final_lr": "The SGD step that the bounds close on; 0.1 is the package's default and equals SGD at 0.01 with momentum "
    "0.9. Searched over lr to 30 times it, where the authors report little sensitivity.",
    "gamma": "How fast the bounds close: gamma * steps of the phase should lie in 0.3 to 30, and a phase has 1,000 to "
    "3,000 steps (272 patients, batch 8, 30 to 100 epochs).",
    "weight_decay": "Published ResNet values lie around 1e-4; below 1e-6 it has no effect on so few steps.",
    "dropout": "0 to 0.5 on the features before the head, the usual range; more starves a single logit.",
    "batch_size": "The paper states none. 8 fits the full grid on 11 GB; 32 leaves too few steps an epoch.",
    "augmentation": "1 is +-10 degrees, scale 0.9 to 1.1, +-10 % intensity; 0 is none, and beyond 1.5 lesions leave the "
    "field of view.",
}
