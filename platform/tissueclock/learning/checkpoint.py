"""A checkpoint on disk: weights and optimiser state as safetensors, everything else as JSON facts with digests.

The facts are written last and hold the digests of the other files, so a checkpoint is whole or refused. Nothing is ever
unpickled.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tissueclock.errors import CheckpointError
from tissueclock.storage.files import digest_file, read_json, write_json
from tissueclock.storage.folders import CheckpointFolder
from tissueclock.weights.tensors import read_tensors, write_tensors

SCHEMA = 1
_NAMES = CheckpointFolder(Path())
_FACTS = _NAMES.facts.name
_FILES = tuple(path.name for path in (_NAMES.weights, _NAMES.best, _NAMES.optimiser))


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
        return read_tensors(CheckpointFolder(self.folder).weights)

    def best_weights(self) -> dict[str, Tensor]:
        """The network's state dict after the best epoch."""
        return read_tensors(CheckpointFolder(self.folder).best)

    def optimiser(self) -> dict[str, Tensor]:
        """The tensors of the optimiser's state after the last epoch."""
        return read_tensors(CheckpointFolder(self.folder).optimiser)


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
        (folder / _FACTS).unlink(missing_ok=True)  # from here to the last line there is no checkpoint
    for name, tensors in zip(_FILES, (weights, best, optimiser), strict=True):
        write_tensors(folder / name, tensors)
    digests = {name: digest_file(folder / name) for name in _FILES}
    write_json(folder / _FACTS, {**facts, "schema": SCHEMA, "digests": digests})


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, verified.

    Raises:
        CheckpointError: A file is missing or altered, or the facts are not those of a checkpoint of this schema.
    """
    path = folder / _FACTS
    facts = read_json(
        path, schema=SCHEMA, error=CheckpointError, missing="is missing; the folder holds no whole checkpoint"
    )
    digests = facts.get("digests")
    if not isinstance(digests, dict) or set(digests) != set(_FILES):
        raise CheckpointError(f"{path}: digests must name {', '.join(_FILES)}")
    for name, expected in digests.items():
        _check(folder / name, expected=expected)
    return Checkpoint(folder=folder, facts=facts)


def _check(path: Path, *, expected: str) -> None:
    try:
        found = digest_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing, but {_FACTS} names it") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise CheckpointError(f"{path}: digest is {found[:12]}, but {_FACTS} says {str(expected)[:12]}; it was altered")
