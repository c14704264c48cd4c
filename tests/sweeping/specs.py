"""A sweep to vary."""

from pathlib import Path

from tissueclock.records import NetworkSpec, SchedulerSpec, SweepSpec

SPEC = SweepSpec(
    phase="detection",
    space="detection",
    network=NetworkSpec(width=4),
    weights="random",
    upstream=None,
    fixed={},
    epochs=4,
    patience=4,
    searcher="tpe",
    scheduler=SchedulerSpec(name="asha", grace_epochs=1, reduction_factor=2),
    cohort=Path("cohort"),
    cohort_digest="",
    seed=3,
    arms=("chain",),
    trials=12,
)
