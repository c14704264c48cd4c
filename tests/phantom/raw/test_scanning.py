from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tissueclock.grid import make_grid
from tissueclock.phantom.anatomy import Tissues, template
from tissueclock.phantom.person import bend, draw_warp
from tissueclock.phantom.raw.head import FINE_GRID, HEAD_GRID, draw_surroundings, embed
from tissueclock.phantom.raw.pose import FLAIR_MOVEMENT, apply, draw_movement, draw_pose, rotation
from tissueclock.phantom.raw.raw_truth import find_landmarks
from tissueclock.phantom.raw.scanner import (
    ORIENTATIONS,
    Frame,
    Orientation,
    Protocol,
    bias_field,
    draw_bias,
    prescribe,
    sample,
    to_integers,
)


def frame_over(points: np.ndarray, *, orientation: Orientation = "RAS", tilt_deg: float = 0.0) -> Frame:
    plane = rotation(np.array([tilt_deg, 4.0, -3.0]))
    protocol = Protocol(
        matrix=(40, 44),
        voxel_mm=1.9,
        thickness_mm=5.0,
        gap_mm=0.5,
        plane=plane,
        orientation=orientation,
        cut_mm=(14.0, 10.0),
    )
    return prescribe(protocol, brain_mm=points, lesion_mm=points[:1])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_slice_sees_what_lies_where_its_header_says(orientation: Orientation) -> None:
    """A volume that holds a coordinate is read back as that coordinate, turned and stored in whatever way."""
    grid = make_grid((60, 64, 32), (3.0, 3.0, 3.0))
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    rng = np.random.default_rng(0)
    frame = frame_over(rng.uniform(-40, 40, (500, 3)), orientation=orientation, tilt_deg=20.0)
    pose = draw_pose(rng)
    grid_from_scanner = np.linalg.inv(pose)
    places = apply(frame.affine, np.indices(frame.shape).reshape(3, -1).T.astype(np.float64))
    expected = apply(grid_from_scanner, places)
    within = (np.abs(expected - [0.0, -17.0, 15.0]) < [80, 80, 75]).all(axis=1)
    assert within.mean() > 0.5
    for axis, volume in enumerate((x, y, z)):
        seen = sample(volume.astype(np.float32), grid, frame=frame, grid_from_scanner=grid_from_scanner)
        np.testing.assert_allclose(seen.reshape(-1)[within], expected[within, axis], atol=1e-2)
    signs = np.sign(np.diag(frame.affine)[:3])
    assert "".join("RAS"[i] if signs[i] > 0 else "LPI"[i] for i in range(3)) == orientation


def test_a_slice_averages_over_its_thickness_and_not_over_the_gap() -> None:
    grid = make_grid((100, 40, 20), (1.0, 2.0, 2.0))
    volume = np.zeros(grid.whole_shape, dtype=np.float32)
    z = grid.axes_mm()[0]
    volume[(z > 10) & (z < 16)] = 1.0
    affine = np.diag([2.0, 2.0, 10.0, 1.0])
    affine[:3, 3] = [-10.0, -27.0, 3.0]
    frame = Frame(shape=(10, 10, 2), affine=affine, thickness_mm=6.0)
    seen = sample(volume, grid, frame=frame, grid_from_scanner=np.eye(4))
    np.testing.assert_allclose(seen[:, :, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(seen[:, :, 1], 1.0, atol=1e-2)


def test_lesions_are_scanned_even_at_the_ends_that_a_scan_misses() -> None:
    points = np.random.default_rng(1).uniform(-80, 80, (2000, 3))
    lowest = points[[points[:, 2].argmin()]]
    protocol = Protocol(
        matrix=(128, 128),
        voxel_mm=1.8,
        thickness_mm=6.0,
        gap_mm=1.0,
        plane=np.eye(3),
        orientation="LAS",
        cut_mm=(14.0, 10.0),
    )
    frame = prescribe(protocol, brain_mm=points, lesion_mm=lowest)
    voxel = apply(np.linalg.inv(frame.affine), lowest)[0]
    assert (voxel > -0.5).all()
    assert (voxel < np.array(frame.shape) - 0.5).all()


def test_movements_are_rigid_and_small() -> None:
    rng, about = np.random.default_rng(2), np.array([5.0, -3.0, 8.0])
    for _ in range(50):
        moved = draw_movement(FLAIR_MOVEMENT, rng, about_mm=about)
        np.testing.assert_allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(moved[:3, :3]) == pytest.approx(1.0)
        assert np.linalg.norm(apply(moved, about[None])[0] - about) <= 3.0
        assert np.rad2deg(np.arccos(np.clip((np.trace(moved[:3, :3]) - 1) / 2, -1, 1))) <= 2.01


def test_heads_are_never_mirrored_and_of_a_likely_size() -> None:
    rng = np.random.default_rng(3)
    volumes = [float(np.linalg.det(draw_pose(rng)[:3, :3])) for _ in range(200)]
    assert 0.88**3 <= min(volumes) < max(volumes) <= 1.12**3
    assert np.std(volumes) == pytest.approx(0.04 * np.sqrt(3), rel=0.2)


def test_around_the_brain_lie_csf_bone_scalp_and_air_in_this_order() -> None:
    inside = template(FINE_GRID).inside
    around = draw_surroundings(inside, rng=np.random.default_rng(4))
    shares = np.stack([getattr(around, field.name) for field in fields(around)])
    assert shares.min() >= 0
    assert (shares.sum(axis=0) + embed(inside)).max() < 1.1
    z, y, x = HEAD_GRID.axes_mm()
    up = (slice(None), int(np.abs(y + 30).argmin()), int(np.abs(x - 20).argmin()))
    top_mm = {name: float(z[getattr(around, name)[up] > 0.5].max()) for name in ("csf", "fat", "flesh")}
    brain_mm = float(z[embed(inside)[up] > 0.5].max())
    assert brain_mm < top_mm["csf"] < top_mm["fat"] < top_mm["flesh"]
    assert 12 < top_mm["flesh"] - brain_mm < 30
    filled = shares.sum(axis=0)[up] + embed(inside)[up]
    bone = (z > top_mm["csf"] + 1.5) & (z < top_mm["csf"] + 4.0)
    assert filled[bone].max() < 0.5
    assert filled[z > top_mm["flesh"] + 5].max() == 0.0


def test_landmarks_follow_the_warp_that_bent_the_brain() -> None:
    """A template that holds its own coordinates, bent like the brain, says at each landmark where it came from."""
    warp = draw_warp(FINE_GRID, np.random.default_rng(5))
    z, y, x = (axis.astype(np.float32) for axis in np.meshgrid(*FINE_GRID.axes_mm(), indexing="ij"))
    bent = bend(Tissues(gm=x, wm=y, csf=z), warp)
    marks = find_landmarks(warp)
    places = apply(np.linalg.inv(FINE_GRID.affine), marks.person_mm)[:, ::-1]
    came_from = np.stack(
        [map_coordinates(volume, places.T, order=1, mode="nearest") for volume in (bent.gm, bent.wm, bent.csf)], axis=1
    )
    np.testing.assert_allclose(came_from, marks.mni_mm, atol=0.05)
    np.testing.assert_allclose(marks.mni_mm, find_landmarks(None).mni_mm, atol=0.05)
    assert np.linalg.norm(marks.person_mm - marks.mni_mm, axis=1).max() > 2.0


def test_unevenness_spans_what_was_asked_for_and_has_mean_one_in_the_brain() -> None:
    frame = frame_over(np.random.default_rng(6).uniform(-60, 60, (500, 3)))
    brain = np.zeros(frame.shape, dtype=bool)
    brain[8:32, 8:36, 3:-3] = True
    brain_mm = apply(frame.affine, np.argwhere(brain).astype(np.float64))
    field = bias_field(draw_bias(np.random.default_rng(7)), frame=frame, brain_mm=brain_mm, peak_to_peak=0.3)
    inside = field[brain]
    assert inside.mean() == pytest.approx(1.0, abs=1e-3)
    assert np.ptp(np.quantile(inside, [0.005, 0.995])) == pytest.approx(0.3, abs=1e-3)
    assert field.min() > 0


def test_what_exceeds_16_bits_is_cut() -> None:
    signal = np.array([[[-0.1, 0.0, 0.014, 400.0]]], dtype=np.float32)
    assert to_integers(signal, gain=100.0).ravel().tolist() == [0, 0, 1, 32767]
