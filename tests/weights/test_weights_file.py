"""First weights from files: loaded whole and told, or refused in one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.weights.test_layouts import genesis_layout, med3d_layout
from tissueclock.errors import CheckpointError
from tissueclock.networks.building import build_network
from tissueclock.networks.resnet import ResNet18
from tissueclock.networks.staged import StagedNetwork
from tissueclock.weights.weights_file import load_weights_file


def network(kind: str = "slice", width: int = 4) -> StagedNetwork:
    return build_network({"kind": kind, "n_slices": 4, "width": width})


def imagenet() -> dict[str, torch.Tensor]:
    return {**ResNet18(width=4).state_dict(), "fc.weight": torch.zeros(5, 32), "fc.bias": torch.zeros(5)}


def load(path: Path, kind: str = "slice", width: int = 4, layout: Any = "auto", mapping: dict[str, str] | None = None):
    return load_weights_file(network(kind, width), path, layout=layout, mapping=mapping or {})


@pytest.mark.parametrize(
    ("content", "kind", "layout", "adapted"),
    [
        (imagenet(), "slice", "resnet18", ()),
        (med3d_layout(), "slice", "medicalnet", ("trunk.conv1.weight",)),
        (genesis_layout(), "volume", "models_genesis", ("trunk.stem.conv.weight",)),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: {"state_dict": {f"module.{k}": v for k, v in d.items()}, "epoch": 3}]
)
def test_each_layout_fills_the_trunk_and_leaves_head_and_gates(
    tmp_path: Path, content: dict, kind: str, layout: str, adapted: tuple, wrap: Callable
) -> None:
    torch.save(wrap(content), tmp_path / "w.pth")

    found, report = load(tmp_path / "w.pth", kind)

    trunk = {name for name in network(kind).state_dict() if name.startswith("trunk.")}
    assert found == layout
    assert trunk <= set(report.matched)
    assert all(name.startswith(("head.", "gate.", "attention_head.", "slice_pooling.")) for name in report.missing)
    assert (report.unexpected, report.reshaped, report.adapted) == ((), (), adapted)


def test_safetensors_and_a_mapping_do_too(tmp_path: Path) -> None:
    ours = {f"encoder.{name}": tensor for name, tensor in ResNet18(width=4).state_dict().items()}
    safetensors.torch.save_file(ours, tmp_path / "w.safetensors")

    _, report = load(tmp_path / "w.safetensors", layout="mapping", mapping={"encoder.": "trunk."})

    assert "trunk.conv1.weight" in report.matched


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/tissueclock-was-run",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"weights"), "is damaged, or holds more than tensors|is truncated"),
        (lambda path: (torch.save(imagenet(), path), os.truncate(path, 2000)), "is truncated or no file of torch.save"),
        (lambda path: torch.save({"a": RunsCode()}, path), "would run code when read"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no tensors"),
        (
            lambda path: torch.save({"a.weight": torch.zeros(2)}, path),
            "layout is not known; allowed: resnet18, medicalnet",
        ),
        (
            lambda path: torch.save(genesis_layout(), path),
            "models_genesis belongs to a network of kind volume",
        ),
        (
            lambda path: torch.save(ResNet18(width=8).state_dict(), path),
            r"trunk.conv1.weight 8x3x7x7 for 4x3x7x7",
        ),
        (lambda path: torch.save({**imagenet(), "extra.weight": torch.zeros(2)}, path), "1 unexpected"),
        (lambda path: torch.save({k: v for k, v in imagenet().items() if "layer4" not in k}, path), "missing"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line_and_changes_nothing(
    tmp_path: Path, write: Callable, message: str
) -> None:
    path = tmp_path / "w.pth"
    write(path)
    untouched = network()
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}

    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights_file(untouched, path, layout="auto", mapping={})

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/tissueclock-was-run").exists()
    assert all(torch.equal(before[name], tensor) for name, tensor in untouched.state_dict().items())
