"""Named tensors in a safetensors file, which runs no code when it is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from tissueclock.errors import CheckpointError
from tissueclock.storage.files import atomic_path

_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
"""How pickles and torch's zipped pickles begin."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes named tensors as safetensors, whole or not at all.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(plain))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: It is missing, truncated, or no safetensors file.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
        if (start.startswith(_PICKLE_STARTS[0]) and start[1:2] in b"\x02\x03\x04\x05") or start == _PICKLE_STARTS[1]:
            raise CheckpointError(f"{path}: is a pickle, which can run code when read; only safetensors are read")
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: is truncated or no safetensors file ({error})") from error
    return tensors


def join_replicas(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several networks under one roof: `replica1.NAME` and so on."""
    return {f"replica{i}.{name}": tensor for i, part in enumerate(each, start=1) for name, tensor in part.items()}


def replica_tensors(tensors: Mapping[str, Tensor], i_replica: int) -> dict[str, Tensor]:
    """The tensors of one network, counted from 0, under its own names; all, where only one network was written."""
    prefix = f"replica{i_replica + 1}."
    if not any(name.startswith("replica1.") for name in tensors):
        return dict(tensors)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
