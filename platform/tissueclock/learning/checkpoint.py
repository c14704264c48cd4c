"""A checkpoint on disk: weights and optimiser state as safetensors, everything else as JSON facts with digests.

The facts are written last and hold the digests of the other files, so a checkpoint is whole or refused. Nothing is ever
unpickled. Refuses to know what the facts mean.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tissueclock.errors import CheckpointError
from tissueclock.storage.files import atomic_path, digest_file, write_json

SCHEMA = 1
FACTS = "facts.json"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
OPTIMISER = "optimiser.safetensors"

_FILES = (WEIGHTS, BEST, OPTIMISER)
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
"""How pickles and torch's zipped pickles begin."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder whose files are all there and unaltered.

    Attributes:
        folder: Where it is.
        facts: What was written as facts.
    """

    folder: Path
    facts: Mapping[str, Any]

    def weights(self) -> dict[str, Tensor]:
        """The network's state dict after the last epoch."""
        return read_tensors(self.folder / WEIGHTS)

    def best_weights(self) -> dict[str, Tensor]:
        """The network's state dict after the best epoch."""
        return read_tensors(self.folder / BEST)

    def optimiser(self) -> dict[str, Tensor]:
        """The tensors of the optimiser's state after the last epoch."""
        return read_tensors(self.folder / OPTIMISER)


def write_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimiser: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> None:
    """Writes a checkpoint to `folder`, in place of one that may be there.

    Args:
        folder: Made where it is missing.
        weights: The state dict after the last epoch.
        best: The state dict after the best epoch.
        optimiser: The tensors of the optimiser's state.
        facts: JSON facts; `schema` and `digests` are added.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    with contextlib.suppress(NotADirectoryError):
        (folder / FACTS).unlink(missing_ok=True)  # from here to the last line there is no checkpoint
    for name, tensors in zip(_FILES, (weights, best, optimiser), strict=True):
        write_tensors(folder / name, tensors)
    digests = {name: digest_file(folder / name) for name in _FILES}
    write_json(folder / FACTS, {**facts, "schema": SCHEMA, "digests": digests})


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, verified.

    Raises:
        CheckpointError: A file is missing or altered, or the facts are not those of a checkpoint of this schema.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing; the folder holds no whole checkpoint") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        found = facts.get("schema") if isinstance(facts, dict) else type(facts).__name__
        raise CheckpointError(f"{path}: schema is {found!r}, but this version reads {SCHEMA}")
    digests = facts.get("digests")
    if not isinstance(digests, dict) or set(digests) != set(_FILES):
        raise CheckpointError(f"{path}: digests must name {', '.join(_FILES)}")
    for name, expected in digests.items():
        _check(folder / name, expected=expected)
    return Checkpoint(folder=folder, facts=facts)


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


def _check(path: Path, *, expected: str) -> None:
    try:
        found = digest_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing, but {FACTS} names it") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise CheckpointError(f"{path}: digest is {found[:12]}, but {FACTS} says {str(expected)[:12]}; it was altered")
