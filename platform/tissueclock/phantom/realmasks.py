"""Lesions drawn by people: NIfTI masks in MNI space, from a folder, put on the phantom's grid.

Masks above 300 ml are left out as suspect. A mask is mirrored at random, so that sides stay even.
"""

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from tissueclock.cohort.manifest import LesionSide
from tissueclock.errors import CohortError
from tissueclock.grid import Grid, mirror, split_halves
from tissueclock.phantom.anatomy import Brain, resample_box
from tissueclock.phantom.lesions import MAX_ML

_SIDE_SHARE = 0.02
"""A half holds lesion if at least this share of the volume lies in it."""


def list_masks(folder: Path) -> tuple[Path, ...]:
    """The NIfTI files of a folder, by name.

    Raises:
        CohortError: The folder is missing or holds none.
    """
    if not folder.is_dir():
        raise CohortError(f"{folder}: no such folder of lesion masks")
    masks = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    if not masks:
        raise CohortError(f"{folder}: no .nii or .nii.gz found; lesion masks in MNI space are needed")
    return tuple(masks)


def draw_mask(masks: Sequence[Path], *, grid: Grid, rng: np.random.Generator) -> tuple[Path, Brain, bool]:
    """Draws a mask that is neither empty on the grid nor suspect, mirrored or not.

    Args:
        masks: Where to draw from.
        grid: Where to put it.
        rng: Where chance comes from.

    Returns:
        The file, the share of each voxel that is lesion, and whether it was mirrored.

    Raises:
        CohortError: A file cannot be read, or none of them can be used.
    """
    for i in rng.permutation(len(masks)):
        lesion = read_mask(masks[int(i)], grid=grid)
        if lesion is not None:
            mirrored = bool(rng.uniform() < 0.5)
            return masks[int(i)], mirror(lesion) if mirrored else lesion, mirrored
    raise CohortError(f"{masks[0].parent}: no usable mask among {len(masks)}; each is empty or above {MAX_ML:.0f} ml")


def read_mask(path: Path, *, grid: Grid) -> Brain | None:
    """Reads a mask onto the grid; None where it is suspect or, on the grid, empty.

    Raises:
        CohortError: The file cannot be read, is not 3D, or its axes are turned against MNI's.
    """
    try:
        image = nibabel.load(path)
        volume = np.asarray(image.dataobj) > 0
    except (OSError, EOFError, ImageFileError) as error:
        raise CohortError(f"{path}: not a readable NIfTI file ({error})") from error
    affine = image.affine
    if volume.ndim != 3 or np.abs(affine[:3, :3] - np.diag(np.diag(affine[:3, :3]))).max() > 1e-3:
        raise CohortError(f"{path}: shape {volume.shape} found; a 3D mask with its axes along MNI's is needed")
    step = np.diag(affine)[:3]
    if not 0 < volume.sum() * abs(float(np.prod(step))) / 1000.0 <= MAX_ML:
        return None
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(volume))
    origin = affine[:3, 3] + step * np.array([axis.start for axis in box])
    lesion = resample_box(volume[box].astype(np.float32), origin_mm=origin, step_mm=step, grid=grid)
    return lesion if lesion.max() > 0 else None


def side_of(lesion: Brain) -> LesionSide:
    """Which halves hold a lesion."""
    left, right = (float(half.sum()) for half in split_halves(lesion))
    smallest = _SIDE_SHARE * (left + right)
    if left > smallest and right > smallest:
        return "both"
    return "left" if left > right else "right"
