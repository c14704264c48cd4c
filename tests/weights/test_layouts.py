"""Other people's layouts: small files with their true names, and what becomes of them."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.errors import CheckpointError
from tissueclock.networks.resnet import ResNet18
from tissueclock.networks.volume_trunk import VolumeTrunk
from tissueclock.weights.layouts import adapt_series, recognise, renamed

WIDTH = 4


def genesis_layout() -> dict[str, Tensor]:
    """Models Genesis' contracting path and some of the rest, one channel in."""
    tensors: dict[str, Tensor] = {}
    n_in = 1
    for level, (first, second) in {"64": (2, 4), "128": (4, 8), "256": (8, 16), "512": (16, 32)}.items():
        for i_op, n_out in enumerate((first, second)):
            name = f"down_tr{level}.ops.{i_op}"
            tensors |= {
                f"{name}.conv1.weight": torch.randn(n_out, n_in, 3, 3, 3),
                f"{name}.conv1.bias": torch.randn(n_out),
            }
            norm = nn.BatchNorm3d(n_out).state_dict()
            tensors |= {f"{name}.bn1.{key}": tensor for key, tensor in norm.items()}
            n_in = n_out
    return tensors | {"up_tr256.up_conv.weight": torch.zeros(1), "out_tr.final_conv.bias": torch.zeros(3)}


def med3d_layout() -> dict[str, Tensor]:
    """MedicalNet's ResNet-18: 3D kernels, one channel in, shortcuts without parameters."""
    flat = ResNet18(n_series=1, width=WIDTH).state_dict()
    return {
        name: tensor[:, :, None].expand(-1, -1, tensor.shape[-1], -1, -1).clone() if tensor.ndim == 4 else tensor
        for name, tensor in flat.items()
        if "downsample" not in name
    } | {"conv_seg.0.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    ("weights", "layout"),
    [
        (ResNet18(width=WIDTH).state_dict(), "resnet18"),
        (med3d_layout(), "medicalnet"),
        (genesis_layout(), "models_genesis"),
        ({"encoder.weight": torch.zeros(1)}, None),
    ],
)
def test_a_layout_is_recognised_by_its_names(weights: dict[str, Tensor], layout: str | None) -> None:
    assert recognise(weights) == layout


def test_every_tensor_of_models_genesis_trunk_has_a_place_in_ours() -> None:
    ours = renamed(genesis_layout(), "models_genesis")
    trunk = {
        f"trunk.{name}": tensor.shape for name, tensor in VolumeTrunk(n_series=1, width=WIDTH).state_dict().items()
    }

    assert {name: tensor.shape for name, tensor in ours.items()} == trunk


def test_a_flattened_kernel_answers_equal_slices_as_it_did_in_3d() -> None:
    weights = med3d_layout()
    image = torch.randn(1, 1, 20, 20)

    flat = functional.conv2d(image, renamed(weights, "medicalnet")["trunk.conv1.weight"], stride=2)
    deep = functional.conv3d(image[:, :, None].expand(-1, -1, 7, -1, -1), weights["conv1.weight"], stride=(1, 2, 2))

    torch.testing.assert_close(flat, deep[:, :, 0], rtol=1e-4, atol=1e-4)


def test_a_shortcut_without_parameters_is_written_out() -> None:
    trunk = ResNet18(n_series=1, width=WIDTH).eval()
    trunk.load_state_dict({name.removeprefix("trunk."): t for name, t in renamed(med3d_layout(), "medicalnet").items()})
    x = torch.randn(2, WIDTH, 9, 9)

    shortcut = trunk.layer2[0].downsample(x)

    torch.testing.assert_close(shortcut[:, :WIDTH], x[:, :, ::2, ::2])
    assert (shortcut[:, WIDTH:] == 0).all()


def test_a_first_convolution_of_one_channel_answers_equal_series_alike() -> None:
    one = torch.randn(4, 1, 3, 3)
    image = torch.randn(1, 1, 8, 8)

    torch.testing.assert_close(
        functional.conv2d(image.expand(-1, 3, -1, -1), adapt_series(one, n_series=3)), functional.conv2d(image, one)
    )


def test_a_first_convolution_of_two_channels_is_refused() -> None:
    with pytest.raises(CheckpointError, match="2 channels; allowed: 1, 3 or 7"):
        adapt_series(torch.zeros(4, 2, 3, 3), n_series=7)


def test_a_deeper_resnet_is_refused() -> None:
    weights = ResNet18(width=WIDTH).state_dict()

    with pytest.raises(CheckpointError, match=r"layer1\.2\.conv1\.weight: belongs to a deeper ResNet"):
        renamed(weights | {"layer1.2.conv1.weight": torch.zeros(1)}, "resnet18")


def test_a_mapping_renames_by_the_longest_prefix() -> None:
    weights = {"net.a.weight": torch.zeros(1), "net.b.weight": torch.zeros(2), "other": torch.zeros(3)}

    assert set(renamed(weights, "mapping", {"net.": "trunk.", "net.b": "head"})) == {
        "trunk.a.weight",
        "head.weight",
        "other",
    }
