import numpy as np
import pytest

from tissueclock.errors import CohortError
from tissueclock.grid import make_grid, mirror, split_halves
from tissueclock.phantom.anatomy import Tissues, resample_box, template
from tissueclock.phantom.fields import draw_field
from tissueclock.phantom.person import draw_tissues, widen_sulci
from tissueclock.phantom.render import Background, brain_mask, mix_signals, normalise

GRID = make_grid((8, 24, 12))


def test_the_template_holds_a_brain_of_the_right_size_and_tissues() -> None:
    tissues = template(GRID)
    ml = {name: float(getattr(tissues, name).sum()) * GRID.voxel_ml for name in ("gm", "wm", "csf")}
    assert 900 < ml["gm"] < 1050
    assert 600 < ml["wm"] < 700
    assert 100 < ml["csf"] < 300
    assert tissues.inside.max() < 1.001


@pytest.mark.parametrize("shape", [(6, 16, 8), (8, 24, 12), (16, 48, 24)])
def test_any_grid_holds_the_same_brain(shape: tuple[int, int, int]) -> None:
    grid = make_grid(shape)
    assert template(grid).wm.sum() * grid.voxel_ml == pytest.approx(660, rel=0.03)


def test_halves_of_a_brain_without_lesion_noise_and_variation_agree() -> None:
    tissues = template(GRID)
    zero = np.zeros(GRID.whole_shape, dtype=np.float32)
    clean = mix_signals(Background(tissues, wmh=zero, cavity=zero, gliosis=zero), "3T")
    brain = brain_mask(tissues, covered=slice(0, 8))
    for series in clean.values():
        left, right = split_halves(normalise(series, brain=brain))
        np.testing.assert_allclose(left, right, atol=1e-5)
        assert np.median(np.concatenate([left, right])[np.concatenate([left, right]) > 0]) == pytest.approx(1, rel=1e-4)


def test_mirror_is_its_own_inverse() -> None:
    whole = np.random.default_rng(0).normal(size=(3, 4, 6))
    assert (mirror(mirror(whole)) == whole).all()
    left, right = split_halves(mirror(whole))
    assert (np.stack([right, left]) == np.stack(split_halves(whole))).all()


def test_a_person_is_not_symmetric_but_still_a_brain() -> None:
    tissues = draw_tissues(GRID, age_y=70.0, csf_asymmetry_sd=0.1, rng=np.random.default_rng(0))
    left, right = split_halves(tissues.csf)
    assert np.abs(left - right).mean() > 0.005
    assert tissues.inside.max() < 1.001
    assert min(tissues.gm.min(), tissues.wm.min(), tissues.csf.min()) >= 0
    assert tissues.inside.sum() == pytest.approx(template(GRID).inside.sum(), rel=0.15)


def test_wider_sulci_hold_more_csf_at_the_cost_of_tissue() -> None:
    tissues = Tissues(*(np.full((1, 1, 2), share, dtype=np.float32) for share in (0.3, 0.3, 0.2)))
    wide = widen_sulci(tissues, np.full((1, 1, 2), 0.5, dtype=np.float32))
    assert wide.csf[0, 0, 0] == pytest.approx(0.8 * 0.25 ** np.exp(-0.5))
    np.testing.assert_allclose(wide.inside, tissues.inside, rtol=1e-6)
    np.testing.assert_allclose(wide.gm, wide.wm)


def test_resampling_keeps_the_volume() -> None:
    volume = np.zeros((30, 40, 30), dtype=np.float32)
    volume[10:17, 12:30, 9:14] = 1.0
    grid = make_grid((9, 30, 11), (4.7, 3.1, 3.3))
    origin, step = np.array([15.0, -40.0, 0.0]), np.array([-1.0, 1.0, 1.0])
    whole = resample_box(volume, origin_mm=origin, step_mm=step, grid=grid)
    assert whole.sum() * grid.voxel_ml * 1000 == pytest.approx(volume.sum(), rel=1e-4)
    mirrored = resample_box(volume, origin_mm=origin * [-1, 1, 1], step_mm=step * [-1, 1, 1], grid=grid)
    np.testing.assert_allclose(mirrored, mirror(whole), atol=1e-6)


def test_fields_have_unit_variance_and_the_length_asked_for() -> None:
    rng = np.random.default_rng(0)
    for length_mm in (15.0, 60.0):
        fields = np.stack([draw_field(GRID, length_mm=length_mm, rng=rng) for _ in range(200)])
        assert fields.std() == pytest.approx(1.0, abs=0.07)
        assert fields.mean() == pytest.approx(0.0, abs=0.1)
    smooth = np.corrcoef(fields[:, 5, 8, 12], fields[:, 5, 8, 13])[0, 1]
    assert smooth > 0.95


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [((1, 8, 8), None, "each axis needs at least 2"), ((8, 8, 8), (0.0, 1.0, 1.0), "each must be above 0")],
)
def test_an_impossible_grid_is_refused(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] | None, message: str
) -> None:
    with pytest.raises(CohortError, match=message):
        make_grid(shape, spacing)
