"""Where a trial's network begins: a promoted parent's weights, or those of somebody else's file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from tissueclock.errors import CheckpointError
from tissueclock.learning.checkpoint import read_tensors
from tissueclock.learning.weights_file import load_weights_file
from tissueclock.networks.first_weights import LoadReport, load_weights
from tissueclock.networks.layouts import Layout
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import WeightsFile
from tissueclock.storage.files import digest_file

_OF_RESTORATION = ("decoder.", "to_series.")
_NEW_AFTER_RESTORATION = ("gate.", "attention_head.", "head.")


def load_parent(network: StagedNetwork, promoted: Path) -> dict[str, Any]:
    """Loads a promoted checkpoint, whole; of one that restored volumes, the trunk.

    Args:
        network: Overwritten in place. What a restoration network has not stays as it was drawn.
        promoted: The parent's folder.

    Returns:
        How each tensor fitted, as JSON facts.

    Raises:
        CheckpointError: The weights are damaged, or do not fit.
    """
    weights = read_tensors(promoted / "weights.safetensors")
    restored = any(name.startswith(_OF_RESTORATION) for name in weights)
    may_differ = (*_OF_RESTORATION, *_NEW_AFTER_RESTORATION) if restored else ()
    return _facts(load_weights(network, weights, source=str(promoted / "weights.safetensors"), may_differ=may_differ))


def load_file(network: StagedNetwork, file: WeightsFile) -> dict[str, Any]:
    """Loads a study's weights file, the one that was planned with.

    Returns:
        The file's digest, its layout, and how each tensor fitted, as JSON facts.

    Raises:
        CheckpointError: The file is missing, damaged, altered since the plan, or does not fit.
    """
    if file.digest != (digest_file(file.path) if file.path.is_file() else ""):
        raise CheckpointError(f"{file.path}: was changed since the study was planned; run it again")
    layout, report = load_weights_file(network, file.path, layout=cast("Layout", file.layout), mapping=file.mapping)
    return {"digest": file.digest, "layout": layout, **_facts(report)}


def _facts(report: LoadReport) -> dict[str, Any]:
    return {name: list(keys) for name, keys in asdict(report).items()}
