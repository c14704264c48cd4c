"""One split's samples of one task, and batches of them, from the memory map to the device.

The cohort is never copied: a batch is one gather.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Int64, Shaped
from numpy import ndarray
from torch import Tensor

from tissueclock.errors import CohortError


@runtime_checkable
class HemisphereReader(Protocol):
    """What gives hemispheres by row: a view of a cohort."""

    def read(self, rows: ndarray | Tensor) -> Float16[Tensor, "batch series slice height width"]:
        """The hemispheres of these rows, in their order, on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One split's samples of one task.

    Attributes:
        view: Gives the hemispheres.
        rows: Their rows in the view.
        labels: 1 for positives, 0 for negatives.
        groups: Whose each is (a patient), if metrics are to count groups; None to count samples.

    Raises:
        CohortError: There are none, the lengths differ, or all labels are the same.
    """

    view: HemisphereReader
    rows: Int64[ndarray, " sample"]
    labels: Shaped[ndarray, " sample"]
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.rows)
        if len(self.labels) != n or (self.groups is not None and len(self.groups) != n):
            n_groups = "no" if self.groups is None else len(self.groups)
            raise CohortError(f"samples: {n} rows, {len(self.labels)} labels and {n_groups} groups do not match")
        if not np.isin(self.labels, (0, 1)).all():
            raise CohortError("samples: a label is neither 0 nor 1")
        n_positive = int(self.labels.sum())
        if n_positive in (0, n):
            raise CohortError(f"samples: {n_positive} of {n} are positive, but both classes are needed")

    def __len__(self) -> int:
        return len(self.rows)


def even_batches(order: Int64[ndarray, " sample"], *, batch_size: int) -> list[Int64[ndarray, " _"]]:
    """`order` cut into batches of at most `batch_size` whose sizes differ by at most 1: none is a remnant."""
    n_batches = max(1, -(-len(order) // batch_size))
    return list(np.array_split(order, n_batches))


def read_batches(
    view: HemisphereReader, batches: Sequence[Int64[ndarray, " _"]], *, device: torch.device
) -> Iterator[Float[Tensor, "_ series slice height width"]]:
    """The batches of these rows, in order, as float32 on `device`; see `read_ahead`."""
    for (batch,) in read_ahead(lambda rows: (view.read(rows),), batches, device=device):
        yield batch


def read_ahead(
    read: Callable[[Int64[ndarray, " _"]], tuple[Tensor, ...]],
    batches: Sequence[Int64[ndarray, " _"]],
    *,
    device: torch.device,
) -> Iterator[tuple[Tensor, ...]]:
    """What `read` gives for each batch, in order, as float32 on `device`.

    For a device other than the CPU, the next batch is read while the last one is at work.
    """
    if device.type == "cpu":
        for rows in batches:
            yield tuple(tensor.float() for tensor in read(rows))
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
        ahead = [reader.submit(_pinned, read, rows) for rows in batches[:1]]
        for i_next in range(1, len(batches) + 1):
            batch = ahead.pop().result()
            ahead = [reader.submit(_pinned, read, rows) for rows in batches[i_next : i_next + 1]]
            yield tuple(tensor.to(device, non_blocking=True).float() for tensor in batch)


def _pinned(
    read: Callable[[Int64[ndarray, " _"]], tuple[Tensor, ...]], rows: Int64[ndarray, " _"]
) -> tuple[Tensor, ...]:
    batch = read(rows)
    return tuple(tensor.pin_memory() for tensor in batch) if torch.cuda.is_available() else batch
