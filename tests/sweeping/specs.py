"""A sweep to vary."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tissueclock.networks.settings import SliceSettings
from tissueclock.records import SweepInputs, SweepSpec
from tissueclock.settings import Budget, SchedulerSettings

SPEC = SweepSpec(
    inputs=SweepInputs(
        phase="detection",
        space="detection",
        network=SliceSettings(width=4),
        epochs=4,
        patience=4,
        scheduler=SchedulerSettings(name="asha", grace_epochs=1, reduction_factor=2),
        seed=3,
    ),
    budget=Budget(trials=12, promote=2),
    cohort=Path("cohort"),
    arms=("chain",),
)


def vary(spec: SweepSpec = SPEC, **changes: Any) -> SweepSpec:
    """The spec with some of its settings changed, wherever each stands."""
    inputs = {name: value for name, value in changes.items() if name in SweepInputs.model_fields}
    budget = {name: value for name, value in changes.items() if name in Budget.model_fields}
    others = {name: value for name, value in changes.items() if name not in {*inputs, *budget}}
    return replace(
        spec,
        inputs=spec.inputs.model_copy(update=inputs),
        budget=spec.budget.model_copy(update=budget),
        **others,
    )
