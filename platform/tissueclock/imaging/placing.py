"""Where a patient's series lie: bias divided out, brain found, atlas found in it, other series put onto b0.

The steps are those of Zhang et al. (2021, doi 10.1016/j.compmedimag.2021.101926): N4, MNI orientation, brain, affine
map of b0 to the atlas, brain again, other series onto b0. Here they are only found; nothing is interpolated yet.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_dilation, binary_fill_holes

from tissueclock.errors import ImageError
from tissueclock.imaging.atlas import Atlas
from tissueclock.imaging.backend import Backend, RegistrationKind
from tissueclock.imaging.bias import estimate_bias
from tissueclock.imaging.extraction import BEYOND_MM, Mask, is_stripped, refine_mask
from tissueclock.imaging.registration import REACH_MM, Found, find_brain
from tissueclock.imaging.series import PatientSeries
from tissueclock.imaging.stopwatch import Stopwatch
from tissueclock.imaging.transform import Affine, Transform, resample
from tissueclock.imaging.volume import Volume

UPSIDE_DOWN = 1.0
"""Where the atlas fits a head that stands on its top better by this ratio, the header is wrong."""

MIN_SIMILARITY = 0.02
BRIGHTEST = 1.5
"""Where the tissue image is cut off, relative to its median in the brain: acute lesions are brighter."""

FLUID_PERCENTILE, DARK_FLUID = 98.0, 0.75
"""The brightest voxels of b0 are fluid; on a diffusion image they keep less than this share of what tissue keeps."""

_RIM_MM = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A patient's series, corrected for bias on their own voxels, and where they lie.

    Attributes:
        b0: b0 with all that surrounds the brain.
        b1000: b1000, likewise.
        flair: FLAIR, likewise, or None.
        own_mask: b0's own brain mask, before the atlas was asked; or the one that was given.
        mask: The brain on b0's voxels.
        b0_from_atlas: The map from atlas to b0.
        b1000_from_b0: The rigid map from b0 to b1000.
        flair_from_b0: The rigid map from b0 to FLAIR, or None.
        found: What the coarse search found.
        stripped: Whether the skull was gone already.
        bias_range: 1st and 99th percentile of b0's bias field in the brain.
    """

    b0: Volume
    b1000: Volume
    flair: Volume | None
    own_mask: Mask
    mask: Mask
    b0_from_atlas: Transform
    b1000_from_b0: Affine
    flair_from_b0: Affine | None
    found: Found
    stripped: bool
    bias_range: tuple[float, float]


def place(
    series: PatientSeries,
    *,
    subject: str,
    atlas: Atlas,
    backend: Backend,
    kind: RegistrationKind,
    watch: Stopwatch,
    given: Mask | None = None,
) -> Placed:
    """Finds the brain, where the atlas lies in it, and where each series lies against b0.

    Args:
        series: The patient's images as they were read.
        subject: Who, for messages.
        atlas: What b0 is registered to.
        backend: Who extracts and registers.
        kind: Affine, or SyN on top.
        watch: Is told what each step took.
        given: The brain on b0's voxels where the user knows it; it is taken as it is.

    Raises:
        ImageError: No brain is found, the head stands on its top, or FLAIR shows another place.
    """
    with watch.step("extract"):
        own, stripped = _own_mask(series.b0, backend, given)
        if not own.any():
            raise ImageError(f"{subject}: no brain found in b0; is it a head?")
    with watch.step("bias"):
        b0, b1000, field = even_out(series, own)
    with watch.step("find"):
        found = find_brain(b0, atlas)
        _check_found(found, subject)
    with watch.step("register series"):
        b1000_from_b0 = backend.rigid(b1000, b0, mask=_grown(own, b0))
    with watch.step("register"):
        tissue = tissue_image(b0, b1000, b1000_from_b0=b1000_from_b0, mask=own)
        pairs = [(b0, atlas.brain)] if tissue is None else [(tissue, atlas.diffusion), (b0, atlas.brain)]
        near = atlas.near(reach_mm=REACH_MM)
        b0_from_atlas = backend.to_atlas(pairs, near=near, start=found.b0_from_atlas, kind=kind)
    with watch.step("extract"):
        mask = given
        if mask is None:
            mask = own if tissue is None or stripped else backend.extract(tissue)
            beyond_mm = 0.0 if tissue is None else BEYOND_MM
            mask = refine_mask(mask, b0=b0, atlas=atlas, b0_from_atlas=b0_from_atlas, beyond_mm=beyond_mm)
        if not mask.any():
            raise ImageError(f"{subject}: no brain found in b0; is it a head, and is its unit millimetres?")
    flair = flair_from_b0 = None
    if series.flair is not None:
        flair, flair_from_b0 = _place_flair(series.flair, b0, mask, subject=subject, backend=backend, watch=watch)
    low, high = (float(value) for value in np.percentile(field[mask], (1, 99)))
    return Placed(
        b0=b0,
        b1000=b1000,
        flair=flair,
        own_mask=own,
        mask=mask,
        b0_from_atlas=b0_from_atlas,
        b1000_from_b0=b1000_from_b0,
        flair_from_b0=flair_from_b0,
        found=found,
        stripped=stripped,
        bias_range=(low, high),
    )


def _own_mask(b0: Volume, backend: Backend, given: Mask | None) -> tuple[Mask, bool]:
    """b0's own brain mask, and whether the skull was gone already: then it is what is not 0; or the mask given."""
    if given is not None:
        return given, is_stripped(b0, given)
    own = backend.extract(b0)
    if is_stripped(b0, own):
        return np.asarray(binary_fill_holes(b0.data != 0)), True
    return own, False


def _place_flair(
    flair: Volume, b0: Volume, mask: Mask, *, subject: str, backend: Backend, watch: Stopwatch
) -> tuple[Volume, Affine]:
    """FLAIR over its bias field, and where it lies on b0."""
    with watch.step("register series"):
        flair_from_b0 = backend.rigid(flair, b0, mask=_grown(mask, b0))
    with watch.step("bias"):
        flair_mask = _seen_from(flair, b0.like(mask), np.linalg.inv(flair_from_b0))
        if not flair_mask.any():
            raise ImageError(f"{subject}: FLAIR does not cover the brain that b0 shows; are the two of one head?")
        return flair.like(flair.data / estimate_bias(flair, mask=flair_mask)), flair_from_b0


def even_out(series: PatientSeries, mask: Mask) -> tuple[Volume, Volume, Float[np.ndarray, "x y z"]]:
    """b0 and b1000 over their bias field, and b0's field.

    Of one acquisition the two share a coil and so a field. It is estimated on their geometric mean, in which tissues
    differ least (fluid is bright on one and dark on the other): what was left of the bias on raw phantoms was 1.8 %
    (SD) where b0 alone left 4.7 %, of 7.8 %. Nor is a lesion, bright on one alone, so easily taken for unevenness.
    """
    b0, b1000 = series.b0, series.b1000
    if b1000.data.shape == b0.data.shape and np.allclose(b1000.affine, b0.affine, atol=1e-2):
        field = estimate_bias(b0.like(np.sqrt(b0.data * b1000.data)), mask=mask)
        return b0.like(b0.data / field), b1000.like(b1000.data / field), field
    field = estimate_bias(b0, mask=mask)
    own_field = estimate_bias(b1000, mask=_seen_from(b1000, b0.like(mask), np.eye(4)))
    return b0.like(b0.data / field), b1000.like(b1000.data / own_field), field


def tissue_image(b0: Volume, b1000: Volume, *, b1000_from_b0: Affine, mask: Mask) -> Volume | None:
    """b1000 on b0's voxels with its brightest cut off: an image of tissue, on which fluid is dark.

    That is what is registered and what tells brain from what surrounds it: on b0 the fluid around the brain is as
    bright as that within, and a head with much of it would be taken for a larger brain. A lesion's brightness is cut.

    Args:
        b0: Corrected for bias.
        b1000: Corrected for bias, too.
        b1000_from_b0: The rigid map from b0 to b1000.
        mask: The brain on b0's voxels, roughly.

    Returns:
        The image; None where b1000 is no darker in fluid than elsewhere: then it is no diffusion image.
    """
    seen = resample(b1000, shape=b0.shape, affine=b0.affine, transform=Transform(b1000_from_b0))
    ratio = seen.data / np.maximum(b0.data, 1e-6)
    fluid = mask & (b0.data > np.percentile(b0.data[mask], FLUID_PERCENTILE))
    if float(np.median(ratio[fluid])) > DARK_FLUID * float(np.median(ratio[mask])):
        return None
    return seen.like(np.minimum(seen.data / max(float(np.median(seen.data[mask])), 1e-12), BRIGHTEST))


def _check_found(found: Found, subject: str) -> None:
    if found.upside_down > UPSIDE_DOWN * max(found.similarity, 0.0):
        raise ImageError(
            f"{subject}: the head fits the atlas better upside down (similarity {found.upside_down:.3f} against "
            f"{found.similarity:.3f}); the header's slice axis is flipped"
        )
    if found.similarity < MIN_SIMILARITY:
        raise ImageError(
            f"{subject}: no brain found in b0 (similarity to the atlas {found.similarity:.3f}; "
            f"at least {MIN_SIMILARITY} is needed)"
        )


def _grown(mask: Mask, volume: Volume) -> Mask:
    """The mask and a rim in the plane of the slices; across thick slices it does not grow."""
    x, y, z = (min(4, round(_RIM_MM / edge)) for edge in volume.spacing_mm)
    footprint = np.ones((2 * x + 1, 2 * y + 1, 2 * (z if z > 1 else 0) + 1), dtype=bool)
    return np.asarray(binary_dilation(mask, structure=footprint))


def _seen_from(volume: Volume, mask: Volume, mask_from_volume: Affine) -> Mask:
    """A mask on the voxels of another volume."""
    moved = resample(mask, shape=volume.shape, affine=volume.affine, transform=Transform(mask_from_volume))
    return np.asarray(moved.data >= 0.5)
