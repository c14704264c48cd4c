"""Brain masks that the user brings (HD-BET's, SynthStrip's, drawn ones): found by name, checked against b0."""

import re
from pathlib import Path

import numpy as np

from tissueclock.errors import ImageError
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.volume import Volume, read_volume

NAME_ENDS = ("_desc-brain_mask.nii.gz", "_desc-brain_mask.nii")
MAX_APART_MM = 0.5
"""How far a corner of the mask's grid may lie from b0's: tools round an affine, and some keep the qform alone."""

MAX_COVERED = 0.9
"""A mask of more than this share of the scan is no brain's: around a brain there is air."""

_SPACE = re.compile(r"_space-([A-Za-z0-9]+)")
_OF_DWI = {"dwi", "b0", "orig", "native", "individual"}


def find_brain_mask(folder: Path, subject: str, *, session: str | None = None) -> Path:
    """A patient's brain mask: the one `sub-*_desc-brain_mask.nii.gz` at any depth below the patient's folder.

    Masks in another space (`space-MNI152`) are passed over, so that derivatives of `preprocess` will do.

    Args:
        folder: Derivatives with `sub-*/`.
        subject: For example `sub-0001`.
        session: Which session, such as `ses-01`, where the patient's folder has them.

    Raises:
        ImageError: There is none, or several.
    """
    place = folder / subject
    if session is not None and (place / session).is_dir():
        place /= session
    found = sorted(path for path in place.rglob(f"{subject}_*") if path.name.endswith(NAME_ENDS) and path.is_file())
    native = [path for path in found if (space := _SPACE.search(path.name)) is None or space[1] in _OF_DWI]
    if len(native) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in native)
        raise ImageError(f"{subject}: brain masks {names} found; one is needed")
    if not native:
        others = f" ({', '.join(path.name for path in found)}: not in b0's space)" if found else ""
        raise ImageError(
            f"{subject}: no {subject}_*desc-brain_mask.nii.gz below {place}{others}; --brain-masks needs one"
        )
    return native[0]


def read_brain_mask(path: Path, *, b0: Volume) -> Mask:
    """A brain mask on b0's voxels.

    Args:
        path: Of two values, one of them 0.
        b0: Whose brain it is.

    Returns:
        True where the brain is, of b0's shape.

    Raises:
        ImageError: The file cannot be read, lies on another grid than b0, is not binary, is empty, or covers all.
    """
    try:
        mask = read_volume(path)
    except ImageError as error:
        if "has one value everywhere" in str(error):
            raise ImageError(
                f"{path}: one value everywhere; a brain mask is neither empty nor all of the scan"
            ) from error
        raise
    if mask.shape != b0.shape:
        raise ImageError(f"{path}: shape {mask.shape} found; b0's is {b0.shape}; a brain mask lies on b0's voxels")
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*b0.shape, 1]
    apart = float(np.linalg.norm((corners @ (mask.affine - b0.affine).T)[:, :3], axis=1).max())
    if apart > MAX_APART_MM:
        raise ImageError(
            f"{path}: its voxels lie up to {apart:.1f} mm from b0's; at most {MAX_APART_MM:g} is allowed "
            "(a mask of another image, or a flipped one?)"
        )
    values = np.unique(mask.data)
    if len(values) != 2 or values[0] != 0:
        raise ImageError(
            f"{path}: {len(values)} values from {values[0]:g} to {values[-1]:g} found; a brain mask has two, 0 and 1"
        )
    inside = np.asarray(mask.data > 0)
    if (covered := float(inside.mean())) > MAX_COVERED:
        raise ImageError(f"{path}: covers {covered:.0%} of the scan; a brain mask covers at most {MAX_COVERED:.0%}")
    return inside
