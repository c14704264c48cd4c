"""What frozen stages give for each sample, computed once per node, memory-mapped, and shared by every trial there.

An entry is a folder named by the digest of all that its maps depend on, so it is never out of date. It is written under
another name and renamed, under a lock that the kernel lets go of when its holder dies: two trials that want the same
entry build it once, and a builder that is killed leaves nothing that is read. An entry that is evicted or deleted under
a trial stays readable to it, as a mapped file does.
"""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor

from tissueclock.storage.files import read_json, write_json
from tissueclock.storage.locks import is_held, wait_for

_FACTS = "facts.json"
_LARGEST_HALF = 65504.0
_FREE_FRACTION = 0.5
"""Of the free disk, the most that one entry may take: the machine has other work."""

Maps = tuple[Tensor, ...]
"""What `StagedNetwork.before` gives: tensors whose first axis is the sample."""


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """The maps of one entry.

    Attributes:
        arrays: One memory map for each tensor, `sample ...`, float16 (float32 where a value would not fit).
        n_bytes: Their size on disk.
        built_s: Seconds that building took, whoever built.
        fresh: Whether this call built it.
    """

    arrays: tuple[Tensor, ...]
    n_bytes: int
    built_s: float
    fresh: bool

    def read(self, samples: Int64[ndarray, " sample"]) -> Maps:
        """The maps of these samples (positions in the entry), in their order, on the CPU."""
        index = torch.from_numpy(np.asarray(samples, dtype=np.int64))
        return tuple(array.index_select(0, index) for array in self.arrays)


@dataclass(frozen=True, slots=True)
class TrunkStore:
    """A node's folder of frozen stages' maps.

    Attributes:
        folder: On a disk of this node; made, readable to its owner alone, where it is missing.
        limit_bytes: What the entries may take together; the one that was used longest ago goes first.
    """

    folder: Path
    limit_bytes: int

    def open(
        self, key: str, *, n_samples: int, chunk: int, compute: Callable[[Int64[ndarray, " sample"]], Maps]
    ) -> StoredMaps | None:
        """The entry called `key`, built first if it is not there; waits while another process builds it.

        Args:
            key: A digest of all that the maps depend on.
            n_samples: Samples in the entry.
            chunk: Samples to compute at a time.
            compute: Gives the maps of samples (positions 0 to `n_samples` - 1), on any device.

        Returns:
            The maps; None where they would take more than the limit or half of the free disk, or cannot be written:
            then there is no sharing, and nothing else is lost.
        """
        if (found := self._read(key)) is not None:
            return found
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with wait_for(self.folder / f"{key}.lock"):
                if (found := self._read(key)) is not None:
                    return found
                if not self._build(key, n_samples=n_samples, chunk=chunk, compute=compute):
                    return None
        except OSError:  # full, read-only, or deleted as it was written
            return None
        return self._read(key, fresh=True)

    def used_bytes(self) -> int:
        """What the folder's entries take, those in the making included."""
        return sum(_size(entry) for entry in self._entries())

    def _read(self, key: str, *, fresh: bool = False) -> StoredMaps | None:
        entry = self.folder / key
        try:
            facts = read_json(entry / _FACTS)
            arrays = tuple(
                torch.from_numpy(
                    np.memmap(entry / f"{i}.bin", dtype=shape["dtype"], mode="c", shape=tuple(shape["shape"]))
                )
                for i, shape in enumerate(facts["maps"])
            )
            os.utime(entry)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        n_bytes = sum(array.numel() * array.element_size() for array in arrays)
        return StoredMaps(arrays=arrays, n_bytes=n_bytes, built_s=float(facts["built_s"]), fresh=fresh)

    def _build(
        self, key: str, *, n_samples: int, chunk: int, compute: Callable[[Int64[ndarray, " sample"]], Maps]
    ) -> bool:
        """Writes the entry; False where it has no room. The caller holds the key's lock."""
        started = time.perf_counter()
        part = self.folder / f".{key}.part"
        shutil.rmtree(part, ignore_errors=True)  # left by a builder that was killed
        starts = range(0, n_samples, chunk)
        first = compute(np.arange(0, min(chunk, n_samples)))
        dtype = _storage(first)
        shapes = [(n_samples, *tensor.shape[1:]) for tensor in first]
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape in shapes]
        try:
            if not self._reserve(part, sizes):
                return False
            arrays = [
                np.memmap(part / f"{i}.bin", dtype=dtype, mode="r+", shape=shape) for i, shape in enumerate(shapes)
            ]
            for i_first in starts:
                samples = np.arange(i_first, min(i_first + chunk, n_samples))
                maps = first if i_first == 0 else compute(samples)
                if dtype is np.float16 and _storage(maps) is not np.float16:
                    return False  # rare: one chunk's values do not fit the first one's type
                for array, tensor in zip(arrays, maps, strict=True):
                    array[samples] = tensor.detach().float().cpu().numpy().astype(dtype)
            for array in arrays:
                array.flush()
            facts = {
                "maps": [{"shape": list(shape), "dtype": np.dtype(dtype).name} for shape in shapes],
                "built_s": time.perf_counter() - started,
            }
            write_json(part / _FACTS, facts)
            shutil.rmtree(self.folder / key, ignore_errors=True)  # one that could not be read
            part.rename(self.folder / key)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return True

    def _reserve(self, part: Path, sizes: Sequence[int]) -> bool:
        """Makes `part` with files of these sizes, evicting what was used longest ago; False where they never fit."""
        n_bytes = sum(sizes)
        with wait_for(self.folder / ".room.lock"):
            if n_bytes > min(self.limit_bytes, _FREE_FRACTION * shutil.disk_usage(self.folder).free):
                return False
            used = self.used_bytes()
            for entry in sorted(self._entries(), key=_last_used):
                if used + n_bytes <= self.limit_bytes:
                    break
                if not entry.name.startswith(".") or self._is_abandoned(entry):
                    used -= _size(entry)
                    shutil.rmtree(entry, ignore_errors=True)
            part.mkdir()
            for i, size in enumerate(sizes):
                _allocate(part / f"{i}.bin", size)
        return True

    def _is_abandoned(self, part: Path) -> bool:
        """Whether an entry in the making has lost its builder."""
        return not is_held(self.folder / f"{part.name[1:].removesuffix('.part')}.lock")

    def _entries(self) -> Sequence[Path]:
        return [path for path in self.folder.iterdir() if path.is_dir()]


def rounded(maps: Maps) -> Maps:
    """The maps in float32, as the store would give them back."""
    half = _storage(maps) is np.float16
    return tuple(tensor.half().float() if half else tensor.float() for tensor in maps)


def _storage(maps: Maps) -> Any:
    """The narrowest type that holds the values: float16, unless one is too large for it."""
    fits = all(not tensor.numel() or float(tensor.detach().abs().max()) < _LARGEST_HALF for tensor in maps)
    return np.float16 if fits else np.float32


def _allocate(path: Path, n_bytes: int) -> None:
    """Makes a file whose blocks are there: writing to its map cannot find the disk full."""
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, n_bytes)


def _size(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in entry.iterdir())
    return 0


def _last_used(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return entry.stat().st_mtime
    return 0.0
