import pytest
import torch
from torch import nn

from tissueclock.networks.building import build_network
from tissueclock.networks.restoration_network import RestorationNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.networks.volume_network import VolumeNetwork
from tissueclock.networks.volume_trunk import VolumeTrunk


def build(**options) -> VolumeNetwork:
    network = VolumeNetwork(**{"n_slices": 5, "width": 4, **options})
    network.reset_parameters(torch.Generator().manual_seed(3))
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm3d)):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 2.0)
    return network


@pytest.fixture
def hemispheres() -> torch.Tensor:
    return torch.rand(3, 3, 5, 24, 16, generator=torch.Generator().manual_seed(1))


def test_the_trunk_has_models_genesis_layout():
    trunk = VolumeTrunk(n_series=3, width=64)
    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv3d)]

    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == [
        (3, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512),
    ]  # fmt: skip
    assert sum(p.numel() for p in trunk.parameters()) == pytest.approx(7.03e6, rel=0.002)  # SCIENCE 2


def test_maps_have_models_genesis_sizes():
    trunk, x = VolumeTrunk(width=2).eval(), torch.zeros(1, 3, 24, 224, 112)
    sizes = []
    for i_stage in range(len(STAGES)):
        x = trunk.run_stage(i_stage, trunk.enter_stage(i_stage, x))
        sizes.append(tuple(x.shape[2:]))
    assert sizes == [(24, 224, 112)] * 2 + [(12, 112, 56), (6, 56, 28), (3, 28, 14)]


def test_two_attended_vectors_and_the_last_mean_are_896_features():
    with torch.device("meta"):
        network = VolumeNetwork(n_slices=24)
    assert network.head.in_features + network.attention_head.in_features == 896


@pytest.mark.parametrize("attention", ["off", "softmax"])
@pytest.mark.parametrize("depth", range(6))
def test_the_network_falls_in_two_at_every_depth(attention, depth, hemispheres):
    network = build(attention=attention).eval()
    nn.init.ones_(network.attention_head.weight)
    with torch.no_grad():
        maps = network.before(hemispheres, depth)
        assert all(len(each) == len(hemispheres) for each in maps)
        torch.testing.assert_close(network.after(maps, depth), network(hemispheres))


def test_what_lies_between_is_pooled_where_the_rest_begins_with_pooling(hemispheres):
    network = build()
    sizes = [tuple(network.before(hemispheres, depth)[-1].shape[1:]) for depth in range(1, 6)]
    assert sizes == [(2, 5, 24, 16), (4, 2, 12, 8), (8, 1, 6, 4), (16, 1, 3, 2), (32,)]


def test_a_prediction_does_not_depend_on_its_neighbours(hemispheres):
    network = build(attention="mean_flow").eval()
    torch.testing.assert_close(network(hemispheres)[:1], network(hemispheres[:1]))


@pytest.mark.parametrize("norm", ["mean_flow", "softmax", "sigmoid"])
def test_switching_attention_on_late_disturbs_nothing(norm, hemispheres):
    off, on = build().eval(), build(attention=norm).eval()
    on.load_state_dict(off.state_dict())
    assert torch.equal(off(hemispheres), on(hemispheres))


@pytest.mark.parametrize("shape", [(4, 32, 16), (12, 48, 24), (5, 21, 13), (1, 8, 8)])
def test_a_restored_volume_has_the_size_of_the_input(shape):
    network = RestorationNetwork(n_slices=shape[0], width=4).eval()
    restored = network(torch.rand(2, 3, *shape))
    assert restored.shape == (2, 3, *shape)
    assert ((restored > 0) & (restored < 1)).all()


@pytest.mark.parametrize("depth", range(6))
def test_the_restoration_network_falls_in_two_at_every_depth(depth, hemispheres):
    network = RestorationNetwork(n_slices=5, width=4).eval()
    with torch.no_grad():
        torch.testing.assert_close(network.after(network.before(hemispheres, depth), depth), network(hemispheres))


def test_the_restoration_networks_trunk_is_the_volume_networks():
    restoring = RestorationNetwork(n_slices=5, width=4).state_dict()
    trunk = {name: tensor.shape for name, tensor in build().state_dict().items() if name.startswith("trunk.")}
    assert {name: restoring[name].shape for name in trunk} == trunk


@pytest.mark.parametrize("network", [build(attention="softmax"), RestorationNetwork(n_slices=5, width=4)])
def test_a_description_rebuilds_the_network(network, hemispheres):
    again = build_network(network.description)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(hemispheres), network.eval()(hemispheres))
