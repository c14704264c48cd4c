import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.processing import resample_from_to
from nibabel.spatialimages import SpatialImage
from scipy.spatial.transform import Rotation

from tests.imaging.images import toy_head
from tissueclock.imaging.transform import Transform, coarsen, itk_affine, read_itk_affine, resample, voxel_centres_mm
from tissueclock.imaging.volume import Volume

angles = st.floats(-30, 30)
shifts = st.floats(-20, 20)


def rigid(x_deg: float, y_deg: float, z_deg: float, *shift_mm: float) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [x_deg, y_deg, z_deg], degrees=True).as_matrix()
    affine[:3, 3] = shift_mm or (0.0, 0.0, 0.0)
    return affine


@settings(max_examples=20, deadline=None)
@given(st.tuples(angles, angles, angles, shifts, shifts, shifts))
def test_points_go_through_itk_as_through_the_matrix(numbers: tuple[float, ...]) -> None:
    affine = rigid(*numbers)
    points = np.array([[10.0, -20, 30], [0, 0, 0], [-55, 7, 2]])
    np.testing.assert_allclose(Transform(affine).points(points), points @ affine[:3, :3].T + affine[:3, 3], atol=1e-9)


def test_an_affine_survives_itk_s_file(tmp_path: object) -> None:
    import SimpleITK

    affine = rigid(5, -7, 11, 1, 2, 3) @ np.diag([1.1, 0.9, 1.2, 1])
    SimpleITK.WriteTransform(itk_affine(affine), f"{tmp_path}/x.mat")
    np.testing.assert_allclose(read_itk_affine(tmp_path / "x.mat"), affine, atol=1e-12)  # type: ignore[operator]


def test_resampling_agrees_with_nibabel_s() -> None:
    head, affine = toy_head(), rigid(8, -5, 12, 3, -4, 6)
    target_affine = np.diag([4.0, -4.0, 7.0, 1.0])
    target_affine[:3, 3] = [-70, 80, -50]

    ours = resample(head, shape=(36, 40, 15), affine=target_affine, transform=Transform(affine))

    moved = SpatialImage(head.data, np.linalg.inv(affine) @ head.affine)
    theirs = resample_from_to(moved, ((36, 40, 15), target_affine), order=1).get_fdata()
    inner = (ours.data > 0) & (theirs > 0)  # the two differ only in what they do half a voxel beyond the edge
    assert inner.mean() > 0.8
    np.testing.assert_allclose(ours.data[inner], theirs[inner], atol=0.02)


def test_coarser_voxels_are_means_and_keep_volumes() -> None:
    head = toy_head()
    mask = head.like(head.data > 50)
    shape, step = (10, 11, 8), np.diag([4.0, 4.0, 2.0, 1.0])
    step[:3, 3] = [1.5, 1.5, 0.5]

    coarse = resample(mask, shape=shape, affine=mask.affine @ step)

    assert coarse.data.sum() * coarse.voxel_ml == pytest.approx(mask.data.sum() * mask.voxel_ml, rel=0.01)
    blocks = coarsen(mask, spacing_mm=16.0)
    np.testing.assert_allclose(blocks.data[:, :, 0], mask.data[:, :, :2].reshape(10, 4, 11, 4, 2).mean(axis=(1, 3, 4)))


def test_a_chain_is_one_map() -> None:
    a, b = rigid(3, 4, 5, 1, 2, 3), rigid(-2, 8, 1, 4, 0, -3)
    points = np.array([[1.0, 2, 3], [40, -30, 20]])
    np.testing.assert_allclose(Transform(a).then(b).points(points), Transform(b).points(Transform(a).points(points)))


def test_voxel_centres_are_where_the_affine_says() -> None:
    volume = Volume(np.zeros((2, 2, 2), np.float32), np.diag([2.0, 3, 4, 1]))
    mask = np.zeros((2, 2, 2), bool)
    mask[1, 0, 1] = True
    assert voxel_centres_mm(mask, volume.affine).tolist() == [[2.0, 0.0, 4.0]]
