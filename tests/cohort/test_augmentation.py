import math

import pytest
import torch
from torch import Tensor

from tissueclock.cohort.augmentation import Augmentation, augment, drop_flair

NOTHING = Augmentation(
    rotation_degrees=0.0,
    scale_fraction=0.0,
    shift_fraction=0.0,
    intensity_fraction=0.0,
    gamma_fraction=0.0,
    noise_sd=0.0,
)


def only(**ranges: float) -> Augmentation:
    return Augmentation(**{**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0), **ranges})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def hemispheres() -> Tensor:
    """An ellipse of brain in an empty frame, a little different in each series; the last slice is empty."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 32), indexing="ij")
    inside = (rows / 0.7) ** 2 + (columns / 0.6) ** 2 < 1
    batch = inside * (1.0 + 0.3 * torch.rand(4, 3, 5, 48, 32, generator=seeded(3)))
    batch[:, :, -1] = 0.0
    return batch


def bar(*, n: int) -> Tensor:
    """A thin upright bar in the middle of a frame that is higher than wide, on a ground of brain."""
    batch = torch.full((n, 1, 1, 96, 64), 0.01)
    batch[..., 20:76, 31:33] = 1.0
    return batch


def angle_of(image: Tensor) -> float:
    """Of the principal axis, degrees from upright, in square pixels."""
    weight = image - image.median()
    weight = weight * (weight > 0.2)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(64.0), indexing="ij")
    rows, columns = rows - (weight * rows).sum() / weight.sum(), columns - (weight * columns).sum() / weight.sum()
    return math.degrees(math.atan2(float((weight * rows * columns).sum()), float((weight * rows**2).sum())))


def test_strength_zero_is_the_identity_to_the_bit(hemispheres):
    generator = seeded()
    state = generator.get_state()
    assert augment(hemispheres, strength=0.0, generator=generator) is hemispheres
    assert torch.equal(generator.get_state(), state)


def test_empty_ranges_change_nothing(hemispheres):
    changed = augment(hemispheres, strength=1.0, generator=seeded(), ranges=only())
    torch.testing.assert_close(changed, hemispheres, rtol=1e-4, atol=1e-5)


def test_the_same_generator_gives_the_same_bytes_and_another_does_not(hemispheres):
    one, same, other = (augment(hemispheres, strength=1.0, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_batch_is_left_alone(hemispheres):
    before = hemispheres.clone()
    augment(hemispheres, strength=1.0, generator=seeded())
    assert torch.equal(hemispheres, before)


def test_empty_slices_and_the_frame_stay_zero(hemispheres):
    changed = augment(hemispheres, strength=1.0, generator=seeded())
    assert (changed[:, :, -1] == 0).all()
    assert (changed[..., :2, :] == 0).all()
    outside = changed[:, 0] == 0
    assert (changed[:, 1][outside] == 0).all()
    assert (changed[:, 2][outside] == 0).all()


def test_the_brain_keeps_its_size_but_for_scale(hemispheres):
    n_before = (hemispheres[:, 0] != 0).sum((1, 2, 3)).float()
    n_after = (augment(hemispheres, strength=1.0, generator=seeded())[:, 0] != 0).sum((1, 2, 3)).float()
    ratio = n_after / n_before
    assert ((ratio > 0.9**2 - 0.02) & (ratio < 1.1**2 + 0.02)).all()
    assert not torch.equal(n_before, n_after)


def test_no_dark_rim_is_made(hemispheres):
    flat = (hemispheres != 0).float()
    changed = augment(flat, strength=1.0, generator=seeded(), ranges=only(rotation_degrees=10.0, scale_fraction=0.1))
    torch.testing.assert_close(changed[changed != 0], torch.ones(int((changed != 0).sum())), rtol=1e-4, atol=1e-4)


def test_rotations_are_drawn_evenly_up_to_ten_degrees():
    changed = augment(bar(n=64), strength=1.0, generator=seeded(), ranges=only(rotation_degrees=10.0))
    angles = torch.tensor([angle_of(image[0, 0]) for image in changed])
    assert angles.abs().max() < 10.6
    assert angles.abs().max() > 8.0
    assert abs(angles.mean()) < 2.5  # standard error 0.72
    assert angles.std() == pytest.approx(20 / math.sqrt(12), abs=1.2)


def test_half_the_strength_is_half_the_angle():
    whole, half = (
        augment(bar(n=8), strength=s, generator=seeded(4), ranges=only(rotation_degrees=10.0)) for s in (1.0, 0.5)
    )
    for one, other in zip(whole, half, strict=True):
        assert angle_of(other[0, 0]) == pytest.approx(angle_of(one[0, 0]) / 2, abs=0.4)


def test_scale_is_of_the_size():
    disc = torch.full((32, 1, 1, 64, 64), 0.01)
    rows, columns = torch.meshgrid(torch.arange(64.0) - 31.5, torch.arange(64.0) - 31.5, indexing="ij")
    disc[..., rows**2 + columns**2 < 16**2] = 1.0
    changed = augment(disc, strength=1.0, generator=seeded(), ranges=only(scale_fraction=0.1))
    radius = ((changed > 0.5).sum((1, 2, 3, 4)) / math.pi).sqrt() / 16
    assert 0.88 < radius.min() < 0.94
    assert 1.06 < radius.max() < 1.12


def test_all_slices_and_series_of_a_hemisphere_move_together():
    batch = bar(n=2).repeat(1, 3, 4, 1, 1)
    changed = augment(batch, strength=1.0, generator=seeded(), ranges=only(rotation_degrees=10.0, shift_fraction=0.03))
    assert torch.equal(changed, changed[:, :1, :1].expand_as(changed))
    assert not torch.equal(changed[0], changed[1])


def test_gain_is_one_number_a_series_within_ten_percent(hemispheres):
    changed = augment(hemispheres, strength=1.0, generator=seeded(), ranges=only(intensity_fraction=0.1))
    is_brain = hemispheres[:, 0] != 0
    for i in range(4):
        gains = [(changed[i, s] / hemispheres[i, s])[is_brain[i]] for s in range(3)]
        assert all(float(gain.std()) < 1e-4 and 0.9 <= float(gain.mean()) <= 1.1 for gain in gains)
        assert len({round(float(gain.mean()), 4) for gain in gains}) == 3


def test_gamma_leaves_typical_tissue_alone(hemispheres):
    batch = torch.where(hemispheres != 0, 1.0, 0.0)
    batch[:, :, 0] *= 2.0
    changed = augment(batch, strength=1.0, generator=seeded(), ranges=only(gamma_fraction=0.1))
    torch.testing.assert_close(changed[:, :, 1], batch[:, :, 1], rtol=1e-4, atol=1e-5)
    bright = changed[:, :, 0].amax((2, 3))
    assert ((bright > 2**0.9 - 1e-3) & (bright < 2**1.1 + 1e-3)).all()


def test_noise_has_its_standard_deviation_inside_the_brain():
    batch = torch.ones(2, 3, 4, 48, 32)
    changed = augment(batch, strength=2.0, generator=seeded(), ranges=only(noise_sd=0.02))
    noise = (changed - batch)[..., 2:-2, 2:-2]
    assert float(noise.std()) == pytest.approx(0.04, rel=0.03)
    assert abs(float(noise.mean())) < 0.001


def test_a_missing_series_stays_missing(hemispheres):
    hemispheres[1, 2] = 0.0
    changed = augment(hemispheres, strength=1.0, generator=seeded())
    assert not changed[1, 2].any()
    assert all(changed[i, 2].any() for i in (0, 2, 3))


def test_flair_is_dropped_from_both_halves_of_a_head_or_from_none(hemispheres):
    heads = torch.cat([hemispheres, hemispheres], dim=1).repeat(100, 1, 1, 1, 1)
    seen = drop_flair(heads, share=0.3, generator=seeded(), n_halves=2)
    without = (seen[:, 2] == 0).flatten(1).all(dim=1)
    assert torch.equal(without, (seen[:, 5] == 0).flatten(1).all(dim=1))
    assert 0.22 < without.float().mean() < 0.38  # 400 heads
    assert torch.equal(seen[:, [0, 1, 3, 4]], heads[:, [0, 1, 3, 4]])
    assert torch.equal(seen[~without], heads[~without])
    assert drop_flair(heads, share=0.0, generator=seeded()) is heads
