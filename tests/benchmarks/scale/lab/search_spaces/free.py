"""Two knobs, so that the sampler has something to suggest."""

from ray import tune

SPACE = {"lr": tune.loguniform(1e-5, 1e-1), "dropout": tune.uniform(0.0, 0.9)}

REASONS = {"lr": "Nothing learns.", "dropout": "Nothing learns."}
