"""First weights: drawn, or a parent's; loaded whole or refused.

A caller reads the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tissueclock.errors import CheckpointError

_N_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How weights fitted a network: its keys, each under one heading.

    Attributes:
        matched: Loaded.
        missing: Of the network, and not among the weights.
        unexpected: Among the weights, and not of the network.
        reshaped: Of both, in different shapes.
        adapted: Of the matched ones, those that were made to fit before (a first convolution, to the series).
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    adapted: tuple[str, ...] = ()


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    may_differ: Sequence[str] = (),
    adapted: tuple[str, ...] = (),
) -> LoadReport:
    """Loads `weights` into `network`, all of them or none.

    Args:
        network: What is loaded; its parameters and buffers are overwritten in place.
        weights: A state dict of the same names and shapes.
        source: What messages call the weights, for example their file.
        may_differ: Prefixes of keys that may be missing, unexpected or reshaped, and then stay as they are in the
            network, for example `slice_pooling.` where a parent pooled its slices in another way.
        adapted: What the caller made to fit, for the report.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: A key outside `may_differ` does not fit, or nothing fits.
    """
    own = network.state_dict()
    fits = {key for key in own.keys() & weights.keys() if own[key].shape == weights[key].shape}
    report = LoadReport(
        matched=tuple(key for key in own if key in fits),
        missing=tuple(key for key in own if key not in weights),
        unexpected=tuple(key for key in weights if key not in own),
        reshaped=tuple(key for key in own if key in weights and key not in fits),
        adapted=adapted,
    )
    faults = [
        f"{len(keys)} {heading} ({_shown(keys)})"
        for heading, found in (
            ("missing", report.missing),
            ("unexpected", report.unexpected),
            ("reshaped", [f"{key} {_shape(weights[key])} for {_shape(own[key])}" for key in report.reshaped]),
        )
        if (keys := [key for key in found if not key.startswith(tuple(may_differ))])
    ]
    if faults or not report.matched:
        raise CheckpointError(
            f"{source}: does not fit the network: {len(report.matched)} of its {len(own)} keys match, "
            + (", ".join(faults) or "nothing to load")
        )
    with torch.no_grad():
        for key in report.matched:
            own[key].copy_(weights[key])
    return report


def _shown(keys: Sequence[str]) -> str:
    more = f", and {len(keys) - _N_SHOWN} more" if len(keys) > _N_SHOWN else ""
    return ", ".join(keys[:_N_SHOWN]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
