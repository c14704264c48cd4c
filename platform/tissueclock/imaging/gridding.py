"""A patient's series on the grid of the cohort: transforms composed, and each series interpolated once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tissueclock.grid import Grid
from tissueclock.imaging.atlas import Atlas
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.placing import Placed
from tissueclock.imaging.transform import Transform, resample
from tissueclock.imaging.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class OnGrid:
    """A patient's series on the grid, before their brightness is scaled.

    Attributes:
        series: b0, b1000 and, if there, flair, with what surrounds the brain.
        mask: The brain, where every series was scanned.
        own_mask: The mask that b0 alone gave, brought to the grid.
        scanned: Where every series was scanned.
    """

    series: Mapping[str, Volume]
    mask: Mask
    own_mask: Mask
    scanned: Mask


def bring_to_grid(placed: Placed, grid: Grid) -> OnGrid:
    """Interpolates a patient's series onto the grid.

    Returns:
        Volumes with x from the patient's left to right, y from front to back, z from below to above.
    """
    chains = {"b0": (placed.b0, placed.b0_from_atlas)}
    chains["b1000"] = (placed.b1000, placed.b0_from_atlas.then(placed.b1000_from_b0))
    if placed.flair is not None and placed.flair_from_b0 is not None:
        chains["flair"] = (placed.flair, placed.b0_from_atlas.then(placed.flair_from_b0))
    series = {name: onto_grid(volume, transform, grid) for name, (volume, transform) in chains.items()}
    scanned = np.logical_and.reduce(
        [
            onto_grid(volume.like(np.ones_like(volume.data)), transform, grid).data >= 0.5
            for volume, transform in chains.values()
        ]
    )
    brain = onto_grid(placed.b0.like(placed.mask), placed.b0_from_atlas, grid).data >= 0.5
    own = onto_grid(placed.b0.like(placed.own_mask), placed.b0_from_atlas, grid).data >= 0.5
    return OnGrid(series, brain & scanned, own, np.asarray(scanned))


def onto_grid(volume: Volume, atlas_to_volume: Transform, grid: Grid) -> Volume:
    """A volume on the grid; shares of voxels stay shares."""
    n_slices, height, width = grid.whole_shape
    return resample(volume, shape=(width, height, n_slices), affine=grid.affine, transform=atlas_to_volume)


def atlas_on_grid(atlas: Atlas, grid: Grid) -> Mask:
    """The atlas brain on the grid."""
    return np.asarray(onto_grid(atlas.mask_volume, Transform(np.eye(4)), grid).data >= 0.5)
