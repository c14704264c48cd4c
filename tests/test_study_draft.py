"""A drafted study file is one that `plan` accepts, and says why."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.toy import write_toy_cohort
from tissueclock.catalog import load_phase
from tissueclock.checking import check_study
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.study import Study, read_study
from tissueclock.study_draft import ARMS, Arms, draft_study, study_name

LAPTOP = [{"CPU": 2, "GPU": 0}]
DGX = [{"CPU": 256, "GPU": 8}]


def drafted(folder: Path, cohort: Cohort, arms: Arms, node: list[dict[str, int]] = LAPTOP) -> Study:
    text = draft_study(cohort, arms=arms, name="mine", cohort_path=str(cohort.folder), node=node)
    (folder / "mine.yaml").write_text(text)
    return read_study(folder / "mine.yaml")


@pytest.mark.parametrize("node", [LAPTOP, DGX], ids=["laptop", "dgx"])
@pytest.mark.parametrize("arms", ARMS)
def test_all_checks_accept_it_as_it_is(
    tmp_path: Path, toy_cohort: Cohort, arms: Arms, node: list[dict[str, int]]
) -> None:
    study = drafted(tmp_path, toy_cohort, arms, node)

    checked, _ = check_study(study, load_phase, lambda _: None)

    assert len(checked.arms) >= 2


def test_it_fits_the_machine(tmp_path: Path, toy_cohort: Cohort) -> None:
    small, large = (drafted(tmp_path, toy_cohort, "paper", node).settings for node in (LAPTOP, DGX))

    assert (small.networks["slice"].width, small.sweep.gpus_per_trial) == (8, 0)
    assert (large.networks["slice"].width, large.sweep.gpus_per_trial, large.sweep.cpus_per_trial) == (64, 1, 8)


def test_it_fits_the_cohort(tmp_path: Path, toy_cohort: Cohort) -> None:
    fine = replace(toy_cohort, shape=(24, 224, 112))

    coarse_study, fine_study = (drafted(tmp_path, cohort, "paper").settings for cohort in (toy_cohort, fine))

    assert coarse_study.networks["slice"].stem_stride == 1
    assert fine_study.networks["slice"].stem_stride == 4
    assert coarse_study.sweep.folds == 5, "48 patients need folds"


def test_patients_without_flair_are_read_by_a_network_that_knows(tmp_path: Path, toy_cohort: Cohort) -> None:
    first, *others = toy_cohort.patients
    cohort = replace(toy_cohort, patients=(replace(first, extra={"has_flair": "no"}), *others))

    text = draft_study(cohort, arms="quick", name="mine", cohort_path="cohort", node=LAPTOP)

    said = yaml.safe_load(text)
    assert "flair_present" in said["networks"]["voxel"]["inputs"]
    assert said["sweep"]["fix"]["flair_dropout"] > 0
    with pytest.raises(CohortError, match="1 patients have no FLAIR, which these arms read; allowed: --arms quick"):
        draft_study(cohort, arms="paper", name="mine", cohort_path="cohort", node=LAPTOP)


def test_a_cohort_in_which_an_onset_phase_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort")
    late = tuple(replace(patient, onset_to_mri_min=500.0) for patient in cohort.patients)

    with pytest.raises(CohortError, match="0 of them have the rarer answer of an onset phase; 2 are needed"):
        draft_study(replace(cohort, patients=late), arms="quick", name="mine", cohort_path="cohort", node=LAPTOP)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Study-2.yaml", "my_study_2"),
        ("2026.yaml", "study"),
        ("a.b.yaml", "a_b"),
        ("on.yaml", "on_study"),
        ("cohort.yaml", "cohort_study"),
    ],
)
def test_a_study_is_called_as_its_file_is(file: str, name: str) -> None:
    """Unless YAML would read that as no word, or its folder would be the cohort's."""
    assert study_name(Path(file), Path("cohort")) == name


@pytest.mark.parametrize(
    "path", ["a #b", "trail ", "a: b", "123", "null", "2024-01-01", "[x]", "- x", "*x", "~x", 'q"uo', "ü"]
)
def test_any_folder_can_be_the_cohort_s(toy_cohort: Cohort, path: str) -> None:
    text = draft_study(toy_cohort, arms="quick", name="mine", cohort_path=path, node=LAPTOP)

    assert yaml.safe_load(text)["cohort"].removeprefix("./") == path


def test_a_cohort_s_name_stays_in_its_comment(toy_cohort: Cohort) -> None:
    cohort = replace(toy_cohort, name="bad\nname: evil")

    assert (
        yaml.safe_load(draft_study(cohort, arms="quick", name="mine", cohort_path="c", node=LAPTOP))["name"] == "mine"
    )
