"""Networks by their description: the one place that knows every kind."""

from collections.abc import Mapping
from typing import Any, get_args

from tissueclock.errors import CheckpointError
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.networks.radiomics_network import RadiomicsNetwork
from tissueclock.networks.restoration_network import RestorationNetwork
from tissueclock.networks.settings import AttendedKind, Attention, Readout
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.volume_network import VolumeNetwork

_KINDS: dict[str, type[StagedNetwork]] = {
    "slice": SliceNetwork,
    "volume": VolumeNetwork,
    "restoration": RestorationNetwork,
    "radiomics": RadiomicsNetwork,
}


def build_network(description: Mapping[str, Any]) -> StagedNetwork:
    """The network that a description describes, with fresh weights.

    Args:
        description: `kind` (`slice`, `volume`, `voxel`, `restoration` or `radiomics`), `readout` (`mean` unless it is
            there, or the kind is `voxel`) and the arguments of that network's constructor, as
            `StagedNetwork.description` gives them.

    Raises:
        CheckpointError: It describes another kind of network, or arguments that do not exist.
    """
    arguments = dict(description) if isinstance(description, Mapping) else {}
    kind = arguments.pop("kind", None)
    if kind not in (*_KINDS, *get_args(AttendedKind)):
        raise CheckpointError(f"network: kind is {kind!r}; allowed: {', '.join({**_KINDS, 'voxel': None})}")
    readout = arguments.pop("readout", "attended" if kind == "voxel" else "mean")
    if readout not in ("mean", *get_args(Readout)):
        allowed = ", ".join(("mean", *get_args(Readout)))
        raise CheckpointError(f"network: readout is {readout!r}; allowed: {allowed}")
    if arguments.get("attention", "off") not in get_args(Attention):
        allowed = ", ".join(get_args(Attention))
        raise CheckpointError(f"network: attention is {arguments['attention']!r}; allowed: {allowed}")
    try:
        if readout != "mean":
            return AttendedNetwork(kind=kind, readout=readout, **arguments)
        return _KINDS[kind](**arguments)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:  # torch raises the last two for sizes below 0
        raise CheckpointError(f"network: cannot be built from {arguments} ({error})") from error
