"""One trial on two processes: what one process would have learned, reported and resumed alike."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from tests.training.test_trial import make_job
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.records import Parent, SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.ledger import LedgerState, read_ledger
from tissueclock.sweeping.promotion import read_parents
from tissueclock.sweeping.sweep import run_sweep
from tissueclock.training.distributed import unwrapped
from tissueclock.training.reservation import ReturningTrainer

pytestmark = pytest.mark.ray

TWO = {"cpus_per_trial": 2.0, "workers_per_trial": 2}  # all that there are
EXACT = {"batch_size": 16, "augmentation": 0.0, "dropout": 0.0}


def swept(cohort: Cohort, folder: Path, **changes: Any) -> tuple[SweepJob, LedgerState]:
    job = make_job(
        cohort,
        folder,
        **{"trials": 1, "epochs": 3, "promote": 1, "scheduler": SchedulerSettings(name="none"), **changes},
    )
    run_sweep(job, load_phase(job.spec))
    return job, read_ledger(job.folder.ledger)


@pytest.fixture(scope="module")
def parents(ray_here: None, toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Parent, ...]:
    job, _ = swept(toy_cohort, tmp_path_factory.mktemp("detection"), fix=EXACT)
    return read_parents(job.folder)


def test_two_processes_learn_what_one_does(parents: tuple[Parent, ...], toy_cohort: Cohort, tmp_path: Path) -> None:
    # The phase whose norms all stand still: each process would else normalise by its own half of a batch.
    frozen = {"phase": "attention", "space": "attention", "weights": "previous", "upstream": "x", "parents": parents}
    pinned = {**EXACT, "learned": "gates+slices+head", "attention": "softmax", "lr": 0.01}

    curves = []
    for name, resources in (("one", {}), ("two", TWO)):
        _, ledger = swept(toy_cohort, tmp_path / name, **resources, fix=pinned, **frozen)
        (trial,) = ledger.trials.values()
        curves.append([[row["train_loss"], row["val_loss"], row["val_auc"]] for row in trial.metrics.values()])

    assert np.shape(curves[1]) == (3, 3)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)


def workers_of(pid: int) -> Iterator[int]:
    """Ray Train's workers among the descendants of a process: others on this machine may have theirs."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # The name stands in brackets and may hold anything; state and parent follow it.
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if b"RayTrainWorker" in (process / "cmdline").read_bytes():
                named.append(int(process.name))
    for worker in named:
        above = worker
        while above in parents and above != pid:
            above = parents[above]
        if above == pid:
            yield worker


def test_a_killed_process_costs_an_epoch_and_leaves_no_gap(ray_here: None, toy_cohort: Cohort, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        while not list((tmp_path / "trials").glob("*/epoch-0002/facts.json")):
            time.sleep(0.05)
        pid = next(iter(workers_of(os.getpid())))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    job, ledger = swept(toy_cohort, tmp_path, **TWO, fix=EXACT, epochs=12, patience=12)

    (trial,) = ledger.trials.values()
    assert killed
    assert trial.status == "finished"
    assert sorted(trial.metrics) == list(range(1, 13))
    assert job.folder.promoted(1).holdout.exists()


def test_workers_that_fail_at_their_start_leave_nothing_reserved(ray_here: None, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    def train() -> str:
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig

        try:
            ReturningTrainer(
                print,
                torch_config=TorchConfig(backend="mpi"),  # which no build from PyPI has: they do not find each other
                scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
                run_config=RunConfig(storage_path=str(tmp_path)),
            ).fit()
        except TrainingFailedError as error:
            return str(unwrapped(error))
        return "trained"

    assert "MPI" in ray.get(train.remote())
    assert {reserved["state"] for reserved in ray.util.placement_group_table().values()} == {"REMOVED"}
