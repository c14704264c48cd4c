"""The template: tissue fractions of the ICBM152 brain on any grid, and one person's variation on it.

Whole brains are arrays (slice, height, width), as `tissueclock.grid` lays them out.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

from tissueclock.grid import Grid

Brain = Float[np.ndarray, "slice height width"]


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
        """Grey matter, white matter and fluid together."""
        return np.asarray(self.gm + self.wm + self.csf)


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
        grid: The voxels to average over.

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
