"""Models Genesis' transformations: what each does, and what it must leave alone."""

import pytest
import torch
from torch import Tensor

from tissueclock.cohort.distortion import Distortion, bend_intensity, distort, paint, shuffle_windows

ALL, NONE = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[(12, 48, 24), (4, 32, 16), (24, 56, 28)])
def batch(request: pytest.FixtureRequest) -> Tensor:
    hemispheres = 0.05 + 0.9 * torch.rand(4, 3, *request.param, generator=generator(0))
    hemispheres[..., :3] = 0.0
    return hemispheres


def test_chance_comes_from_the_generator_alone(batch: Tensor) -> None:
    before = batch.clone()

    one, same, other = (distort(batch, generator=generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(batch, before)
    assert ((one >= 0) & (one <= 1)).all()


def test_shuffled_voxels_come_from_their_own_window_and_from_all_series_alike() -> None:
    at = torch.arange(20 * 40 * 30).view(20, 40, 30).double()
    batch = torch.stack([at, -at, 2 * at])[None].repeat(4, 1, 1, 1, 1)
    longest = [side // 10 for side in at.shape]

    shuffled = shuffle_windows(batch, which=ALL, generator=generator())

    assert torch.equal(shuffled[:, 1], -shuffled[:, 0])
    assert torch.equal(shuffled[:, 2], 2 * shuffled[:, 0])
    origin = torch.stack(torch.unravel_index(shuffled[:, 0].long(), at.shape), dim=-1)
    here = torch.stack(torch.unravel_index(at.long(), at.shape), dim=-1)
    assert ((origin - here).abs() < torch.tensor(longest)).all()
    assert (shuffled[0, 0] != at).double().mean() > 0.5


def test_a_window_that_nothing_overlaps_is_permuted() -> None:
    batch = torch.rand(1, 3, 10, 10, 40, generator=generator(0))
    few = Distortion(shuffle_coverage=1e-9)  # one window, of one voxel but along the width

    moved = [shuffle_windows(batch, which=ALL[:1], generator=generator(seed), parameters=few) for seed in range(30)]

    assert any(not torch.equal(each, batch) for each in moved)
    for each in moved:
        torch.testing.assert_close(each.flatten(2).sort(2).values, batch.flatten(2).sort(2).values)


def test_hemispheres_not_chosen_stay(batch: Tensor) -> None:
    assert torch.equal(shuffle_windows(batch, which=NONE, generator=generator()), batch)
    assert torch.equal(bend_intensity(batch, which=NONE, inverted=ALL, generator=generator()), batch)
    assert torch.equal(paint(batch, which=NONE, inward=ALL, generator=generator()), batch)


def test_intensities_bend_along_a_rising_curve_from_0_to_1_and_zeros_stay() -> None:
    ramp = torch.linspace(0, 1, 600)[None, None, None, None].expand(4, 3, 1, 1, 600).contiguous()

    bent = bend_intensity(ramp, which=ALL, inverted=NONE, generator=generator())

    assert (bent.diff(dim=-1) >= 0).all()
    assert torch.equal(bent[..., 0], torch.zeros(4, 3, 1, 1))
    torch.testing.assert_close(bent[..., -1], torch.ones(4, 3, 1, 1))
    assert torch.equal(bent[:, 0], bent[:, 1])
    assert not torch.equal(bent[0], bent[1])


def test_an_inverted_curve_runs_from_1_to_0() -> None:
    ramp = torch.linspace(0, 1, 600)[None, None, None, None].expand(4, 3, 1, 1, 600).contiguous()

    bent = bend_intensity(ramp, which=ALL, inverted=ALL, generator=generator())

    assert (bent[..., 1] > 0.9).all()
    assert (bent[..., -1] < 0.1).all()
    assert (bent[..., 0] == 0).all(), "outside the brain"


def test_inward_painting_fills_small_boxes_and_outward_leaves_large_ones(batch: Tensor) -> None:
    inward = (paint(batch, which=ALL, inward=ALL, generator=generator(3)) != batch).float().mean((1, 2, 3, 4))
    outward = (paint(batch, which=ALL, inward=NONE, generator=generator(3)) != batch).float().mean((1, 2, 3, 4))

    assert (inward <= 5 / 27 + 0.2).all()
    assert (outward < 1).all()
    assert outward.mean() > inward.mean()


def test_paint_is_one_noise_for_three_series() -> None:
    painted = paint(torch.full((4, 3, 12, 24, 24), 2.0), which=ALL, inward=ALL, generator=generator())

    assert torch.equal(painted[:, 0], painted[:, 1])
    assert ((painted == 2.0) | ((painted >= 0) & (painted < 1))).all()
