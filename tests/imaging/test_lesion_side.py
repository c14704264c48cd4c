"""What the lesion mask, b1000 and the participants' table say of the side."""

import numpy as np
import pytest

from tests.imaging.preprocessed import write_participants, write_patient
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.lesion_side import remark_on_side, side_of_mask, volumes_by_side
from tissueclock.imaging.quality_table import judge
from tissueclock.imaging.volume import Volume


def test_volumes_are_of_the_halves_x_runs_from_left_to_right() -> None:
    data = np.zeros((6, 4, 4), dtype=np.float32)
    data[1, 0, :2] = 1.0
    data[4, 0, 0] = 0.5
    volumes = volumes_by_side(Volume(data, np.diag([10.0, 10.0, 10.0, 1.0])))
    assert volumes == pytest.approx({"left_ml": 2.0, "right_ml": 0.5})


@pytest.mark.parametrize(
    ("left", "right", "side"),
    [(4.2, 0.0, "left"), (0.0, 0.01, "right"), (9.5, 0.5, "left"), (2.0, 1.0, "both"), (0.0, 0.0, None)],
)
def test_a_tenth_of_the_lesion_makes_a_side(left: float, right: float, side: str | None) -> None:
    assert side_of_mask({"left_ml": left, "right_ml": right}) == side


@pytest.mark.parametrize(
    ("left", "right", "said", "remark"),
    [
        (4.2, 0.0, "right", "on the left (4.2 ml against 0.0), participants.tsv says right: is an image flipped?"),
        (0.1, 5.0, "left", "on the right (5.0 ml against 0.1), participants.tsv says left: is an image flipped?"),
        (4.2, 0.0, "both", "on the left (4.2 ml against 0.0), participants.tsv says both: which is right?"),
        (4.2, 0.0, "none", "on the left (4.2 ml against 0.0), participants.tsv says none: which is right?"),
        (4.2, 2.0, "left", "on both sides (4.2 ml against 2.0), participants.tsv says left: which is right?"),
    ],
)
def test_a_mask_that_contradicts_the_table_is_remarked(left: float, right: float, said: str, remark: str) -> None:
    lesion = {"left_ml": left, "right_ml": right}
    assert remark_on_side(said, lesion=lesion, brighter=None) == f"the lesion mask lies {remark}"


@pytest.mark.parametrize("said", ["left", "n/a", "unknown", None])
def test_a_mask_that_the_table_does_not_contradict_silences_the_guess(said: str | None) -> None:
    assert remark_on_side(said, lesion={"left_ml": 4.2, "right_ml": 0.0}, brighter="right") is None


def test_a_small_second_lesion_is_enough_where_the_table_says_both() -> None:
    assert remark_on_side("both", lesion={"left_ml": 4.2, "right_ml": 0.3}, brighter=None) is None


def test_facts_without_a_mask_or_of_an_older_version_leave_the_guess(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Derivatives(tmp_path_factory.mktemp("deriv"))
    bright = {"figures": {}, "brighter_side": "right", "remarks": []}
    write_patient(folder, "sub-01", seed=1, quality=bright, lesion=None)
    write_patient(folder, "sub-02", seed=2, quality=bright, lesion={"ml": 3.0, "ml_in_atlas_space": 3.0})
    write_patient(folder, "sub-03", seed=3, quality=bright, lesion={"ml": 3.0, "left_ml": 3.0, "right_ml": 0.0})
    write_participants(folder.participants, **{f"sub_0{i}": ("100", "left") for i in (1, 2, 3)})
    remarks = {patient.folder.subject: patient.quality.remarks for patient in judge(folder)}
    assert "b1000 is brighter on the right, participants.tsv says left" in remarks["sub-01"][0]
    assert remarks["sub-02"] == remarks["sub-01"]
    assert remarks["sub-03"] == ()
