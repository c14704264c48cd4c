"""A lab adds a phase and a space by writing one module each, in a folder of its own."""

from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tissueclock.storage.ledger import read_ledger

LAB = Path(__file__).parents[2] / "infra" / "lab_example"

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def test_a_lab_s_own_phase_is_swept_like_any_other(study_dir: Path) -> None:
    study = write_study(
        study_dir,
        extensions=str(LAB),
        arms={"chain": {"network": "slice", "phases": {"detection": "random", "tss_6h": "previous"}}},
    )

    done = run("sweep", study, cwd=study_dir)

    assert done.returncode == 0, done.stderr
    (ledger_file,) = study_dir.glob("toy/sweeps/tss_6h-*/ledger.jsonl")
    ledger = read_ledger(ledger_file)
    assert ledger.closed
    assert {"freeze_depth", "lr", "parent"} <= ledger.trials["t0001"].hyperparameters.keys()


def test_without_the_extensions_the_phase_is_unknown_and_the_known_ones_are_named(study_dir: Path) -> None:
    study = write_study(study_dir, arms={"chain": {"network": "slice", "phases": {"tss_6h": "random"}}})

    done = run("plan", study, cwd=study_dir)

    assert done.returncode == 2
    assert (
        "phase tss_6h: no module trainables/tss_6h.py; known: attention, detection, genesis, "
        "radiomics_3h, radiomics_4h5, tss_3h, tss_4h5" in done.stderr
    )
