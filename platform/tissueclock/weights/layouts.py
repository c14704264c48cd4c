"""State dicts of other people's networks under our names: which layout they have, what each of its tensors is here.

Nothing is guessed: a tensor is renamed, known to be left out, or reported as unexpected.

References:
    He et al. 2016, doi:10.1109/CVPR.2016.90 (ResNet-18, in torchvision's layout).
    Chen et al. 2019, Med3D, arXiv:1904.00625 (MedicalNet).
    Zhou et al. 2019, Models Genesis, doi:10.1007/978-3-030-32251-9_42.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from tissueclock.errors import CheckpointError

Layout = Literal["resnet18", "medicalnet", "models_genesis", "mapping"]
Weights = dict[str, Tensor]

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "resnet18": ("fc.",),
    "medicalnet": ("conv_seg.", "fc."),
    "models_genesis": ("up_tr", "out_tr."),
    "mapping": (),
}
"""Prefixes of tensors that a layout has and our networks have not: classifiers and expanding paths."""

NEW_HERE = ("head.", "gate.", "attention_head.", "slice_pooling.", "readout.", "inputs.")
"""Prefixes of our tensors that no other layout has; they stay as drawn."""

_N_COLOURS = 3
"""Channels of photographs."""

KINDS: dict[str, str] = {"resnet18": "slice", "medicalnet": "slice", "models_genesis": "volume"}
"""The kind of network that each layout belongs to."""

_GENESIS_STAGES = {
    ("64", "0"): "stem", ("64", "1"): "layer1",
    ("128", "0"): "layer2.0", ("128", "1"): "layer2.1",
    ("256", "0"): "layer3.0", ("256", "1"): "layer3.1",
    ("512", "0"): "layer4.0", ("512", "1"): "layer4.1",
}  # fmt: skip


def recognise(weights: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a state dict, by its names and the dimensions of its first convolution; None if unknown."""
    if any(name.startswith("down_tr64.") for name in weights):
        return "models_genesis"
    first = weights.get("conv1.weight")
    if first is None or "layer1.0.conv1.weight" not in weights:
        return None
    return "medicalnet" if first.ndim == 5 else "resnet18"


def renamed(weights: Mapping[str, Tensor], layout: Layout, mapping: Mapping[str, str] | None = None) -> Weights:
    """The tensors under our names, those that are known to be left out left out.

    Args:
        weights: A state dict in that layout.
        layout: Which.
        mapping: Prefixes, theirs to ours, of layout `mapping`.

    Raises:
        CheckpointError: It is a deeper ResNet than ResNet-18.
    """
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(LEFT_OUT[layout])}
    if layout == "mapping":
        return _by_prefix(kept, mapping or {})
    rename: Callable[[str], str] = _genesis_name if layout == "models_genesis" else _trunk_name
    ours = {rename(name): tensor for name, tensor in kept.items()}
    if layout != "models_genesis" and (
        deeper := [name for name in ours if re.search(r"layer\d\.([2-9]|\d\d)|conv3", name)]
    ):
        raise CheckpointError(f"{deeper[0].removeprefix('trunk.')}: belongs to a deeper ResNet; allowed: ResNet-18")
    return _flattened(ours) if layout == "medicalnet" else ours


def adapt_series(first: Tensor, *, n_series: int, sources: Sequence[int] = ()) -> Tensor:
    """The first convolution for so many inputs: its one or three channels are repeated, and weakened as much.

    Args:
        first: Of somebody else's network, or of a parent's.
        n_series: Inputs of ours.
        sources: For each input the channel that it takes; empty: in turn.

    Raises:
        CheckpointError: It has neither one nor three channels, nor as many as there are inputs.
    """
    n_channels = first.shape[1]
    if n_channels == n_series and not sources:
        return first
    if n_channels not in (1, _N_COLOURS):
        raise CheckpointError(f"the first convolution has {n_channels} channels; allowed: 1, 3 or {n_series}")
    source = torch.tensor(sources) if sources else torch.arange(n_series) % n_channels
    return first[:, source] * (min(n_channels, n_series) / n_series)


def _trunk_name(name: str) -> str:
    return f"trunk.{name}"


def _genesis_name(name: str) -> str:
    found = re.fullmatch(r"down_tr(64|128|256|512)\.ops\.([01])\.(conv|bn)1\.(\w+)", name)
    if found is None:
        return name
    stage = _GENESIS_STAGES[found[1], found[2]]
    return f"trunk.{stage}.{found[3]}.{found[4]}"


def _flattened(weights: Weights) -> Weights:
    """MedicalNet's 3D ResNet-18 for slices: kernels summed over depth, its shortcuts without parameters written out.

    Summed, a kernel answers on a stack of equal slices as it did in 3D. A shortcut of type A passes every stride-th
    position on and fills new channels with zeros: a 1x1 convolution with ones, and a norm that changes nothing.
    """
    flat = {name: tensor.sum(dim=2) if tensor.ndim == 5 else tensor for name, tensor in weights.items()}
    for layer in ("layer2", "layer3", "layer4"):
        name = f"trunk.{layer}.0.downsample"
        widened = flat.get(f"trunk.{layer}.0.conv1.weight")
        if f"{name}.0.weight" in flat or widened is None:
            continue
        n_out, n_in = widened.shape[:2]
        flat[f"{name}.0.weight"] = torch.eye(n_out, n_in)[..., None, None]
        flat[f"{name}.1.weight"] = torch.full((n_out,), (1.0 + 1e-5) ** 0.5)  # undoes the norm's own epsilon
        flat[f"{name}.1.bias"] = flat[f"{name}.1.running_mean"] = torch.zeros(n_out)
        flat[f"{name}.1.running_var"] = torch.ones(n_out)
    return flat


def _by_prefix(weights: Weights, mapping: Mapping[str, str]) -> Weights:
    ours = {}
    for name, tensor in weights.items():
        prefix = max((theirs for theirs in mapping if name.startswith(theirs)), key=len, default=None)
        ours[name if prefix is None else mapping[prefix] + name.removeprefix(prefix)] = tensor
    return ours
