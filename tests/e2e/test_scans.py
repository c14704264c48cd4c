"""From the scanner to a study, as a user goes: phantom --raw, preprocess, look, pack, sweep."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.preprocessing_error import score_patient
from tests.e2e.commands import run, start, write_study
from tissueclock.cohort.store import Cohort
from tissueclock.imaging.derivatives import Derivatives, read_facts
from tissueclock.storage.files import digest_file

pytestmark = [pytest.mark.e2e, pytest.mark.ray]

N_PATIENTS = 4
GRID = "12x48x24"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four raw phantoms whose heads differ from the atlas by an affine map, preprocessed by a command that was killed
    on its way and given again."""
    folder = tmp_path_factory.mktemp("lab")
    made = run("phantom", "raw", "--raw", "--patients", N_PATIENTS, "--anatomy", "affine", "--jobs", 2, cwd=folder)
    assert made.returncode == 0, made.stderr
    first = start(*PREPROCESS, cwd=folder)
    deadline = time.monotonic() + 300
    while len(Derivatives(folder / "deriv").done()) < 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    return folder


PREPROCESS = (
    "preprocess", "raw", "deriv", "--grid", GRID, "--lesions", "raw/derivatives/truth", "--cpus", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def preprocessed(lab: Path) -> Derivatives:
    before = {patient.subject: digest_file(patient.facts) for patient in Derivatives(lab / "deriv").done()}
    again = run(*PREPROCESS, cwd=lab, timeout_s=600)
    assert again.returncode == 0, again.stderr
    assert f"{len(before)} were done before" in again.stdout
    folder = Derivatives(lab / "deriv")
    assert {subject: digest_file(folder.patient(subject).facts) for subject in before} == before
    return folder


def test_a_killed_run_goes_on_and_leaves_nothing_half_written(preprocessed: Derivatives) -> None:
    assert len(preprocessed.done()) == N_PATIENTS
    assert not list(preprocessed.path.rglob("*.part"))


def test_heads_that_differ_by_an_affine_map_come_within_the_aims(lab: Path, preprocessed: Derivatives) -> None:
    scores = [score_patient(lab / "raw", patient) for patient in preprocessed.done()]
    assert np.median([score["mask_dice"] for score in scores]) >= 0.95
    assert min(score["mask_dice"] for score in scores) >= 0.90
    assert np.median([score["landmark_median_mm"] for score in scores]) <= 1.5
    assert max(score["landmark_max_mm"] for score in scores) <= 3.0
    assert max(score["flair_residual_mm"] for score in scores) <= 1.0
    assert min(score["lesion_dice"] for score in scores if "lesion_dice" in score) > 0.8


def test_each_patient_has_a_picture_figures_and_his_lesion(preprocessed: Derivatives) -> None:
    for patient in preprocessed.done():
        facts = read_facts(patient.facts)
        assert patient.picture.read_bytes()[:4] == b"\x89PNG"
        assert facts["lesion"]["ml"] > 0
        assert facts["quality"]["figures"]["b0_flair_shift_mm"] < 1.5
        assert not facts["skull_stripped"]
    assert preprocessed.quality_page.read_text().count("<img") == N_PATIENTS


def test_the_same_input_gives_the_same_bytes(lab: Path, preprocessed: Derivatives) -> None:
    """The whole folder of a patient, preprocessed elsewhere by other processes, but for the times."""
    (lab / "one").mkdir()
    reference = read_facts(preprocessed.reference)["subject"]
    shutil.copytree(lab / "raw" / reference, lab / "one" / reference)
    lesions = ("--lesions", "raw/derivatives/truth")
    again = run("preprocess", "one", "deriv-one", "--grid", GRID, *lesions, "--reference", reference, cwd=lab)
    assert again.returncode == 0, again.stderr
    once, twice = (folder.patient(reference) for folder in (preprocessed, Derivatives(lab / "deriv-one")))
    assert once.facts.read_bytes() == twice.facts.read_bytes()  # holds the digest of every image and picture
    for name in read_facts(once.facts)["digests"]:
        assert (once.path / name).read_bytes() == (twice.path / name).read_bytes(), name


def test_the_packed_cohort_is_swept(lab: Path, preprocessed: Derivatives) -> None:
    packed = run("pack", "deriv", "cohort", "--name", "raw phantoms", cwd=lab)
    assert packed.returncode == 0, packed.stderr
    cohort = Cohort.open(lab / "cohort", verify=True)
    assert cohort.shape == (12, 48, 24)
    assert len(cohort.patients) == N_PATIENTS
    inside = cohort.hemispheres[:, 0] > 0
    assert 0.3 < inside.mean() < 0.9
    study = write_study(lab, sweep={"trials": 1, "epochs": 1, "promote": 1})
    swept = run("sweep", study, cwd=lab, timeout_s=300)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    graph = json.loads((lab / "toy" / "graph.json").read_text())
    assert {facts["state"] for facts in graph["sweeps"].values()} == {"complete"}


def test_whoever_is_excluded_in_the_table_is_not_packed(lab: Path, preprocessed: Derivatives) -> None:
    excluded = preprocessed.done()[0].subject
    table = preprocessed.quality_table.read_text()
    preprocessed.quality_table.write_text(table.replace(f"{excluded}\tno", f"{excluded}\tyes"))
    packed = run("pack", "deriv", "fewer", cwd=lab)
    preprocessed.quality_table.write_text(table)
    assert f"left out: {excluded}: excluded in qc.tsv" in packed.stdout
    assert len(Cohort.open(lab / "fewer").patients) == N_PATIENTS - 1
