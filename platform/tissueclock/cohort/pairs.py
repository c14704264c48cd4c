"""A hemisphere with the patient's other half behind it: what a reader means by comparing the sides.

The packed cohort holds the other half as another row, mirrored onto the same place. It is read through the same view,
so a sweep cannot reach a holdout patient by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float16
from torch import Tensor

from tissueclock.cohort.table import Hemisphere
from tissueclock.errors import CohortError


@runtime_checkable
class HalfReader(Protocol):
    """What gives hemispheres by row."""

    def read(self, rows: np.ndarray | Tensor) -> Float16[Tensor, "row series slice height width"]:
        """The hemispheres of these rows, in their order, on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class BothHalves:
    """Reads each hemisphere with the patient's other half.

    Attributes:
        view: Gives single hemispheres.
        other: For each row of the cohort, the row of the same patient's other half.
    """

    view: HalfReader
    other: npt.NDArray[np.int64]

    n_halves = 2

    def read(self, rows: np.ndarray | Tensor) -> Float16[Tensor, "row channel slice height width"]:
        """The hemispheres of these rows: their own series first, then those of the other halves.

        Raises:
            HoldoutLeakError: The view does not give out a row.
            CohortError: A row does not exist.
        """
        index = np.asarray(rows, dtype=np.int64)
        own, other = self.view.read(index), self.view.read(self.other[index])
        # not by torch.cat, which refuses half precision under bf16 autocast (torch 2.13)
        return torch.from_numpy(np.concatenate([own.numpy(), other.numpy()], axis=1))


def other_halves(table: Sequence[Hemisphere]) -> npt.NDArray[np.int64]:
    """For each row of the table, the row of the same patient's other half.

    Raises:
        CohortError: A patient has not one left and one right half.
    """
    place = {(hemisphere.patient, hemisphere.side): i for i, hemisphere in enumerate(table)}
    opposite = {"left": "right", "right": "left"}
    try:
        return np.array([place[each.patient, opposite[each.side]] for each in table], dtype=np.int64)  # type: ignore[index]
    except KeyError as error:
        patient, side = error.args[0]
        raise CohortError(f"hemispheres: patient {patient} has no {side} half to compare with") from error


def with_halves(view: HalfReader, table: Sequence[Hemisphere], *, n_halves: int) -> HalfReader:
    """The view itself for networks that see one half, else one that gives both."""
    return BothHalves(view, other_halves(table)) if n_halves == 2 else view
