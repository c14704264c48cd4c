"""Where the brain is: median-Otsu on b0; once it is registered, median-Otsu on tissue and the atlas's opinion.

Median-Otsu is dipy's, made for diffusion b0 images (Garyfallidis et al. 2014, doi 10.3389/fninf.2014.00008).
"""

import numpy as np
from dipy.segment.mask import median_otsu
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, distance_transform_edt, label

from tissueclock.imaging.atlas import Atlas
from tissueclock.imaging.transform import Transform, resample
from tissueclock.imaging.volume import Volume

WORK_MM = 3.0
MEDIAN_RADIUS, N_PASSES = 2, 1
WITHIN_MM, BEYOND_MM = 4.0, 2.0
"""So far within and beyond the atlas mask's surface the image's own mask decides; elsewhere the atlas does."""

TRUSTED_DICE = 0.8
"""Where b0's own mask overlaps less with the atlas (a scalp as bright as the brain), the atlas decides alone."""

STRIPPED_ZEROS, STRIPPED_DICE, STRIPPED_MAX_ML = 0.3, 0.85, 2200.0

Mask = Bool[np.ndarray, "x y z"]


def is_stripped(volume: Volume, own_mask: Mask) -> bool:
    """Whether an image comes without its skull: much of it is exactly 0, and what is not is as large as its brain."""
    filled = binary_fill_holes(volume.data != 0)
    if float((~filled).mean()) < STRIPPED_ZEROS or float(filled.sum()) * volume.voxel_ml > STRIPPED_MAX_ML:
        return False
    return dice(filled, own_mask) >= STRIPPED_DICE


def extract_brain(b0: Volume) -> Mask:
    """A brain mask by median-Otsu on an image's own voxels; a bright scalp may be part of it.

    Worked out on voxels of 3 mm, so that thick slices do not count for more than thin ones.
    """
    shape, affine = _isotropic(b0)
    even = resample(b0, shape=shape, affine=affine)
    _, found = median_otsu(even.data, median_radius=MEDIAN_RADIUS, numpass=N_PASSES)
    whole = binary_fill_holes(_largest(np.asarray(found, dtype=bool)))
    on_b0 = resample(even.like(whole), shape=b0.shape, affine=b0.affine)
    return np.asarray(on_b0.data >= 0.5)


def refine_mask(own: Mask, *, b0: Volume, atlas: Atlas, b0_from_atlas: Transform, beyond_mm: float) -> Mask:
    """The brain mask after registration: the atlas's, with the image's own where the two are within a few mm.

    Args:
        own: The mask by `extract_brain`.
        b0: The image on whose voxels the masks lie.
        atlas: The atlas that was registered to b0.
        b0_from_atlas: The map from atlas to b0; a displacement, which is small, is left out here.
        beyond_mm: How far beyond the atlas brain the own mask is believed.
    """
    inside = signed_distance(b0, atlas=atlas, b0_from_atlas=b0_from_atlas)
    if dice(own, inside < 0) < TRUSTED_DICE:
        return np.asarray(inside < 0)
    mask = (inside < -WITHIN_MM) | (own & (inside < beyond_mm))
    return np.asarray(binary_fill_holes(_largest(mask)))


def signed_distance(b0: Volume, *, atlas: Atlas, b0_from_atlas: Transform) -> Float[np.ndarray, "x y z"]:
    """Distance of b0's voxels from the atlas mask's surface in atlas mm, negative inside."""
    edge = atlas.brain.spacing_mm
    signed = distance_transform_edt(~atlas.mask, sampling=edge) - distance_transform_edt(atlas.mask, sampling=edge)
    back = Transform(np.linalg.inv(b0_from_atlas.affine))
    far = float(signed.max())
    return resample(atlas.brain.like(signed), shape=b0.shape, affine=b0.affine, transform=back, outside=far).data


def dice(a: Mask, b: Mask) -> float:
    """Overlap of two masks: twice what they share over what they hold; 1 for equal, 0 for apart (Dice 1945)."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def _largest(mask: Mask) -> Mask:
    """The largest connected part, found on an eroded copy so that thin bridges (optic nerves, vessels) do not count."""
    core = binary_erosion(mask)
    parts, n_parts = label(core)
    if n_parts == 0:
        return mask
    biggest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.asarray(binary_dilation(parts == biggest, iterations=2) & mask)


def _isotropic(b0: Volume) -> tuple[tuple[int, int, int], Float[np.ndarray, "4 4"]]:
    """Voxels of `WORK_MM` that cover the same box."""
    x, y, z = (max(4, round(n * edge / WORK_MM)) for n, edge in zip(b0.data.shape, b0.spacing_mm, strict=True))
    scale = np.array(b0.data.shape) / np.array((x, y, z))
    inner = np.diag([*scale, 1.0])
    inner[:3, 3] = (scale - 1.0) / 2.0
    return (x, y, z), b0.affine @ inner
