"""Real heads, where they lie beside the checkout: from DICOM, oblique, cut off, with a scalp as bright as the brain."""

from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from tests.shared_data import SHARED_DATA
from tissueclock.grid import make_grid
from tissueclock.imaging.ants_backend import AntsBackend
from tissueclock.imaging.atlas import Atlas, load_atlas
from tissueclock.imaging.bvalues import BValues, geometric_mean
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.imaging.gridding import atlas_on_grid, bring_to_grid
from tissueclock.imaging.intensity import scale_to_median
from tissueclock.imaging.placing import Placed, place
from tissueclock.imaging.quality import measure
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.registration import register_rigid
from tissueclock.imaging.series import PatientSeries, read_series
from tissueclock.imaging.stopwatch import Stopwatch
from tissueclock.imaging.transform import voxel_centres_mm
from tissueclock.imaging.volume import Volume, read_volumes

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="shared/data is not beside this checkout")

WIDE = BValues(tolerance_s_mm2=500.0)
"""Canon's volunteer was scanned with b = 1500."""


def placed(series: PatientSeries, atlas: Atlas | None = None) -> Placed:
    return place(
        series, subject="sub-01", atlas=atlas or load_atlas(), backend=AntsBackend(), kind="affine", watch=Stopwatch()
    )


@lru_cache(maxsize=1)
def brain_points() -> npt.NDArray[np.float64]:
    atlas = load_atlas()
    return voxel_centres_mm(atlas.mask[::5, ::5, ::5], atlas.brain.affine @ np.diag([5, 5, 5, 1]))


def apart_mm(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far two maps of the atlas brain lie apart, point by point."""
    return np.linalg.norm(brain_points() @ (a - b)[:3, :3].T + (a - b)[:3, 3], axis=1)


def test_canon_straight_from_dicom_and_oblique_come_to_agree(tmp_path: Path) -> None:
    """One head in two poses, the slices of the second tilted by 20 degrees in every plane. What they can agree to is
    bounded by the echo-planar distortion, which lies along the slices: b0 and b1500 of the two differ by 1.1 mm."""
    ingest(
        SHARED_DATA / "canon_dwi" / "dicom_enhanced", tmp_path / "bids", key_file=tmp_path / "key.tsv", b_values=WIDE
    )
    straight = read_series(find_files(tmp_path / "bids", "sub-0001"), b_values=WIDE)
    volumes = read_volumes(SHARED_DATA / "canon_dwi" / "8000_DTI_PA-ALL_20d_cl.nii.gz")
    weighted = volumes[1].like(geometric_mean([volume.data for volume in volumes[1:]]))
    one, other = placed(straight), placed(PatientSeries(volumes[0], weighted, None, 1500.0, ()))

    between = register_rigid(other.b0, one.b0, mask=one.mask)
    errors = apart_mm(between @ one.b0_from_atlas.affine, other.b0_from_atlas.affine)

    assert np.median(errors) < 1.5
    assert errors.max() < 3.0
    ml = [float(head.mask.sum()) * head.b0.voxel_ml for head in (one, other)]
    assert ml[0] == pytest.approx(ml[1], rel=0.08)  # the oblique one is cut at two corners


def test_philips_head_cut_below_the_ventricles_is_placed_upright() -> None:
    b0, b1000 = (read_volumes(SHARED_DATA / "philips_dwi" / name)[0] for name in ("b0.nii.gz", "b1000_trace12.nii.gz"))
    series, atlas = PatientSeries(b0, b1000, None, 1000.0, ()), load_atlas()
    head = placed(series)
    grid = make_grid((24, 56, 28))
    on_grid = bring_to_grid(head, grid)
    scaled = {name: scale_to_median(volume, mask=on_grid.mask) for name, volume in on_grid.series.items()}
    quality = measure(
        series, head, on_grid, scaled=scaled, atlas_mask=atlas_on_grid(atlas, grid), atlas_ml=atlas.brain_ml
    )

    assert 0.5 < float(quality.figures["covered_fraction"] or 0) < 0.75
    assert float(quality.figures["midplane_tilt_deg"] or 99) < 3.0
    assert abs(float(quality.figures["midplane_shift_mm"] or 99)) < 3.0
    assert any("brain within the scan" in flag for flag in quality.flags)


def test_the_t2w_mni_head_with_its_skull_comes_back_to_where_it_was() -> None:
    """As if it were a patient, against its own brain: it belongs where it is."""
    image = nibabel.load(SHARED_DATA / "mni152_t2w" / "avg152T2.nii.gz")
    head = Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    atlas = load_atlas(SHARED_DATA / "mni152_t2w" / "derived_avg152T2_brain_2mm.nii.gz")

    found = placed(PatientSeries(head, head, None, 1000.0, ()), atlas)

    assert np.median(apart_mm(found.b0_from_atlas.affine, np.eye(4))) < 0.6
    assert apart_mm(found.b0_from_atlas.affine, np.eye(4)).max() < 1.0


def test_the_mid_plane_of_the_default_atlas_lands_on_the_t2w_mni_heads_own_plane_of_symmetry() -> None:
    """Which is not at x = 0 but 0.65 mm from it: the head is of another template than the default atlas."""
    image = nibabel.load(SHARED_DATA / "mni152_t2w" / "avg152T2.nii.gz")
    head = Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])

    found = placed(PatientSeries(head, head, None, 1000.0, ()))

    mirrored = Volume(head.data, flip @ head.affine)
    counterpart = flip @ register_rigid(mirrored, head, mask=found.mask)
    points = brain_points()[np.abs(brain_points()[:, 0]) < 5.0] * [0.0, 1.0, 1.0]
    in_head = np.column_stack([points, np.ones(len(points))]) @ found.b0_from_atlas.affine.T
    off_plane = np.linalg.norm((in_head @ counterpart.T - in_head)[:, :3], axis=1) / 2
    assert np.median(off_plane) < 0.4
    assert np.median(np.abs(in_head[:, 0])) > 0.5


def test_a_skull_stripped_head_is_known_as_one() -> None:
    """Philips' head with all but its brain set to 0, as public data sets give them."""
    b0, b1000 = (read_volumes(SHARED_DATA / "philips_dwi" / name)[0] for name in ("b0.nii.gz", "b1000_trace12.nii.gz"))
    whole = placed(PatientSeries(b0, b1000, None, 1000.0, ()))
    bare = [volume.like(np.where(whole.mask, volume.data, 0.0)) for volume in (b0, b1000)]

    stripped = placed(PatientSeries(bare[0], bare[1], None, 1000.0, ()))

    assert stripped.stripped
    assert not whole.stripped
    assert np.median(apart_mm(stripped.b0_from_atlas.affine, whole.b0_from_atlas.affine)) < 2.0  # a voxel
