"""A sweep's key: the names that 0.1 gave stay, and only what a trial means changes them."""

from pathlib import Path
from typing import Any

import pytest

from tissueclock.networks.settings import SliceSettings, VolumeSettings, VoxelSettings
from tissueclock.records import SweepInputs, SweepSpec, WeightsFile
from tissueclock.settings import Budget, SchedulerSettings, WeightsSettings

FROM_A_FILE = WeightsFile(settings=WeightsSettings(file="w", layout="mapping", mapping={"a": "b"}), digest="d")
COHORT = "def1b5804607b02c437224a4dae805de65e606193516c64b7e6f7250d9f2a4ec"


def spec(budget: Budget | None = None, **changes: Any) -> SweepSpec:
    inputs: dict[str, Any] = {
        "phase": "tss_3h",
        "space": "tss_3h",
        "network": VolumeSettings(width=4),
        "fix": {"batch_size": 16},
        "epochs": 40,
        "patience": 40,
        "scheduler": SchedulerSettings(name="none"),
        "cohort_digest": COHORT,
        "seed": 7,
    }
    return SweepSpec(inputs=SweepInputs(**{**inputs, **changes}), budget=budget or Budget(), cohort=Path("c"))


@pytest.mark.parametrize(
    ("changes", "vertex"),
    [
        ({}, "tss_3h.e61be082"),
        ({"network": SliceSettings(width=4)}, "tss_3h.b69b01fe"),
        (
            {
                "network": SliceSettings(width=4),
                "weights": "imagenet",
                "weights_file": FROM_A_FILE,
                "fix": {"batch_size": 16, "lr": 1e-3},
                "searcher": "grid",
                "scheduler": SchedulerSettings(grace_epochs=5),
                "cohort_digest": "x",
                "precision": "float32",
            },
            "tss_3h.2da9e907",
        ),
        (
            {"phase": "detection", "space": "detection", "network": SliceSettings(width=4), "epochs": 2, "patience": 2},
            "detection.98f129cb",
        ),
    ],
    ids=["volume", "slice", "from a file, everything said", "the fixture's detection"],
)
def test_a_sweep_of_0_1_keeps_its_name(changes: dict[str, Any], vertex: str) -> None:
    assert spec(**changes).vertex == vertex  # as a14eec5 named them; see tests/e2e/test_study_of_0_1.py


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"fix": {"batch_size": 8}},
        {"network": VolumeSettings(width=8)},
        {"network": VolumeSettings(width=4, readout="attended")},
        {"network": VolumeSettings(width=4, readout="attended", inputs=("b0", "mirror"))},
        {"network": VoxelSettings(width=4)},
        {"scheduler": SchedulerSettings(name="none", grace_epochs=4)},
    ],
)
def test_what_a_trial_means_makes_another_key(changes: dict[str, Any]) -> None:
    assert spec(**changes).key != spec().key


def test_how_much_is_wanted_makes_no_other_key() -> None:
    assert spec(Budget(trials=5, promote=1, cpus_per_trial=2.0, time_budget_min=3.0)).key == spec().key
