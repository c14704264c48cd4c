"""A `.npy` file filled item by item, and its header read without loading it.

Written with plain writes, not through a memory map: on a full disk a map kills the process, a write raises.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tissueclock.errors import CohortError

np_format: Any = np.lib.format  # numpy leaves these functions without types


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What a `.npy` file says of itself; the data begin `offset_bytes` into the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset_bytes: int


class ArrayFile:
    """A `.npy` file under construction, of one dtype and shape, C order; items of the first axis come in any order."""

    def __init__(self, path: Path, *, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._item_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self._dtype.itemsize
        self._stream: BinaryIO = path.open("wb")
        np_format.write_array_header_1_0(
            self._stream,
            {"descr": np_format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape},
        )
        self._offset = self._stream.tell()

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flushes to the disk and closes; again is harmless."""
        if not self._stream.closed:
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
            finally:
                self._stream.close()

    def write(self, i_item: int, item: npt.NDArray[Any]) -> None:
        """Writes one item; `item` has the shape of the file's axes after the first."""
        if item.shape != self._shape[1:]:
            raise ValueError(f"item {i_item}: shape {item.shape} found; {self._shape[1:]} expected")
        self._stream.seek(self._offset + i_item * self._item_bytes)
        self._stream.write(np.ascontiguousarray(item, dtype=self._dtype).tobytes())


def read_array_header(path: Path) -> ArrayHeader:
    """Reads the header of a `.npy` file and checks that the file is as long as the header says.

    Raises:
        CohortError: The file is missing, is no `.npy` file, or is shorter or longer than it should be.
    """
    try:
        with path.open("rb") as stream:
            version = np_format.read_magic(stream)
            read = np_format.read_array_header_1_0 if version == (1, 0) else np_format.read_array_header_2_0
            shape, _, dtype = read(stream)
            offset = stream.tell()
    except FileNotFoundError:
        raise CohortError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CohortError(f"{path}: not a .npy file ({error})") from error
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    found = path.stat().st_size
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise CohortError(f"{path}: {state}: {found} bytes found; {expected} expected for {dtype} {shape}")
    return ArrayHeader(dtype=dtype, shape=tuple(shape), offset_bytes=offset)
