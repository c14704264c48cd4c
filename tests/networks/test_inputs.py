import math

import pytest
import torch

from tissueclock.networks.inputs import Inputs

SERIES = ("b0", "b1000", "flair")


@pytest.fixture
def heads() -> torch.Tensor:
    """Two halves each, with brain in the middle; the other half is not the own."""
    x = 0.5 + torch.rand(4, 6, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    x[..., :2, :] = x[..., -1] = 0.0
    return x


def test_standardised_over_the_brain_every_input_has_mean_0_and_sd_1(heads):
    inputs = Inputs([*SERIES, "adc", "surround", "mirror"])
    inputs.fit([heads[:2], heads[2:]])
    channels, brain = inputs(heads)
    voxels = channels.movedim(1, -1)[brain > 0]
    torch.testing.assert_close(voxels.mean(dim=0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(voxels.std(dim=0, correction=0), torch.ones(10), atol=1e-5, rtol=0)


def test_the_adc_is_the_one_that_made_the_signal():
    adc, b0 = torch.rand(2, 1, 3, 4, 4) + 0.3, torch.rand(2, 1, 3, 4, 4) + 0.5
    x = torch.cat([b0, b0 * (-adc).exp(), b0], dim=1)
    torch.testing.assert_close(Inputs(["adc"]).measure(x)[0], adc)


def test_the_mirror_of_a_symmetric_head_is_0(heads):
    symmetric = torch.cat([heads[:, :3], heads[:, :3]], dim=1)
    assert not Inputs(["mirror"], cell=2).measure(symmetric)[0].any()


def test_the_mirror_is_the_log_ratio_and_does_not_know_the_scanners_gain(heads):
    twice = torch.cat([2.0 * heads[:, 3:], heads[:, 3:]], dim=1)
    ratio, brain = Inputs(["mirror"]).measure(twice)
    inside = ratio.movedim(1, -1)[brain > 0]
    torch.testing.assert_close(inside, torch.full_like(inside, math.log(2.0)))
    torch.testing.assert_close(Inputs(["mirror"]).measure(1.1 * heads)[0], Inputs(["mirror"]).measure(heads)[0])


def test_a_voxel_whose_mirror_image_is_outside_the_brain_is_compared_with_nothing(heads):
    heads[:, 3:] = 0.0
    assert not Inputs(["mirror"]).measure(heads)[0].any()


def test_cells_are_averaged_over_their_brain_alone():
    x = torch.zeros(1, 3, 1, 4, 4)
    x[..., :2, :2] = torch.tensor([[1.0, 3.0], [5.0, 0.0]])  # three quarters brain
    x[..., 0, 2] = 7.0  # one quarter
    channels, brain = Inputs(["b0"], cell=2).measure(x)
    assert channels[0, 0, 0, 0, 0] == 3.0
    assert brain[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_a_grid_that_cells_do_not_divide_keeps_its_last_row():
    assert Inputs(["b0"], cell=2)(torch.ones(1, 3, 1, 5, 3))[1].shape == (1, 1, 3, 2)


def test_statistics_travel_with_the_weights(heads):
    fitted, other = Inputs([*SERIES]), Inputs([*SERIES])
    fitted.fit([heads])
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(heads)[0], fitted(heads)[0])


def test_an_unknown_input_is_refused():
    with pytest.raises(ValueError, match="inputs: 't1' found; allowed: b0, b1000, flair, adc, surround, mirror"):
        Inputs(["t1"])


def test_a_missing_flair_looks_as_it_does_on_the_mean_and_its_absence_is_told(heads):
    names = [*SERIES, "adc", "surround", "mirror", "flair_present"]
    whole, some = Inputs(names), Inputs(names)
    whole.fit([heads[:2]])
    without = heads.clone()
    without[2:, [2, 5]] = 0.0
    some.fit([without[:2], without[2:]])
    place = whole.channel_names.index
    for name in ("flair", "surround_flair", "mirror_flair"):  # standardised by those who have it
        torch.testing.assert_close(some.mean[place(name)], whole.mean[place(name)])
        torch.testing.assert_close(some.sd[place(name)], whole.sd[place(name)])
    channels, brain = some(without[2:])
    for name in ("flair", "surround_flair", "mirror_flair"):
        assert not channels[:, place(name)].any()
    assert (channels[:, place("flair_present")] == -brain).all()
    assert not some(heads[:2])[0][:, place("flair_present")].any()


def test_who_has_flair_is_shown_the_same_with_and_without_the_presence(heads):
    plain, told = Inputs([*SERIES, "adc"]), Inputs([*SERIES, "adc", "flair_present"])
    for inputs in (plain, told):
        inputs.fit([heads])
    torch.testing.assert_close(told(heads)[0][:, :-1], plain(heads)[0])


def test_where_nobody_learned_from_has_flair_inputs_are_finite(heads):
    without = heads.clone()
    without[:, [2, 5]] = 0.0
    inputs = Inputs([*SERIES, "mirror", "flair_present"])
    inputs.fit([without])
    for given in (without, heads):
        assert inputs(given)[0].isfinite().all()
