"""Sweeps of one phase at work at once, each with another network: each trains its own trials and no other's."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import ray

from tests.training.test_trial import make_job
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.networks.settings import SlicePoolingName, SliceSettings
from tissueclock.records import SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.files import read_json
from tissueclock.storage.ledger import read_ledger
from tissueclock.sweeping.cluster import RunningSweep

NETWORKS = [SliceSettings(width=8), *(SliceSettings(width=4, slice_pooling=how) for how in get_args(SlicePoolingName))]
DESCRIBED = ("width", "slice_pooling")


def side_by_side(cohort: Cohort, folder: Path, **changes: Any) -> list[SweepJob]:
    """Eight sweeps started together, each a task of one Ray job; all must end well."""
    jobs = []
    for i, network in enumerate(NETWORKS):
        job = make_job(
            cohort,
            folder / f"sweep{i}",
            network=network,
            fix={"batch_size": 16},
            trials=4,
            epochs=2,
            promote=2,
            scheduler=SchedulerSettings(name="none"),
            **changes,
        )
        jobs.append(replace(job, inputs=f"inputs{i}"))
    _warm_up(len(jobs))
    running = [RunningSweep(job, load_phase(job.spec), retry_failed=False) for job in jobs]
    while not all(sweep.ended() for sweep in running):
        time.sleep(0.1)
    assert [sweep.result() for sweep in running] == [None] * len(jobs)
    return jobs


def _warm_up(n: int) -> None:
    """Starts the drivers' processes and what they import beforehand, so that all sweeps begin in the same moment."""

    @ray.remote(num_cpus=0)
    def wait_for_the_others() -> None:
        import tissueclock.sweeping.sweep
        import tissueclock.training.phase  # noqa: F401

        time.sleep(2)

    ray.get([wait_for_the_others.remote() for _ in range(n)])


@pytest.mark.ray
def test_eight_sweeps_of_one_phase_at_once_each_train_their_own_trials(
    ray_here: None, toy_cohort: Cohort, tmp_path: Path
) -> None:
    for job in side_by_side(toy_cohort, tmp_path):
        ledger = read_ledger(job.folder.ledger)
        assert ledger.closed
        for name, trial in ledger.trials.items():
            facts = read_json(job.folder.trial(name).best.facts)
            assert {key: facts["network"][key] for key in DESCRIBED} == {
                key: getattr(job.spec.inputs.network, key) for key in DESCRIBED
            }
            assert (facts["seed"], facts["inputs"]) == (trial.seed, job.inputs)
            assert sorted(trial.metrics) == [1, 2]
        for promoted in ledger.promoted.values():
            assert job.folder.promoted(promoted["rank"]).read_trial()["seed"] == ledger.trials[promoted["trial"]].seed
