"""One trial of each fault."""

from ray import tune

SPACE = {"dropout": tune.choice([0.1, 0.2, 0.3, 0.4])}
REASONS = {"dropout": "Stands for the fault."}
