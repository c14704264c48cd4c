"""A disk that fills up while a sweep runs: one line, the trial stays open, and room alone brings it back."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tissueclock.storage.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


@pytest.fixture
def small_disk(study_dir: Path) -> Iterator[Path]:
    """The study's folder as a disk of its own, with room for less than one checkpoint."""
    disk = study_dir / "toy"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs a disk of its own: {mounted.stderr.strip() or 'mount was refused'}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_stops_the_sweep_in_one_line_and_room_alone_brings_it_back(
    study_dir: Path, small_disk: Path
) -> None:
    study = write_study(
        study_dir,
        tracking={"uri": f"sqlite:///{study_dir}/mlflow.db"},
        arms={"chain": {"network": "slice", "phases": {"detection": "random"}}},
        sweep={"trials": 1, "epochs": 2, "max_failures": 1, "promote": 1},
    )

    full = run("sweep", study, cwd=study_dir)

    assert full.returncode in (1, 2), full.stdout + full.stderr  # 2 if there is no room for the report either
    (line,) = [line for line in full.stdout.splitlines() if "failed, 0/1 trials" in line and "disk full" in line]
    assert "cannot be written; make room, and run the same command again" in line
    assert "Traceback" not in full.stdout + full.stderr
    (ledger_file,) = small_disk.glob("sweeps/*/ledger.jsonl")
    assert [trial.status for trial in read_ledger(ledger_file).trials.values()] == [None]

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = run("sweep", study, cwd=study_dir)

    assert again.returncode == 0, again.stdout + again.stderr
    ledger = read_ledger(ledger_file)
    assert ledger.closed
    assert [trial.status for trial in ledger.trials.values()] == ["finished"]
