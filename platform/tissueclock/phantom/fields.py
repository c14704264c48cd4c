"""Smooth random fields over the whole brain: sums of cosines, so that one costs three small matrix products."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from tissueclock.grid import Grid


@dataclass(frozen=True, slots=True)
class FieldBasis:
    """Cosines along each axis (voxel, mode) and the SD of every product's coefficient."""

    along_slices: Float[np.ndarray, "slice i"]
    along_rows: Float[np.ndarray, "height j"]
    along_columns: Float[np.ndarray, "width k"]
    coefficient_sd: Float[np.ndarray, "i j k"]


def draw_field(grid: Grid, *, length_mm: float, rng: np.random.Generator) -> Float[np.ndarray, "slice height width"]:
    """Draws a field with mean 0 and, over many draws, SD 1 on average over the brain box.

    Args:
        grid: The voxels that the field is drawn on.
        length_mm: Correlation length: structures smaller than about this are absent.
        rng: Where chance comes from.

    Returns:
        One value per voxel of the whole brain.
    """
    basis = _basis(grid, length_mm)
    coefficients = rng.standard_normal(basis.coefficient_sd.shape, dtype=np.float32) * basis.coefficient_sd
    planes = np.tensordot(basis.along_slices, coefficients, axes=(1, 0))
    rows = np.einsum("sjk,hj->shk", planes, basis.along_rows, optimize=True)
    return np.asarray(rows @ basis.along_columns.T, dtype=np.float32)


@lru_cache(maxsize=32)
def _basis(grid: Grid, length_mm: float) -> FieldBasis:
    axes, falls = [], []
    for n_voxels, spacing in zip(grid.whole_shape, grid.spacing_mm, strict=True):
        extent_mm = n_voxels * spacing
        n_modes = min(max(2, int(np.ceil(1.2 * extent_mm / length_mm))), n_voxels)
        modes = np.arange(n_modes)
        positions = (np.arange(n_voxels) + 0.5) / n_voxels
        axes.append(np.cos(np.pi * np.outer(positions, modes)).astype(np.float32))
        falls.append(np.exp(-0.5 * (modes * np.pi * length_mm / extent_mm / 2.0) ** 2))
    sd = np.einsum("i,j,k->ijk", *falls)
    sd[0, 0, 0] = 0.0
    power = np.einsum("i,j,k->ijk", *[(axis.astype(np.float64) ** 2).mean(axis=0) for axis in axes])
    sd /= np.sqrt((sd**2 * power).sum())
    slices, rows, columns = axes
    return FieldBasis(slices, rows, columns, sd.astype(np.float32))
