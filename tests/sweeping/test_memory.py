"""A trial that ran out of memory gets a larger slot, and so do those after it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import OutOfMemoryError, RayActorError

from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.records import SweepJob
from tissueclock.settings import Resources, SchedulerSettings
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter, read_ledger
from tissueclock.sweeping.memory import is_out_of_memory, larger_slot, slot
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.sweep import run_sweep
from trainables.detection import Detection


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), True),
        (RayActorError("5f", "The actor is dead because it was killed: the node was running low on memory"), True),
        (RayActorError("5f", "The actor died unexpectedly on node mri-room-2: connection error code 2"), False),
        (ValueError("lr is -1"), False),
        (None, False),
    ],
)
def test_want_of_memory_is_told_from_other_failures(error: BaseException | None, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("had", "whole", "expected"),
    [
        (0.25, 1.0, 0.5),
        (0.3, 1.0, 0.5),
        (0.5, 1.0, 1.0),
        (1.0, 1.0, None),
        (2.0, 16.0, 4.0),
        (3.0, 6.0, 4.0),
        (4.0, 6.0, 6.0),
    ],
)
def test_a_larger_slot_is_the_next_power_of_two_up_to_all(had: float, whole: float, expected: float | None) -> None:
    assert larger_slot(Resources(), had, whole=whole) == expected


def test_several_processes_keep_what_they_have() -> None:
    assert larger_slot(Resources(gpus=2.0, workers=2), 0.5, whole=1.0) is None


def test_a_slot_is_never_smaller_than_the_study_asks_for() -> None:
    assert slot(Resources(cpus=4.0, gpus=0.5), 0.25) == {"cpu": 4.0, "gpu": 0.5}
    assert slot(Resources(cpus=4.0, gpus=0.5), 1.0) == {"cpu": 4.0, "gpu": 1.0}
    assert slot(Resources(cpus=1.0), 2.0) == {"cpu": 2.0, "gpu": 0.0}


@pytest.mark.ray
def test_a_trial_that_does_not_fit_is_taken_up_in_a_larger_slot_and_later_ones_begin_there(
    ray_here: None, toy_cohort: Cohort, tmp_path: Path
) -> None:
    class Hungry(Detection):
        def step(self) -> dict[str, Any]:
            if ray.get_runtime_context().get_assigned_resources().get("CPU", 0) < 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().step()

    none = SchedulerSettings(name="none")
    spec = vary(cohort=toy_cohort.folder, cohort_digest=toy_cohort.digest, scheduler=none)
    spec = vary(spec, trials=4, epochs=2, promote=1, cpus_per_trial=0.25, max_concurrent=1, max_failures=1)
    lineage = {"cohort": "c", "split": "s", "seed": 3, "code": {}}
    job = SweepJob(spec=spec, folder=SweepFolder(tmp_path), study="s", inputs="i", lineage=lineage)

    run_sweep(job, SweptPhase(Hungry, load_phase(spec).space))

    ledger = read_ledger(job.folder.ledger)
    first, *others = ledger.trials.values()
    assert first.recovered == [
        "OutOfMemoryError: CUDA out of memory (out of memory on 0.25 CPU: taken up on 0.5)",
        "OutOfMemoryError: CUDA out of memory (out of memory on 0.5 CPU: taken up on 1)",
    ]
    assert [trial.recovered for trial in others] == [[], [], []]
    assert {trial.status for trial in ledger.trials.values()} == {"finished"}
    assert ledger.devices == 1.0, "the cost is of what they took"

    with LedgerWriter(job.folder.ledger) as writer:
        writer.append("enlarged", trial=first.name, devices=64.0)  # as on a larger cluster
    more = replace(job, spec=vary(spec, trials=5))
    run_sweep(more, SweptPhase(Hungry, load_phase(spec).space))
    assert read_ledger(job.folder.ledger).trials["t0005"].status == "finished", "it does not wait for 64 CPUs"
