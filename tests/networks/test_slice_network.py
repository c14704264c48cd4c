from typing import get_args

import pytest
import torch

from tissueclock.errors import CheckpointError
from tissueclock.networks.building import build_network
from tissueclock.networks.settings import SlicePoolingName
from tissueclock.networks.slice_network import SliceNetwork, brain_slices

NORMS = ("mean_flow", "softmax", "sigmoid")


@pytest.fixture
def hemispheres() -> torch.Tensor:
    x = torch.rand(3, 3, 5, 48, 32, generator=torch.Generator().manual_seed(1)) + 0.5
    x[:, :, -1] = 0.0
    return x


def build(**options) -> SliceNetwork:
    network = SliceNetwork(**{"n_slices": 5, "width": 4, **options})
    network.reset_parameters(torch.Generator().manual_seed(8))
    return network


@pytest.mark.parametrize("attention", ["off", *NORMS])
@pytest.mark.parametrize("attn_level", ["A", "B", "C"])
def test_one_logit_a_hemisphere_and_everything_that_is_computed_learns(attention, attn_level, hemispheres):
    network = build(attention=attention, attn_level=attn_level)
    torch.nn.init.ones_(network.attention_head.weight)
    logit = network(hemispheres)
    logit.pow(2).sum().backward()
    assert logit.shape == (3,)
    assert logit.dtype == torch.float32
    still = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    gates = {name for name, _ in network.named_parameters() if name.startswith(("gate.", "attention_head."))}
    assert still == (gates if attention == "off" else set())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attn_level", ["A", "B", "C"])
def test_switching_attention_on_late_disturbs_nothing(norm, attn_level, hemispheres):
    off, on = build(attn_level=attn_level).eval(), build(attn_level=attn_level, attention=norm).eval()
    on.load_state_dict(off.state_dict())
    assert torch.equal(off(hemispheres), on(hemispheres))


@pytest.mark.parametrize("attention", ["off", "softmax"])
@pytest.mark.parametrize("attn_level", ["A", "B", "C"])
@pytest.mark.parametrize("depth", range(6))
@pytest.mark.parametrize("width", [4, 16])
def test_the_network_falls_in_two_at_every_depth(attention, attn_level, depth, width, hemispheres):
    network = build(attention=attention, attn_level=attn_level, width=width).eval()
    torch.nn.init.ones_(network.attention_head.weight)
    with torch.no_grad():
        maps = network.before(hemispheres, depth)
        assert all(len(each) == len(hemispheres) for each in maps)
        torch.testing.assert_close(network.after(maps, depth), network(hemispheres))
        rounded = tuple(each.contiguous().half().float() for each in maps)
        torch.testing.assert_close(network.after(rounded, depth), network(hemispheres), rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("options", "depth", "shapes"),
    [
        ({}, 1, [(4, 12, 8)]),
        ({}, 5, [(32,)]),
        ({"attention": "softmax"}, 3, [(8, 6, 4)]),
        ({"attention": "softmax"}, 4, [(16, 3, 2)]),
        ({"attention": "softmax"}, 5, [(16, 3, 2), (32, 2, 1)]),
        ({"attention": "softmax", "attn_level": "C"}, 4, [(8, 6, 4), (16, 3, 2)]),
        ({"attn_level": "B"}, 4, [(16, 3, 2)]),
        ({"attn_level": "B", "attention": "softmax"}, 4, [(16, 6, 4)]),
    ],
)
def test_between_the_halves_lies_no_more_than_the_rest_needs(options, depth, shapes, hemispheres):
    *maps, holds_brain = build(**options).before(hemispheres, depth)
    assert [tuple(each.shape) for each in maps] == [(3, 5, *shape) for shape in shapes]
    assert holds_brain.tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0]] * 3


def test_what_lies_between_depends_on_the_frozen_state_alone(hemispheres):
    one, other = build(attention="softmax").eval(), build(attention="sigmoid", dropout=0.3).eval()
    other.reset_parameters(torch.Generator().manual_seed(9))
    for depth in range(1, 6):
        other.load_state_dict(one.frozen_state(depth), strict=False)
        assert one.frozen_facts(depth) == other.frozen_facts(depth)
        for mine, theirs in zip(one.before(hemispheres, depth), other.before(hemispheres, depth), strict=True):
            assert torch.equal(mine, theirs)


def test_attention_learns_from_its_zero_start(hemispheres):
    network = build(attention="mean_flow")
    optimiser = torch.optim.SGD([*network.gate.parameters(), *network.attention_head.parameters()], lr=1.0)
    before = network.gate.score.weight.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        network(hemispheres).pow(2).sum().backward()
        optimiser.step()
    assert network.attention_head.weight.abs().sum() > 0
    assert not torch.equal(network.gate.score.weight, before)


def test_keys_do_not_depend_on_attention():
    keys = [list(build(attention=attention).state_dict()) for attention in ("off", *NORMS)]
    assert keys[0] == keys[1] == keys[2] == keys[3]


@pytest.mark.parametrize("pooling", get_args(SlicePoolingName))
@pytest.mark.parametrize("training", [False, True])
def test_hemispheres_without_brain_give_numbers(pooling, training):
    network = build(slice_pooling=pooling, attention="mean_flow").train(training)
    logit = network(torch.zeros(2, 3, 5, 48, 32))
    logit.sum().backward()
    assert logit.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("pooling", get_args(SlicePoolingName))
def test_empty_slices_do_not_count(pooling, hemispheres):
    network = build(slice_pooling=pooling).eval()
    faint = hemispheres.clone()
    faint[:, 1:, -1] = 9.0  # no b0, so no brain
    assert torch.equal(network(hemispheres), network(faint))


def test_a_slice_is_empty_below_two_percent_of_brain():
    x = torch.zeros(1, 3, 2, 10, 10)
    x[0, 0, 0, 0, :1], x[0, 0, 1, 0, :2] = 1.0, 1.0
    assert brain_slices(x).tolist() == [[False, True]]


def test_a_hemisphere_does_not_depend_on_its_batch_mates(hemispheres):
    network = build(attention="softmax").eval()
    torch.testing.assert_close(network(hemispheres)[1:2], network(hemispheres[1:2]))


def test_more_slices_than_positions_can_be_read(hemispheres):
    network = build().eval()
    assert network(torch.cat([hemispheres, hemispheres], dim=2)).shape == (3,)


def test_a_reading_explains_the_logit(hemispheres):
    network = build(attention="mean_flow").eval()
    reading = network.read(hemispheres)
    assert torch.equal(reading.logit, network(hemispheres))
    p = (reading.slice_weight * reading.slice_logit.sigmoid()).sum(1)
    torch.testing.assert_close(reading.logit.sigmoid(), p)
    assert reading.attention.shape == (3, 5, 3, 2)
    assert build().read(hemispheres).attention is None


def test_the_same_generator_gives_the_same_first_weights():
    one, other = build().state_dict(), build().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_head_reads_last_map_and_gated_map_at_full_width():
    network = SliceNetwork(n_slices=24)
    assert network.head.in_features + network.attention_head.in_features == 768


def test_a_description_builds_the_same_network():
    network = build(attention="sigmoid", attn_level="C", slice_pooling="gated_mil", dropout=0.2)
    again = build_network(network.description)
    assert again.description == network.description
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"kind": "cube"}, "kind is 'cube'; allowed: slice, volume"),
        ({"kind": "slice", "n_slices": 5, "depth": 3}, "cannot be built from .*depth"),
    ],
)
def test_foreign_descriptions_are_refused(description, message):
    with pytest.raises(CheckpointError, match=message):
        build_network(description)


def test_autocast_changes_the_logit_but_little(hemispheres):
    network = build(attention="mean_flow").eval()
    torch.nn.init.ones_(network.attention_head.weight)
    with torch.no_grad():
        full = network(hemispheres)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(hemispheres)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.1, atol=0.1)


def test_a_stage_over_a_map_two_pixels_wide_runs_in_float32():
    """There oneDNN's bfloat16 gradient is wrong on CPUs with AMX."""
    trunk = SliceNetwork(n_slices=4, width=16).trunk
    maps = torch.rand(8, trunk.channels[3], 4, 2, generator=torch.Generator().manual_seed(1))
    gradients = []
    for enabled in (False, True):
        trunk.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            (last,) = trunk.run_from((maps,), 4)
        last.square().sum().backward()
        gradients.append(trunk.layer4[0].conv1.weight.grad.clone())
    assert torch.equal(*gradients)
