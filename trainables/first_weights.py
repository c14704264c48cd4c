"""Where a trial's network begins: a promoted parent's weights."""

from pathlib import Path

from tissueclock.learning.checkpoint import read_tensors
from tissueclock.networks.first_weights import LoadReport, load_weights
from tissueclock.networks.staged import StagedNetwork

_OF_RESTORATION = ("decoder.", "to_series.")
_NEW_AFTER_RESTORATION = ("gate.", "attention_head.", "head.")


def load_parent(network: StagedNetwork, promoted: Path) -> LoadReport:
    """Loads a promoted checkpoint, whole; of one that restored volumes, the trunk.

    Args:
        network: Overwritten in place. What a restoration network has not stays as it was drawn.
        promoted: The parent's folder.

    Raises:
        CheckpointError: The weights are damaged, or do not fit.
    """
    weights = read_tensors(promoted / "weights.safetensors")
    restored = any(name.startswith(_OF_RESTORATION) for name in weights)
    may_differ = (*_OF_RESTORATION, *_NEW_AFTER_RESTORATION) if restored else ()
    return load_weights(network, weights, source=str(promoted / "weights.safetensors"), may_differ=may_differ)
