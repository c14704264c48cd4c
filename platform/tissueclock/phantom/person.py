"""One person's brain: the template bent a little, its sulci wider or narrower, not quite alike on both sides."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from tissueclock.grid import Grid, mirror
from tissueclock.phantom.anatomy import Brain, Tissues, template
from tissueclock.phantom.fields import draw_field

WARP_LENGTH_MM, WARP_SYMMETRIC_SD_MM, WARP_ASYMMETRIC_SD_MM = 45.0, 2.5, 0.5
SCALE_SD = 0.02
SULCUS_LENGTH_MM = 14.0
MEAN_AGE_Y, ATROPHY_PER_YEAR = 70.0, 0.006

Warp = Float[np.ndarray, "axis slice height width"]
"""Slice, row and column of the template, in voxels, for each voxel of the person."""


def draw_tissues(grid: Grid, *, age_y: float, csf_asymmetry_sd: float, rng: np.random.Generator) -> Tissues:
    """Draws the tissue fractions of one person.

    Args:
        grid: The voxels of the brain.
        age_y: Widens the sulci, the same on both sides.
        csf_asymmetry_sd: How differently, here and there.
        rng: Where chance comes from.
    """
    bent = bend(template(grid), draw_warp(grid, rng))
    return draw_sulci(grid, tissues=bent, age_y=age_y, csf_asymmetry_sd=csf_asymmetry_sd, rng=rng)


def bend(base: Tissues, coordinates: Warp) -> Tissues:
    """The tissues as a warp moves them: each voxel takes its fractions from where the coordinates say."""
    return Tissues(
        *(
            map_coordinates(fraction, coordinates, order=1, mode="constant", prefilter=False)
            for fraction in (base.gm, base.wm, base.csf)
        )
    )


def draw_sulci(
    grid: Grid, *, tissues: Tissues, age_y: float, csf_asymmetry_sd: float, rng: np.random.Generator
) -> Tissues:
    """Draws how wide the sulci are; the arguments are those of `draw_tissues`."""
    widening = ATROPHY_PER_YEAR * (age_y - MEAN_AGE_Y) + csf_asymmetry_sd * draw_field(
        grid, length_mm=SULCUS_LENGTH_MM, rng=rng
    )
    return widen_sulci(tissues, widening)


def widen_sulci(tissues: Tissues, widening: Brain) -> Tissues:
    """Raises the CSF share of each voxel's brain to the power exp(-widening), at the cost of grey and white matter.

    Pure tissue stays pure, and what is brain stays brain.
    """
    inside = np.maximum(tissues.inside, 1e-6)
    share = np.clip(tissues.csf / inside, 0.0, 1.0)
    widened = share ** np.exp(-widening)
    left = (1.0 - widened) / np.maximum(1.0 - share, 1e-6)
    solid = np.where(share < 1.0, left, 0.0).astype(np.float32)
    return Tissues(tissues.gm * solid, tissues.wm * solid, (inside * widened).astype(np.float32))


def draw_warp(grid: Grid, rng: np.random.Generator) -> Warp:
    """Draws from where each voxel takes its tissue: a scale, and a smooth shift mostly alike on both sides."""
    coordinates = np.indices(grid.whole_shape, dtype=np.float32)
    for i, (n_voxels, spacing) in enumerate(zip(grid.whole_shape, grid.spacing_mm, strict=True)):
        middle = (n_voxels - 1) / 2
        coordinates[i] = middle + (coordinates[i] - middle) * np.float32(1.0 + SCALE_SD * rng.standard_normal())
        field = draw_field(grid, length_mm=WARP_LENGTH_MM, rng=rng)
        sign = -1.0 if i == 2 else 1.0
        symmetric = (field + sign * mirror(field)) / np.sqrt(2.0)
        own = draw_field(grid, length_mm=WARP_LENGTH_MM, rng=rng)
        coordinates[i] += (WARP_SYMMETRIC_SD_MM * symmetric + WARP_ASYMMETRIC_SD_MM * own) / spacing
    return coordinates
