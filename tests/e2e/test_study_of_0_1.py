"""A study folder that 0.1 wrote (at a14eec5), killed in the midst of its second sweep: today's version goes on with it.

`study_0_1.tar.gz` holds the toy cohort of 24 patients, the study file and the folder, without MLflow's files.
"""

import json
import tarfile
from pathlib import Path

import pytest

from tests.e2e.commands import run
from tests.e2e.in_process import call
from tissueclock.storage.ledger import read_ledger

DETECTION, INTERRUPTED = "detection-231befde", "tss_3h-e1c21755"

pytestmark = pytest.mark.e2e


@pytest.fixture
def study(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).with_name("study_0_1.tar.gz")) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return tmp_path / "study.yaml"


@pytest.mark.ray
def test_it_is_gone_on_with_under_the_names_and_from_the_checkpoint_that_it_has(study: Path) -> None:
    sweeps = study.parent / "toy" / "sweeps"
    before = {name: (sweeps / name / "ledger.jsonl").read_bytes() for name in (DETECTION, INTERRUPTED)}

    done = run("sweep", study, cwd=study.parent)

    assert done.returncode == 0, done.stderr
    assert (sweeps / DETECTION / "ledger.jsonl").read_bytes() == before[DETECTION], "a complete sweep was run again"
    assert (sweeps / INTERRUPTED / "ledger.jsonl").read_bytes().startswith(before[INTERRUPTED])
    ledger = read_ledger(sweeps / INTERRUPTED / "ledger.jsonl")
    interrupted = ledger.trials["t0001"]
    assert interrupted.started == 2
    assert sorted(interrupted.metrics) == list(range(1, interrupted.last_epoch + 1))
    assert ledger.closed
    assert len(list(sweeps.iterdir())) == 3, "the volume network's sweep beside the two"
    assert run("report", study, cwd=study.parent).returncode == 0


def test_a_study_of_population_based_training_is_looked_at_and_not_gone_on_with(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(study.read_text().replace("scheduler: {name: none}", "scheduler: {name: pbt, perturb_epochs: 2}"))
    ledger = study.parent / "toy" / "sweeps" / DETECTION / "ledger.jsonl"
    changed = {"kind": "changed", "time_s": 0, "trial": "t0001", "hyperparameters": {"lr": 0.5}}
    ledger.write_text(ledger.read_text() + json.dumps(changed) + "\n")

    assert DETECTION in call(capsys, "status", study).out
    assert call(capsys, "report", study).code == 0
    refused = call(capsys, "sweep", study)
    assert refused.code == 2
    assert "scheduler pbt was removed" in refused.err
