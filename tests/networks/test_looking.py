"""Where networks look: Grad-CAM against what it comes to by hand, and maps that do not depend on weights."""

import pytest
import torch
from torch.nn import functional

from tissueclock.networks.building import build_network
from tissueclock.networks.looking import look_at, permuted


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, 3, 8, 32, 16, generator=torch.Generator().manual_seed(4)) + 0.5


def make(kind: str, **arguments: object) -> torch.nn.Module:
    network = build_network({"kind": kind, "n_slices": 8, "width": 8, **arguments})
    network.reset_parameters(torch.Generator().manual_seed(1))
    return network.eval()


def test_of_a_mean_under_a_layer_grad_cam_is_the_layer_over_the_map(x: torch.Tensor) -> None:
    """Zhou 2016: where a logit is w times the map's mean, the class activation map is w times the map."""
    network = make("volume")
    with torch.no_grad():
        last = x
        for i in range(5):
            last = network.trunk.run_stage(i, network.trunk.enter_stage(i, last))
        by_hand = torch.einsum("bcdhw,c->bdhw", last, network.head.weight[0]).relu()
    by_hand = functional.interpolate(by_hand[:, None], x.shape[2:], mode="trilinear")[:, 0]
    seen = look_at(network, x)
    assert seen.kind == "Grad-CAM"
    largest = by_hand.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
    torch.testing.assert_close(seen.map, by_hand / largest, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("slice", {"stem_stride": 1}, "Grad-CAM"),
        ("slice", {"attention": "mean_flow", "stem_stride": 1}, "Grad-CAM"),
        ("volume", {"attention": "softmax"}, "Grad-CAM"),
        ("voxel", {}, "attention"),
        ("voxel", {"attention": "off"}, "Grad-CAM"),
        ("slice", {"readout": "attended", "attention": "off", "values": "features"}, "Grad-CAM"),
    ],
)
def test_every_network_has_a_map_of_the_hemisphere(
    x: torch.Tensor, kind: str, arguments: dict[str, object], expected: str
) -> None:
    network = make(kind, **arguments)
    with torch.no_grad():
        for parameter in network.parameters():  # heads start at zero, which has no gradient
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    with torch.inference_mode(), torch.no_grad():
        expected_logit = network(x)
    seen = look_at(network, x)
    assert seen.kind == expected
    assert seen.map.shape == x[:, 0].shape
    assert float(seen.map.min()) >= 0
    assert set(seen.map.amax(dim=(1, 2, 3)).tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(network(x), expected_logit)  # looking changes nothing
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grad_cam_of_a_slice_that_does_not_count_is_dark(x: torch.Tensor) -> None:
    network = make("slice", stem_stride=1)
    with torch.no_grad():
        network.head.weight.fill_(1.0)
        network.slice_pooling.theta.fill_(-50.0)
        network.slice_pooling.theta[3] = 0.0
    seen = look_at(network, x).map
    assert float(seen[:, 3].max()) == 1.0
    assert float(seen[:, [0, 1, 2, 4, 5, 6, 7]].max()) < 1e-6


def test_permuted_weights_are_the_same_values_elsewhere_and_the_network_stays() -> None:
    network = make("voxel")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = permuted(network, torch.Generator().manual_seed(0))
    weight = "trunk.stem.0.weight" if "trunk.stem.0.weight" in before else next(iter(dict(network.named_parameters())))
    assert not torch.equal(dict(other.named_parameters())[weight], before[weight])
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(parameter.flatten().sort().values, before[name].flatten().sort().values)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])
