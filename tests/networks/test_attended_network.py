import math

import pytest
import torch
from torch import nn

from tissueclock.errors import CheckpointError
from tissueclock.learning.freezing import freeze
from tissueclock.networks.attended_network import AttendedNetwork, side_ratios
from tissueclock.networks.brain_attention import brain_attention, brain_maximum
from tissueclock.networks.building import build_network
from tissueclock.networks.slice_network import SliceNetwork

TRUNKS = [
    {"kind": "voxel", "read_at": "layer1", "cell": 2},
    {"kind": "voxel", "cell": 1, "inputs": ["b0", "b1000", "flair", "adc", "mirror"], "values": "both"},
    {"kind": "slice", "width": 4, "read_at": "layer2", "stem_stride": 2, "cell": 1, "values": "both"},
    {"kind": "volume", "width": 4, "read_at": "layer2", "cell": 1, "values": "features"},
]


def build(**options) -> AttendedNetwork:
    network = build_network({"kind": "voxel", "n_slices": 5, "readout": "attended", **options})
    network.reset_parameters(torch.Generator().manual_seed(3))
    nn.init.normal_(network.readout.score.weight, generator=torch.Generator().manual_seed(4))
    nn.init.ones_(network.readout.attention_head.weight)
    return network.eval()


@pytest.fixture
def hemispheres() -> torch.Tensor:
    x = 0.5 + torch.rand(3, 6, 5, 24, 16, generator=torch.Generator().manual_seed(1))
    x[..., :4, :] = 0.0
    return x


@pytest.mark.parametrize("options", TRUNKS, ids=lambda options: f"{options['kind']}-{options.get('read_at', 'stem')}")
@pytest.mark.parametrize("readout", ["attended", "soft_maximum"])
@pytest.mark.parametrize("depth", range(6))
def test_the_network_falls_in_two_at_every_depth(options, readout, depth, hemispheres):
    network = build(**options, readout=readout)
    with torch.no_grad():
        maps = network.before(hemispheres, depth)
        assert all(len(each) == len(hemispheres) for each in maps)
        torch.testing.assert_close(network.after(maps, depth), network(hemispheres))


@pytest.mark.parametrize("options", TRUNKS, ids=lambda options: f"{options['kind']}-{options.get('read_at', 'stem')}")
@pytest.mark.parametrize("norm", ["softmax", "sigmoid", "mean_flow"])
def test_attention_is_in_sum_1_over_the_brain_and_0_outside(options, norm, hemispheres):
    seen = build(**options, attention=norm).read(hemispheres)
    torch.testing.assert_close(seen.attention.flatten(1).sum(dim=1), torch.ones(3))
    rows = seen.attention.shape[2] * 4 // 24
    assert not seen.attention[:, :, :rows].any()
    assert (seen.attention >= 0).all()


def test_with_attention_off_the_read_out_is_the_mean_over_the_brain(hemispheres):
    network = build(attention="off")
    inputs, brain = network.inputs(hemispheres)
    mean = torch.stack([each[:, inside > 0].mean(dim=1) for each, inside in zip(inputs, brain, strict=True)])
    torch.testing.assert_close(network(hemispheres), network.readout.head(mean).squeeze(1))


@pytest.mark.parametrize("norm", ["softmax", "sigmoid", "mean_flow"])
def test_switching_attention_on_late_disturbs_nothing(norm, hemispheres):
    off, on = build(attention="off"), build(attention=norm)
    nn.init.zeros_(off.readout.attention_head.weight)
    on.load_state_dict(off.state_dict())
    assert torch.equal(off(hemispheres), on(hemispheres))


def test_the_soft_maximum_moves_with_each_voxel_as_much_as_attention_looks_there():
    score = torch.randn(2, 30, generator=torch.Generator().manual_seed(2), requires_grad=True)
    brain = (torch.arange(60).view(2, 30) % 4 != 0).float()
    brain_maximum(score, brain, readout="soft_maximum", sharpness=3.0).sum().backward()
    torch.testing.assert_close(score.grad, brain_attention(score.detach(), brain, norm="softmax", sharpness=3.0))


def test_a_detectors_weights_are_the_onset_networks(hemispheres):
    detector, onset = build(readout="soft_maximum"), build(readout="attended")
    onset.load_state_dict(detector.state_dict())
    torch.testing.assert_close(onset.read(hemispheres).attention, detector.read(hemispheres).attention)


@pytest.mark.parametrize("options", TRUNKS, ids=lambda options: f"{options['kind']}-{options.get('read_at', 'stem')}")
def test_a_gradient_reaches_all_that_learns_and_nothing_beyond_the_stage_that_is_read(options, hemispheres):
    network = build(**options).train()
    learned = [module for stage in network.stages() for module in stage]
    learned += [module for part in network.parts().values() for module in part]
    network(hemispheres).sum().backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert reached == {names[id(parameter)] for module in learned for parameter in module.parameters()}


def test_a_hemisphere_without_brain_has_a_logit():
    for options in TRUNKS:
        assert build(**options)(torch.zeros(1, 6, 5, 24, 16)).isfinite().all()


def test_a_prediction_does_not_depend_on_its_neighbours(hemispheres):
    network = build()
    torch.testing.assert_close(network(hemispheres)[:1], network(hemispheres[:1]))


@pytest.mark.parametrize("options", TRUNKS, ids=lambda options: f"{options['kind']}-{options.get('read_at', 'stem')}")
def test_a_description_rebuilds_the_network(options, hemispheres):
    network = build(**options)
    network.fit_inputs([hemispheres])
    again = build_network(network.description)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(hemispheres), network(hemispheres))


def test_read_as_a_mean_a_slice_network_is_the_papers():
    description = SliceNetwork(n_slices=5, width=4).description
    assert isinstance(build_network(description), SliceNetwork)
    assert isinstance(build_network({**description, "readout": "mean"}), SliceNetwork)


def test_an_unknown_readout_is_refused():
    with pytest.raises(CheckpointError, match="readout is 'max'; allowed: mean, attended, soft_maximum, noisy_or"):
        build_network({"kind": "voxel", "n_slices": 5, "readout": "max"})


@pytest.mark.parametrize("norm", ["softmax", "sigmoid", "mean_flow"])
def test_attention_is_learned_from_an_even_start_under_each_norm(norm, hemispheres):
    network = build_network({"kind": "voxel", "n_slices": 5, "attention": norm})  # scores and their head start at zero
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        network(hemispheres[:, :3]).square().sum().backward()
        optimiser.step()
    assert network.readout.attention_head.weight.abs().sum() > 0
    assert network.readout.score.weight.abs().sum() > 0


def test_gates_alone_learn_after_a_parent_that_had_no_attention(hemispheres):
    network = build_network({"kind": "voxel", "n_slices": 5})
    learned = freeze(network, depth=5, learned="gates")
    network(hemispheres[:, :3]).sum().backward()
    assert set(learned) == {"readout.score.weight", "readout.score.bias", "readout.attention_head.weight"}
    assert network.readout.attention_head.weight.grad.abs().sum() > 0


def test_a_trunk_that_no_logit_depends_on_does_not_learn():
    network = build_network({"kind": "voxel", "n_slices": 5, "attention": "off"})
    assert set(freeze(network, depth=0)) == {"readout.head.weight", "readout.head.bias"}


@pytest.fixture
def lesion() -> tuple[torch.Tensor, torch.Tensor]:
    """Two halves of even tissue, the own one with a lesion that is brighter by half on b1000, by a fifth on FLAIR."""
    x = torch.tensor([1.0, 0.4, 0.8]).repeat(2).view(1, 6, 1, 1, 1).repeat(1, 1, 3, 8, 6)
    inside = torch.zeros(1, 3, 8, 6)
    inside[:, 1, 2:6, 2:4] = 1.0
    x[:, :3] *= torch.where(inside[:, None] > 0, torch.tensor([1.0, 1.5, 1.2]).view(1, 3, 1, 1, 1), 1.0)
    return x, inside / inside.sum()


def test_the_attended_ratios_are_those_of_the_lesion_to_the_other_side(lesion):
    x, attention = lesion
    found = {name: values.item() for name, values in side_ratios(x, attention).items()}
    adc, healthy = math.log(1.0 / 0.6), math.log(1.0 / 0.4)
    assert found == pytest.approx({"rDWI": 1.5, "dADC": adc - healthy, "rFLAIR": 1.2}, rel=1e-5)
    half_beside = 0.5 * attention + 0.5 * attention.flip(2, 3).roll(1, 1)
    assert side_ratios(x, half_beside)["rDWI"].item() == pytest.approx(1.25, rel=1e-5)


def test_the_attended_ratios_count_what_is_brain_on_both_sides(lesion):
    x, attention = lesion
    x[:, 3:, 1, 2:4] = 0.0  # behind half of the lesion the other side has no brain
    assert side_ratios(x, attention)["rDWI"].item() == pytest.approx(1.5, rel=1e-5)
    x[:, 3:] = 0.0
    assert all(values.isnan().all() for values in side_ratios(x, attention).values())


def test_ratios_are_read_where_there_is_another_side_and_attention_looks(hemispheres):
    both = ["b0", "b1000", "flair", "mirror"]
    assert set(build(inputs=both).read(hemispheres).ratios) == {"rDWI", "dADC", "rFLAIR"}
    assert build(inputs=both, attention="off").read(hemispheres).ratios == {}
    assert build().read(hemispheres).ratios == {}
