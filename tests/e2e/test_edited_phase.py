"""A lab edits its question between two runs of the same command: another sweep is made, and the first one stays."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tissueclock.storage.ledger import read_ledger

LAB = Path(__file__).parents[2] / "infra" / "lab_example"

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def test_a_sweep_of_the_edited_question_stands_beside_the_first(study_dir: Path) -> None:
    shutil.copytree(LAB, study_dir / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    study = write_study(
        study_dir, extensions="lab", arms={"scratch": {"network": "slice", "phases": {"tss_6h": "random"}}}
    )
    assert run("sweep", study, cwd=study_dir).returncode == 0
    (first,) = study_dir.glob("toy/sweeps/tss_6h-*")
    ledger = (first / "ledger.jsonl").read_bytes()

    phase = study_dir / "lab" / "trainables" / "tss_6h.py"
    phase.write_text(phase.read_text().replace("OnsetBefore(360.0)", "OnsetBefore(200.0)"))
    done = run("sweep", study, cwd=study_dir)

    assert done.returncode == 0, done.stderr
    said = f"tss_6h of scratch: question.onset_before_min is 200.0 where sweeps/{first.name} has 360.0 (and 1 more)"
    assert said in " ".join(done.stdout.split())
    (second,) = set(study_dir.glob("toy/sweeps/tss_6h-*")) - {first}
    assert read_ledger(second / "ledger.jsonl").closed
    assert (first / "ledger.jsonl").read_bytes() == ledger
