"""Answers for a cohort: who is refused and why, what is flagged, and that no page of an earlier run is left."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.wrong_places import scored_folder
from tests.toy import write_toy_cohort
from tissueclock.answering.answers import Answer, answer_cohort, check_same_way
from tissueclock.answering.model import Model, model_of_checkpoint
from tissueclock.answering.pages import write_pages
from tissueclock.cohort.manifest import HAS_FLAIR
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.storage.folders import PromotedFolder


@pytest.fixture(scope="module")
def model(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A detector that was never trained, scored as a study does it."""
    return model_of_checkpoint(PromotedFolder(scored_folder(tmp_path_factory.mktemp("model") / "promoted", toy_cohort)))


def test_patients_of_the_model_s_own_cohort_are_known_and_strangers_are_not(
    model: Model, toy_cohort: Cohort, tmp_path: Path
) -> None:
    own = answer_cohort(model, toy_cohort, error_rate=0.1)
    assert all(any("known from the model's own cohort (by id)" in flag for flag in one.flags) for one in own)
    strangers = write_toy_cohort(tmp_path / "cohort", n_patients=8, seed=77)
    renamed = replace(
        strangers,
        patients=tuple(replace(p, participant_id=f"x{p.participant_id}") for p in strangers.patients),
        table=tuple(replace(half, patient=f"x{half.patient}") for half in strangers.table),
        digest="another",
    )
    told = [one for one in answer_cohort(model, renamed, error_rate=0.1) if not one.refusal]
    assert told
    assert not any("known from" in flag for one in told for flag in one.flags)
    assert all(one.chosen_by == "detection" and 0.5 <= (one.side_probability or 0) <= 1 for one in told)


def test_who_cannot_be_read_is_refused_with_the_reason(model: Model, toy_cohort: Cohort) -> None:
    first, second, *others = toy_cohort.patients
    patients = (
        replace(first, lesion_side="none", onset_to_mri_min=None),
        replace(second, extra={HAS_FLAIR: "no"}),
        *others,
    )
    told = answer_cohort(model, replace(toy_cohort, patients=patients), error_rate=0.1)
    assert told[0].refusal == "participants.tsv says there is no lesion"
    assert told[1].refusal == "no FLAIR, which the model reads of every patient"
    assert all(one.hemisphere is None and not one.onset for one in told[:2])


def test_images_that_came_to_be_in_another_way_are_refused(model: Model, toy_cohort: Cohort) -> None:
    way = {"reference": "sub-01", "backend": "ants 1", "registration": "affine"}
    histogram = {"subject": "sub-01", "quantiles": {"b0": [0.0, 1.0]}}
    made = replace(model, intake=replace(model.intake, preprocessing=way, histogram=histogram))

    def check(histogram: object = histogram, **changes: object) -> None:
        check_same_way(made, replace(toy_cohort, source={"preprocessing": way | changes, "histogram": histogram}))

    check()
    check(backend="ants 2", reference="somebody")  # a version, and a name that a registered model does not tell
    check({"subject": "somebody", "quantiles": {"b0": [0.0, 1.0]}})
    with pytest.raises(CohortError, match="preprocessed with registration 'syn'"):
        check(registration="syn")
    with pytest.raises(CohortError, match="matched to another histogram"):
        check({"subject": "sub-01", "quantiles": {"b0": [0.0, 2.0]}})
    with pytest.raises(CohortError, match="grid 4x32x16 at 1 x 1 x 1 mm found"):
        check_same_way(made, replace(toy_cohort, spacing_mm=(1.0, 1.0, 1.0)))


def test_no_page_of_an_earlier_run_is_left(tmp_path: Path) -> None:
    def write(*names: str) -> set[str]:
        told = {"model": "m", "cohort": {"name": "c", "is_phantom": True}, "error_rate": 0.1, "coverage": []}
        write_pages(tmp_path, [Answer(name, "a reason") for name in names], flags={}, images={}, **told)  # type: ignore[arg-type]
        return {path.name for path in (tmp_path / "patients").iterdir()}

    assert write("sub-01", "sub-02") == {"sub-01.html", "sub-02.html"}
    assert write("sub-02", "sub-03") == {"sub-02.html", "sub-03.html"}
