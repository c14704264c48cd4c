"""Where a trial's network begins: a promoted parent's weights, or those of somebody else's file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tissueclock.errors import CheckpointError
from tissueclock.networks.staged import StagedNetwork
from tissueclock.storage.files import digest_file
from tissueclock.storage.folders import PromotedFolder
from tissueclock.weights.fitting import LoadReport, load_weights
from tissueclock.weights.layouts import Layout, adapt_series
from tissueclock.weights.tensors import read_tensors, replica_tensors
from tissueclock.weights.weights_file import load_weights_file

_OF_RESTORATION = ("decoder.", "to_series.")
_NEW_AFTER_RESTORATION = ("gate.", "attention_head.", "head.", "readout.", "inputs.")
_FIRST = "trunk.stem.conv.weight"


def load_parent(network: StagedNetwork, promoted: PromotedFolder, *, i_replica: int = 0) -> dict[str, Any]:
    """Loads a promoted checkpoint, whole; of one that restored volumes, the trunk.

    Args:
        network: Overwritten in place. What a restoration network has not stays as it was drawn.
        promoted: The parent's folder.
        i_replica: Which of its replicas: of the same fold, so that no patient who validates it was learned from.

    Returns:
        How each tensor fitted, as JSON facts.

    Raises:
        CheckpointError: The weights are damaged, or do not fit.
    """
    weights = replica_tensors(read_tensors(promoted.weights), i_replica)
    restored = any(name.startswith(_OF_RESTORATION) for name in weights)
    may_differ = (*_OF_RESTORATION, *_NEW_AFTER_RESTORATION) if restored else ()
    if restored and (sources := network.sources):  # it has more inputs than the series that were restored
        weights[_FIRST] = adapt_series(weights[_FIRST], n_series=len(sources), sources=sources)
    return _facts(load_weights(network, weights, source=str(promoted.weights), may_differ=may_differ))


def load_file(
    network: StagedNetwork, path: Path, *, digest: str, layout: Layout | Literal["auto"], mapping: Mapping[str, str]
) -> dict[str, Any]:
    """Loads a study's weights file, the one that was planned with.

    Args:
        network: Overwritten in place; head and gates stay as drawn.
        path: The file.
        digest: SHA-256 that it had then.
        layout: See `load_weights_file`.
        mapping: See `load_weights_file`.

    Returns:
        The file's digest, its layout, and how each tensor fitted, as JSON facts.

    Raises:
        CheckpointError: The file is missing, damaged, altered since the plan, or does not fit.
    """
    if digest != (digest_file(path) if path.is_file() else ""):
        raise CheckpointError(f"{path}: was changed since the study was planned; run it again")
    found, report = load_weights_file(network, path, layout=layout, mapping=mapping)
    return {"digest": digest, "layout": found, **_facts(report)}


def _facts(report: LoadReport) -> dict[str, Any]:
    return {name: list(keys) for name, keys in asdict(report).items()}
