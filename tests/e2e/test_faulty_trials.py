"""A trial that raises, one that runs out of memory, one whose worker is killed: the sweep goes on and says so."""

from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tissueclock.storage.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def test_faulty_trials_are_recorded_and_the_sweep_goes_on(study_dir: Path) -> None:
    study = write_study(
        study_dir,
        extensions=str(Path(__file__).parent / "faulty_lab"),
        arms={"chain": {"network": "slice", "phases": {"faulty": "random"}}},
        sweep={"trials": 4, "searcher": "grid", "max_failures": 1},
    )

    done = run("sweep", study, cwd=study_dir)

    assert done.returncode == 0, done.stderr
    (ledger_file,) = study_dir.glob("toy/sweeps/*/ledger.jsonl")
    ledger = read_ledger(ledger_file)
    ended = {trial.hyperparameters["dropout"]: trial for trial in ledger.trials.values()}
    assert {fault: trial.status for fault, trial in ended.items()} == {
        0.1: "finished",
        0.2: "failed",
        0.3: "failed",
        0.4: "finished",
    }
    assert ended[0.2].error == "RuntimeError: this trial always raises"
    assert "in step" in (ledger_file.parent / "trials" / ended[0.2].name / "error.txt").read_text()
    assert ended[0.3].error is not None
    assert "memory" in ended[0.3].error.lower()
    (lost,) = ended[0.4].recovered
    assert lost.startswith("its worker died")
    assert sorted(ended[0.4].metrics) == [1, 2], "the killed trial went on from its checkpoint"
    assert "2 failed" in done.stdout
    assert "3 taken up again" in done.stdout, "each of the three faults once"
