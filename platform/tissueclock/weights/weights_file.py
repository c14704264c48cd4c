"""First weights from somebody else's file: read without running code, renamed, loaded whole or refused.

They are the user's, nothing is downloaded.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tissueclock.errors import CheckpointError
from tissueclock.networks.staged import StagedNetwork
from tissueclock.weights.fitting import LoadReport, load_weights
from tissueclock.weights.layouts import KINDS, NEW_HERE, Layout, adapt_series, recognise, renamed
from tissueclock.weights.tensors import read_tensors

_NESTS = ("state_dict", "model", "net")
_N_COUNTED = ".num_batches_tracked"


def load_weights_file(
    network: StagedNetwork, path: Path, *, layout: Layout | Literal["auto"], mapping: Mapping[str, str]
) -> tuple[Layout, LoadReport]:
    """Loads a file's weights into a network: its trunk whole, while head and gates stay as drawn.

    Args:
        network: Overwritten in place.
        path: safetensors, or a file of `torch.save` with a state dict in it.
        layout: `auto` recognises torchvision's ResNet-18, MedicalNet and Models Genesis.
        mapping: Prefixes, theirs to ours, of layout `mapping`.

    Returns:
        The layout, and every tensor under one heading; the first convolution under `adapted` where it was.

    Raises:
        CheckpointError: The file is damaged, holds no tensors or would run code; its layout is unknown or belongs to
            another kind of network; or a tensor does not fit.
    """
    weights = read_weights_file(path)
    known = recognise(weights) if layout == "auto" else layout
    if known is None:
        raise CheckpointError(
            f"{path}: layout is not known; allowed: {', '.join(KINDS)}, or layout: mapping with a mapping"
        )
    kind = str(network.description["kind"])
    if KINDS.get(known, kind) != kind:
        raise CheckpointError(
            f"{path}: layout {known} belongs to a network of kind {KINDS[known]}; this one is of kind {kind}"
        )
    try:
        ours = renamed(weights, known, mapping)
        adapted = _adapt_first(ours, network)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    report = load_weights(network, _with_counts(ours, network), source=str(path), may_differ=NEW_HERE, adapted=adapted)
    return known, report


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, its names without `module.`.

    Raises:
        CheckpointError: The file is missing or damaged, would run code, or holds no tensors.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        why = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors and would run code when read ({why[:80]}); allowed: a "
            "state dict written by torch.save, or safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: is truncated or no file of torch.save ({type(error).__name__})") from error
    for nest in _NESTS:
        if isinstance(found, Mapping) and isinstance(found.get(nest), Mapping):
            found = found[nest]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors ({type(found).__name__} found); allowed: a state dict")
    return tensors


def _adapt_first(ours: dict[str, Tensor], network: StagedNetwork) -> tuple[str, ...]:
    """Fits the first convolution to the network's series, in place; its name where it changed."""
    name = next((name for name in ("trunk.conv1.weight", "trunk.stem.conv.weight") if name in ours), None)
    own = network.state_dict().get(name or "")
    if name is None or own is None:
        return ()
    fitted = adapt_series(ours[name], n_series=own.shape[1])
    changed = fitted.shape != ours[name].shape
    ours[name] = fitted
    return (name,) if changed else ()


def _with_counts(ours: dict[str, Tensor], network: StagedNetwork) -> dict[str, Tensor]:
    """The tensors, with the norms' count of batches as it is here where the file has none: nothing depends on it."""
    counts = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(_N_COUNTED)}
    return counts | ours
