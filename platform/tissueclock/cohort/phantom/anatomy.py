"""The template: tissue fractions of the ICBM152 brain on any grid, and one person's variation on it.

Whole brains are arrays (slice, height, width) from inferior to superior, from anterior to posterior, from the patient's
left to right; a half has its lateral side first and the midline last, the right one after mirroring.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

from tissueclock.errors import CohortError

Brain = Float[np.ndarray, "slice height width"]

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


@dataclass(frozen=True, slots=True)
class Tissues:
    """Fractions of a voxel, 0 to 1; what the three leave is outside the brain."""

    gm: Brain
    wm: Brain
    csf: Brain

    @property
    def solid(self) -> Brain:
        """Grey and white matter: where a stroke can be."""
        return np.asarray(self.gm + self.wm)

    @property
    def inside(self) -> Brain:
        """Brain of any kind."""
        return np.asarray(self.gm + self.wm + self.csf)


def make_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None = None) -> Grid:
    """A grid of halves.

    Args:
        shape: Slices, height and width, each at least 2.
        spacing_mm: Distances; None spreads the shape over the whole half brain.

    Raises:
        CohortError: An axis is shorter than 2 voxels, or a spacing is not above 0.
    """
    if min(shape) < 2:
        raise CohortError(f"phantom: shape {shape} found; each axis needs at least 2 voxels")
    if spacing_mm is None:
        slice_mm, row_mm, column_mm = (extent / n for extent, n in zip(BOX_MM, shape, strict=True))
        spacing_mm = (round(slice_mm, 4), round(row_mm, 4), round(column_mm, 4))
    if not all(0 < spacing < math.inf for spacing in spacing_mm):
        raise CohortError(f"phantom: spacing_mm {spacing_mm} found; each must be above 0")
    return Grid(shape, spacing_mm)


@lru_cache(maxsize=4)
def template(grid: Grid) -> Tissues:
    """The ICBM152 tissue fractions on a grid, averaged over each voxel's box, the same in both halves.

    Grey and white matter are the maps that nilearn ships (nothing is downloaded); CSF is the rest of the brain mask.
    """
    maps = [load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)]
    gm, wm = (np.asarray(image.dataobj, dtype=np.float32) for image in maps)
    mask = np.asarray(load_mni152_brain_mask(resolution=1).dataobj, dtype=np.float32)
    csf = np.clip(mask - gm - wm, 0.0, 1.0)
    origin, step = maps[0].affine[:3, 3], np.diag(maps[0].affine)[:3]
    gm, wm, csf = (resample_box(volume, origin_mm=origin, step_mm=step, grid=grid) for volume in (gm, wm, csf))
    return Tissues(*((fraction + fraction[:, :, ::-1]) / 2 for fraction in (gm, wm, csf)))


def resample_box(
    volume: Float[np.ndarray, "x y z"],
    *,
    origin_mm: npt.NDArray[np.float64],
    step_mm: npt.NDArray[np.float64],
    grid: Grid,
) -> Brain:
    """Averages a volume in MNI space over each voxel's box, so that fractions stay fractions and nothing aliases.

    Args:
        volume: Values at x, y, z.
        origin_mm: MNI x, y, z of its first voxel's centre.
        step_mm: From a voxel to the next; negative where the axis runs down.
        grid: Where to.

    Returns:
        The whole brain on the grid; 0 beyond the volume.
    """
    z, y, x = (
        _overlaps(
            centres_mm=centres,
            width_mm=width,
            origin_mm=float(origin_mm[i]),
            step_mm=float(step_mm[i]),
            n=volume.shape[i],
        )
        for i, centres, width in zip((2, 1, 0), grid.axes_mm(), grid.spacing_mm, strict=True)
    )
    return np.asarray(np.einsum("xyz,sz,hy,wx->shw", volume, z, y, x, optimize=True), dtype=np.float32)


def _overlaps(
    *, centres_mm: npt.NDArray[np.float64], width_mm: float, origin_mm: float, step_mm: float, n: int
) -> Float[np.ndarray, "to from"]:
    """The share of each target voxel (row) that each source voxel (column) covers."""
    sources = origin_mm + step_mm * np.arange(n)
    half = (width_mm + abs(step_mm)) / 2
    apart = np.abs(centres_mm[:, None] - sources[None, :])
    covered = np.minimum(half - apart, min(width_mm, abs(step_mm)))
    return (np.clip(covered, 0.0, None) / width_mm).astype(np.float32)


def mirror(whole: Float[np.ndarray, "*leading width"]) -> Float[np.ndarray, "*leading width"]:
    """The brain seen in a mirror: left and right change places."""
    return whole[..., ::-1]


def split_halves(
    whole: npt.NDArray[np.generic],
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """The left half and the right one mirrored onto it (last axis is width)."""
    width = whole.shape[-1] // 2
    return whole[..., :width], whole[..., width:][..., ::-1]
