"""A sweep that a terminal or a batch system interrupts while trials run: nothing is left, and it resumes."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import run, start, write_study
from tissueclock.storage.ledger import read_ledger
from tissueclock.tracking.connection import open_client

pytestmark = [pytest.mark.ray, pytest.mark.e2e]

EPOCHS = 20


def n_epochs(folder: Path) -> int:
    return sum(path.read_text().count('"reported"') for path in folder.glob("toy/sweeps/*/ledger.jsonl"))


def processes_of(home: Path) -> list[str]:
    """What runs with that home, as Ray's processes do that a command with it started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def study_run(folder: Path) -> Any:
    client = open_client(f"sqlite:///{folder}/toy/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "toy")
    (found,) = client.search_runs([experiment.experiment_id], "tags.`tissueclock.kind` = 'study'")
    return found


def test_a_signal_ends_a_sweep_with_130_and_the_same_command_goes_on(study_dir: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    study = write_study(study_dir, sweep={"trials": 2, "epochs": EPOCHS, "patience": EPOCHS})

    for signalled in (signal.SIGTERM, signal.SIGINT):
        before = n_epochs(study_dir)
        command = start("sweep", study, cwd=study_dir)
        deadline = time.monotonic() + 120
        while n_epochs(study_dir) < before + 3 and command.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        command.send_signal(signalled)
        _, said = command.communicate(timeout=60)

        assert (command.returncode, said) == (130, "interrupted; the same command goes on from here\n")
        assert study_run(study_dir).info.status == "KILLED"
        deadline = time.monotonic() + 20
        while (left := processes_of(study_dir)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left

    assert n_epochs(study_dir) < 2 * EPOCHS, "there was something left to do"
    done = run("sweep", study, cwd=study_dir)

    assert done.returncode == 0, done.stderr
    (ledger_file,) = study_dir.glob("toy/sweeps/*/ledger.jsonl")
    ledger = read_ledger(ledger_file)
    assert ledger.closed
    assert [sorted(trial.metrics) for trial in ledger.trials.values()] == [list(range(1, EPOCHS + 1))] * 2
    assert study_run(study_dir).info.status == "FINISHED"
