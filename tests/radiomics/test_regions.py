"""The region that radiomics finds by itself, and what is measured in it."""

import math

import numpy as np
import pytest

from tissueclock.cohort.pairs import other_halves
from tissueclock.cohort.store import Cohort
from tissueclock.phantom.generate import make_phantom
from tissueclock.radiomics.features import FEATURES, measure_region
from tissueclock.radiomics.roi import RoiSettings, find_roi

VOXEL_ML = 0.05


def make_halves(*, lesion: tuple[slice, ...] | None = None, seed: int = 0) -> np.ndarray:
    """Two halves of tissue with fluid in the middle; ADC .8, in the lesion .4, where b1000 and FLAIR are bright."""
    rng = np.random.default_rng(seed)
    halves = 1.0 + 0.05 * rng.standard_normal((6, 4, 40, 20))
    halves[1::3] *= math.exp(-0.8)
    halves[::3, :, 18:22, 8:12] *= 2.5
    halves[1::3, :, 18:22, 8:12] *= 0.5
    if lesion is not None:
        halves[1][lesion] *= math.exp(0.4)
        halves[2][lesion] *= 1.2
    halves[:, :, :2] = halves[:, :, -2:] = 0.0
    return halves.astype(np.float32)


def test_a_lesion_is_found_where_it_is() -> None:
    where = (slice(1, 3), slice(26, 34), slice(6, 14))
    found = find_roi(make_halves(lesion=where), RoiSettings(), voxel_ml=VOXEL_ML)
    assert found[where].mean() > 0.95
    assert found.sum() < 1.1 * found[where].sum()


def test_a_lesion_at_the_midline_is_searched_to_the_edge() -> None:
    where = (slice(1, 3), slice(26, 34), slice(16, 20))
    found = find_roi(make_halves(lesion=where), RoiSettings(), voxel_ml=VOXEL_ML)
    assert found[1:3, 27:33, 19].all()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_scaling_a_series_changes_nothing(scale: float) -> None:
    halves = make_halves(lesion=(slice(1, 3), slice(26, 34), slice(6, 14)))
    scaled = halves * np.array([scale, 1, 1, scale, 1, 1], dtype=np.float32)[:, None, None, None]
    np.testing.assert_array_equal(
        find_roi(scaled, RoiSettings(), voxel_ml=VOXEL_ML), find_roi(halves, RoiSettings(), voxel_ml=VOXEL_ML)
    )


@pytest.mark.parametrize("halves", [make_halves(), np.zeros((6, 4, 40, 20), dtype=np.float32)])
def test_without_a_lesion_or_a_brain_there_is_no_region_and_all_is_zero(halves: np.ndarray) -> None:
    features, volume_ml = measure_region(halves, RoiSettings(), voxel_ml=VOXEL_ML)
    assert volume_ml == 0.0
    assert not features.any()


def test_a_part_below_the_least_volume_is_left_out() -> None:
    halves = make_halves(lesion=(slice(1, 2), slice(26, 29), slice(6, 9)))  # 9 voxels
    assert find_roi(halves, RoiSettings(least_ml=8 * VOXEL_ML), voxel_ml=VOXEL_ML).sum() == 9
    assert not find_roi(halves, RoiSettings(least_ml=10 * VOXEL_ML), voxel_ml=VOXEL_ML).any()


def test_ratios_tell_a_lesion_from_the_other_half() -> None:
    features, _ = measure_region(
        make_halves(lesion=(slice(1, 3), slice(26, 34), slice(6, 14))), RoiSettings(dilation=0), voxel_ml=VOXEL_ML
    )
    found = dict(zip(FEATURES, features.tolist(), strict=True))
    assert len(found) == 265
    assert found["b1000_ratio_value_mean"] == pytest.approx(math.exp(0.4), rel=0.05)
    assert found["flair_ratio_value_mean"] == pytest.approx(1.2, rel=0.05)
    assert found["adc_ratio_value_mean"] == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantom(folder / "easy", preset="easy", n_patients=40, shape=(12, 48, 24), seed=3)
    return Cohort.open(folder / "easy")


def test_on_phantoms_most_lesions_have_a_region_that_overlaps_them(phantoms: Cohort) -> None:
    """Measured on 500 others: a region in 92 %, mean Dice .54."""
    other, masks = other_halves(phantoms.table), phantoms.lesion_masks
    dice = []
    for i, half in enumerate(phantoms.table):
        if half.lesion:
            both = np.concatenate([phantoms.hemispheres[i], phantoms.hemispheres[other[i]]]).astype(np.float32)
            region = find_roi(both, RoiSettings(), voxel_ml=math.prod(phantoms.spacing_mm) / 1000)
            dice.append(2 * (region & masks[i]).sum() / (region.sum() + masks[i].sum()))
    assert np.mean(np.array(dice) > 0) > 0.8
    assert np.mean(dice) > 0.4
