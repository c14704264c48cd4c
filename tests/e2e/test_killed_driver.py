"""Kill -9 of the driver at any moment, and the same command again."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import run, start, write_study
from tissueclock.storage.ledger import read_ledger
from tissueclock.tracking.connection import open_client

N_KILLS = int(os.environ.get("TISSUECLOCK_KILLS", "3"))
N_TRIALS = 2 * N_KILLS

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def n_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("toy/sweeps/*/ledger.jsonl"))


def run_until_killed(study: Path, *, more_lines: int) -> None:
    """Starts the sweep and kills its driver after the ledger has grown by so many lines."""
    before = n_lines(study.parent)
    driver = start("sweep", study, cwd=study.parent)
    deadline = time.monotonic() + 120
    while driver.poll() is None and n_lines(study.parent) < before + more_lines and time.monotonic() < deadline:
        time.sleep(0.005)
    assert driver.poll() is None, "the sweep ended before it could be killed"
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()


def mlflow_runs(uri: str) -> list[Any]:
    client = open_client(uri)
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


@pytest.mark.parametrize("judged_by", [{}, {"folds": 3, "confirm": 1}], ids=["one split", "folds, and fresh seeds"])
def test_a_driver_killed_again_and_again_ends_with_the_trials_asked_for_each_once(
    study_dir: Path, judged_by: dict[str, int]
) -> None:
    scheduler = {"name": "asha", "grace_epochs": 2}
    study = write_study(
        study_dir, sweep={"trials": N_TRIALS, "epochs": 6, "patience": 6, "scheduler": scheduler, **judged_by}
    )
    moments = random.Random(20261123)
    for _ in range(N_KILLS):
        run_until_killed(study, more_lines=moments.randint(1, 8))

    done = run("sweep", study, cwd=study_dir)

    assert done.returncode == 0, done.stderr
    (ledger_file,) = study_dir.glob("toy/sweeps/*/ledger.jsonl")
    ledger = read_ledger(ledger_file)
    assert ledger.closed
    assert sorted(ledger.trials) == [f"t{i:04d}" for i in range(1, N_TRIALS + 1)]
    assert not ledger.with_status(None, "failed")
    ended = [line for line in ledger_file.read_text().splitlines() if '"kind":"ended"' in line]
    assert len(ledger.confirmations) == 2 * judged_by.get("confirm", 0)
    assert len(ended) == N_TRIALS + len(ledger.confirmations), "a trial ended twice"
    for trial in ledger.entries():
        assert sorted(trial.metrics) == list(range(1, trial.last_epoch + 1)), "an epoch is missing from the curve"

    runs = mlflow_runs(f"sqlite:///{study_dir}/toy/mlflow.db")
    assert all(found.info.status != "RUNNING" for found in runs)
    names = [found.data.tags["tissueclock.trial"] for found in runs if "tissueclock.trial" in found.data.tags]
    assert sorted(names) == sorted(trial.name for trial in ledger.entries())
