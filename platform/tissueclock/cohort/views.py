"""Hemispheres of a packed cohort as tensors: what a sweep may see, and what is kept for the end.

Neither view gives out the other's hemispheres.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float16
from torch import Tensor

from tissueclock.cohort.split import Split
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.table import Hemisphere
from tissueclock.errors import CohortError, HoldoutLeakError

Rows = npt.NDArray[np.int64] | Tensor


class SweepView:
    """The train and validation hemispheres of a cohort; a holdout patient asked of it raises."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._holdout = np.array([hemisphere.split == "holdout" for hemisphere in cohort.table])

    def __reduce__(self) -> tuple[Any, ...]:
        return (SweepView, (self._cohort,))

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """The rows of `train` or `validation`, ascending.

        Raises:
            HoldoutLeakError: The holdout was asked for.
        """
        if split == "holdout":
            raise HoldoutLeakError(
                f"{self._cohort.folder}: a sweep asked for the holdout; it may see train and validation"
            )
        return self._cohort.split_rows(split)

    def read(self, rows: Rows) -> Float16[Tensor, "row series slice height width"]:
        """Gathers hemispheres from the memory map in one copy.

        Args:
            rows: Integers, in any order, repeats allowed.

        Returns:
            Hemispheres on the CPU in the order of `rows`.

        Raises:
            HoldoutLeakError: A row belongs to a holdout patient.
            CohortError: A row does not exist.
        """
        return _gather(self._cohort, self._checked(rows))

    def facts(self, rows: Rows) -> tuple[Hemisphere, ...]:
        """The table's rows, under the same guard as `read`.

        Raises:
            HoldoutLeakError: A row belongs to a holdout patient.
            CohortError: A row does not exist.
        """
        return tuple(self._cohort.table[row] for row in self._checked(rows))

    def _checked(self, rows: Rows) -> npt.NDArray[np.int64]:
        index = _index(self._cohort, rows)
        if (leaks := self._holdout[index]).any():
            patient = self._cohort.table[int(index[leaks][0])].patient
            raise HoldoutLeakError(
                f"{self._cohort.folder}: a sweep asked for holdout patient {patient} (row {int(index[leaks][0])}); "
                "it may see train and validation"
            )
        return index


class HoldoutView:
    """The holdout hemispheres of a cohort, for scoring promoted checkpoints; other patients asked of it raise."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._holdout = np.array([hemisphere.split == "holdout" for hemisphere in cohort.table])

    def __reduce__(self) -> tuple[Any, ...]:
        return (HoldoutView, (self._cohort,))

    def rows(self, split: Split = "holdout") -> npt.NDArray[np.int64]:
        """The holdout's rows, ascending.

        Raises:
            CohortError: Another split was asked for.
        """
        if split != "holdout":
            raise CohortError(f"{self._cohort.folder}: the holdout view was asked for {split}; it has the holdout only")
        return self._cohort.split_rows(split)

    def read(self, rows: Rows) -> Float16[Tensor, "row series slice height width"]:
        """Gathers hemispheres as `SweepView.read` does.

        Raises:
            CohortError: A row does not exist or is not of the holdout.
        """
        return _gather(self._cohort, self._checked(rows))

    def facts(self, rows: Rows) -> tuple[Hemisphere, ...]:
        """The table's rows, under the same guard as `read`.

        Raises:
            CohortError: A row does not exist or is not of the holdout.
        """
        return tuple(self._cohort.table[row] for row in self._checked(rows))

    def _checked(self, rows: Rows) -> npt.NDArray[np.int64]:
        index = _index(self._cohort, rows)
        if (others := ~self._holdout[index]).any():
            row = int(index[others][0])
            raise CohortError(
                f"{self._cohort.folder}: row {row} is of {self._cohort.table[row].split}, not the holdout"
            )
        return index


def _index(cohort: Cohort, rows: Rows) -> npt.NDArray[np.int64]:
    index: npt.NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
    n_rows = len(cohort.table)
    if index.size and (index.min() < 0 or index.max() >= n_rows):
        bad = int(index.min() if index.min() < 0 else index.max())
        raise CohortError(f"{cohort.folder}: row {bad} asked for; there are rows 0 to {n_rows - 1}")
    return index


def _gather(cohort: Cohort, index: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(cohort.copy_on_write).index_select(0, torch.from_numpy(index))
