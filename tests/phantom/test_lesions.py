from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.shared_data import SHARED_DATA
from tissueclock.errors import CohortError
from tissueclock.grid import make_grid, mirror, split_halves
from tissueclock.phantom.anatomy import template
from tissueclock.phantom.lesions import Focus, LesionPlan, draw_volume_ml, grow_lesion, plan_lesion
from tissueclock.phantom.realmasks import draw_mask, list_masks, read_mask, side_of
from tissueclock.phantom.territories import TERRITORIES

GRID = make_grid((16, 48, 24))
REAL_MASKS = SHARED_DATA / "soop_lesions" / "masks"


@pytest.fixture(scope="module")
def plans() -> list[LesionPlan]:
    rng = np.random.default_rng(0)
    return [plan_lesion(240.0, rng) for _ in range(4000)]


def test_sides_territories_and_volumes_are_shared_out_as_published(plans: list[LesionPlan]) -> None:
    sides = Counter(plan.side for plan in plans)
    assert sides["both"] / 4000 == pytest.approx(0.08, abs=0.012)
    assert sides["left"] / (sides["left"] + sides["right"]) == pytest.approx(0.5, abs=0.025)
    posterior = {t.name for t in TERRITORIES if t.circulation == "posterior"}
    assert np.mean([plan.territory in posterior for plan in plans]) == pytest.approx(0.30, abs=0.02)
    assert np.mean([plan.invisible_probability for plan in plans]) == pytest.approx(0.05, abs=0.002)
    log_volumes = np.log([sum(focus.volume_ml for focus in plan.foci) for plan in plans])
    assert np.exp(np.median(log_volumes)) == pytest.approx(8.0, rel=0.1)
    assert log_volumes.std() == pytest.approx(1.6, abs=0.1)


def test_later_lesions_are_larger_by_the_assumed_slope() -> None:
    early, late = (
        [np.log(draw_volume_ml(minutes, np.random.default_rng(i))) for i in range(200)] for minutes in (60.0, 120.0)
    )
    assert np.median(np.subtract(late, early)) == pytest.approx(0.15 * np.log(2))


@pytest.mark.parametrize("volume_ml", [0.5, 8.0, 60.0])
@pytest.mark.parametrize("name", ["mca_frontal", "thalamus", "brainstem"])
def test_a_lesion_has_its_volume_and_stays_on_its_side_in_tissue(name: str, volume_ml: float) -> None:
    territory = next(t for t in TERRITORIES if t.name == name)
    tissues = template(GRID)
    plan = LesionPlan((Focus(territory, "right", volume_ml),), side="right", invisible_probability=0.0)
    lesion = grow_lesion(plan, grid=GRID, tissues=tissues, rng=np.random.default_rng(1))
    grown_ml = float((lesion * tissues.solid).sum()) * GRID.voxel_ml
    assert grown_ml == pytest.approx(volume_ml, rel=0.05, abs=0.6 * GRID.voxel_ml)
    left, right = split_halves(lesion)
    assert left.max() == 0
    assert right.max() >= 0.5
    assert tissues.solid[lesion > 0].min() > 0.5


def test_every_planned_side_holds_a_lesion(plans: list[LesionPlan]) -> None:
    coarse = make_grid((6, 16, 8))
    for i, plan in enumerate([plan for plan in plans if plan.side == "both"][:30]):
        lesion = grow_lesion(plan, grid=coarse, tissues=template(coarse), rng=np.random.default_rng(i))
        assert [bool((half >= 0.5).any()) for half in split_halves(lesion)] == [True, True]


def write_mask(folder: Path, name: str, volume: np.ndarray) -> Path:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [78, -112, -50]
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.uint8), affine), folder / name)
    return folder / name


def test_a_mask_lands_where_its_affine_says(tmp_path: Path) -> None:
    volume = np.zeros((157, 189, 136))
    volume[100:110, 90:110, 60:72] = 1  # x = 78 - 100 and less: the left half
    lesion = read_mask(write_mask(tmp_path, "a.nii.gz", volume), grid=GRID)
    assert lesion is not None
    assert side_of(lesion) == "left"
    assert side_of(mirror(lesion)) == "right"
    assert lesion.sum() * GRID.voxel_ml == pytest.approx(volume.sum() / 1000, rel=0.01)


def test_empty_and_suspect_masks_are_left_out(tmp_path: Path) -> None:
    write_mask(tmp_path, "empty.nii.gz", np.zeros((9, 9, 9)))
    write_mask(tmp_path, "huge.nii.gz", np.ones((80, 80, 80)))
    with pytest.raises(CohortError, match="no usable mask among 2; each is empty or above 300 ml"):
        draw_mask(list_masks(tmp_path), grid=GRID, rng=np.random.default_rng(0))


def test_a_folder_or_file_that_is_no_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="absent: no such folder of lesion masks"):
        list_masks(tmp_path / "absent")
    with pytest.raises(CohortError, match=r"no .nii or .nii.gz found"):
        list_masks(tmp_path)
    (tmp_path / "text.nii").write_text("no image")
    with pytest.raises(CohortError, match=r"text.nii: not a readable NIfTI file"):
        read_mask(tmp_path / "text.nii", grid=GRID)


@pytest.mark.skipif(not REAL_MASKS.is_dir(), reason="the SOOP lesion masks are not beside this checkout")
def test_a_real_mask_lies_in_the_template() -> None:
    lesion = read_mask(REAL_MASKS / "bwsrsub-1001_lesion.nii.gz", grid=GRID)
    assert lesion is not None
    assert lesion.sum() * GRID.voxel_ml == pytest.approx(39.9, rel=0.01)
    assert side_of(lesion) == "left"
    assert (lesion * template(GRID).inside).sum() > 0.9 * lesion.sum()
