"""Where the voxels of a hemisphere lie in MNI space, and how a whole brain on such a grid falls into two halves.

Whole brains are arrays (slice, height, width) from inferior to superior, from anterior to posterior, from the patient's
left to right; a half has its lateral side first and the midline last, the right one after mirroring.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from tissueclock.errors import CohortError

Side = Literal["left", "right"]
"""Of the patient."""

BOX_MM = (136.0, 184.0, 74.0)
"""What is imaged: vertex to the lower cerebellum, frontal to occipital pole, midline to the side."""

_BOX_CENTRE_MM = (15.0, -17.0)
"""MNI z and y of the box's centre; x is 0 at the midline."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a hemisphere lie: in MNI space, the box's centre in the middle.

    Attributes:
        shape: Slices, height and width of a half.
        spacing_mm: Distance of slices, rows and columns.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def whole_shape(self) -> tuple[int, int, int]:
        """Of both halves side by side."""
        return self.shape[0], self.shape[1], 2 * self.shape[2]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.spacing_mm) / 1000.0

    def axes_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """MNI z of the slices, y of the rows and x of the whole brain's columns."""
        n_slices, height, width = self.whole_shape
        (slice_mm, row_mm, column_mm), (z_mm, y_mm) = self.spacing_mm, _BOX_CENTRE_MM
        slices, rows, columns = (np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in (n_slices, height, width))
        return z_mm + slices * slice_mm, y_mm - rows * row_mm, columns * column_mm

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """From voxel (column, row, slice) of the whole brain to MNI mm (x, y, z): what a NIfTI file of it holds."""
        z, y, x = self.axes_mm()
        slice_mm, row_mm, column_mm = self.spacing_mm
        affine = np.diag([column_mm, -row_mm, slice_mm, 1.0])
        affine[:3, 3] = x[0], y[0], z[0]
        return affine


def make_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None = None) -> Grid:
    """A grid of halves.

    Args:
        shape: Slices, height and width, each at least 2.
        spacing_mm: Distances; None spreads the shape over the whole half brain.

    Raises:
        CohortError: An axis is shorter than 2 voxels, or a spacing is not above 0.
    """
    if min(shape) < 2:
        raise CohortError(f"grid: shape {shape} found; each axis needs at least 2 voxels")
    if spacing_mm is None:
        slice_mm, row_mm, column_mm = (extent / n for extent, n in zip(BOX_MM, shape, strict=True))
        spacing_mm = (round(slice_mm, 4), round(row_mm, 4), round(column_mm, 4))
    if not all(0 < spacing < math.inf for spacing in spacing_mm):
        raise CohortError(f"grid: spacing_mm {spacing_mm} found; each must be above 0")
    return Grid(shape, spacing_mm)


def mirror(whole: Float[np.ndarray, "*leading width"]) -> Float[np.ndarray, "*leading width"]:
    """The brain seen in a mirror: left and right change places."""
    return whole[..., ::-1]


def split_halves(
    whole: npt.NDArray[np.generic],
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """The left half and the right one mirrored onto it (last axis is width)."""
    width = whole.shape[-1] // 2
    return whole[..., :width], whole[..., width:][..., ::-1]
