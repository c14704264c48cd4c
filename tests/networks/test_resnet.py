"""The trunk against torchvision's table of ResNet-18 and a forward pass written out from the paper."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tissueclock.networks.resnet import ResNet18
from tissueclock.networks.trunk import STAGES


def torchvision_table() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's `resnet18()` without `fc`, a fact about its published weights."""

    def norm(name: str, n: int) -> dict[str, tuple[int, ...]]:
        vectors = ("weight", "bias", "running_mean", "running_var")
        return {**{f"{name}.{vector}": (n,) for vector in vectors}, f"{name}.num_batches_tracked": ()}

    table = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    for i_layer, (n_in, n) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for i_block in range(2):
            block = f"layer{i_layer}.{i_block}"
            table[f"{block}.conv1.weight"] = (n, n_in if i_block == 0 else n, 3, 3)
            table |= norm(f"{block}.bn1", n)
            table[f"{block}.conv2.weight"] = (n, n, 3, 3)
            table |= norm(f"{block}.bn2", n)
            if i_block == 0 and i_layer > 1:
                table[f"{block}.downsample.0.weight"] = (n, n_in, 1, 1)
                table |= norm(f"{block}.downsample.1", n)
    return table


def written_out(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-18 in evaluation mode, straight from the table's tensors."""

    def conv(x: Tensor, name: str, *, stride: int, padding: int) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(conv(x, "conv1", stride=2, padding=3), "bn1").relu()
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    for i_layer in range(1, 5):
        for i_block in range(2):
            block, stride = f"layer{i_layer}.{i_block}", 2 if i_block == 0 and i_layer > 1 else 1
            out = norm(conv(x, f"{block}.conv1", stride=stride, padding=1), f"{block}.bn1").relu()
            out = norm(conv(out, f"{block}.conv2", stride=1, padding=1), f"{block}.bn2")
            if f"{block}.downsample.0.weight" in state:
                x = norm(conv(x, f"{block}.downsample.0", stride=stride, padding=0), f"{block}.downsample.1")
            x = (out + x).relu()
    return x


@pytest.fixture
def lived_in_state() -> dict[str, Tensor]:
    """Weights and running statistics as training leaves them: none of them at its initial value."""
    generator = torch.Generator().manual_seed(5)
    state = ResNet18(width=8).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            if "running_var" in name:
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.ndim == 1:
                tensor.normal_(0.5, 0.3, generator=generator)
    return state


def test_names_and_shapes_are_torchvisions():
    assert {name: tuple(tensor.shape) for name, tensor in ResNet18().state_dict().items()} == torchvision_table()


def test_the_trunk_has_as_many_parameters_as_resnet18():
    assert sum(parameter.numel() for parameter in ResNet18().parameters()) == 11_689_512 - 512 * 1000 - 1000


def test_it_computes_what_the_paper_writes(lived_in_state):
    trunk = ResNet18(width=8).eval()
    trunk.load_state_dict(lived_in_state)
    x = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(trunk(x), written_out(lived_in_state, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("attn_level", "layer3", "layer4"), [("A", (14, 7), (7, 4)), ("B", (28, 14), (7, 4)), ("C", (14, 7), (7, 4))]
)
def test_maps_have_the_sizes_of_the_reading(attn_level, layer3, layer4):
    trunk = ResNet18(width=2, attn_level=attn_level).eval()
    maps = [torch.zeros(1, 3, 224, 112)]
    for i_stage in range(len(STAGES)):
        maps.append(trunk.run_stage(i_stage, trunk.enter_stage(i_stage, maps[-1])))
    sizes = [tuple(each.shape[2:]) for each in maps[1:]]
    assert sizes == [(56, 28), (56, 28), (28, 14), layer3, layer4]


def test_every_parameter_belongs_to_one_stage():
    trunk = ResNet18(width=2)
    staged = [id(p) for stage in trunk.stage_modules() for module in stage for p in module.parameters()]
    assert sorted(staged) == sorted(id(p) for p in trunk.parameters())
    assert len(trunk.stage_modules()) == len(STAGES)


@pytest.mark.parametrize(("stem_stride", "sizes"), [(4, (12, 6)), (2, (24, 12)), (1, (48, 24))])
def test_a_gentler_stem_keeps_more_pixels_and_the_same_weights(stem_stride, sizes):
    trunk = ResNet18(width=4, stem_stride=stem_stride).eval()
    assert trunk.run_stage(0, torch.zeros(1, 3, 48, 24)).shape[2:] == sizes
    assert {n: t.shape for n, t in trunk.state_dict().items()} == {
        n: t.shape for n, t in ResNet18(width=4).state_dict().items()
    }
