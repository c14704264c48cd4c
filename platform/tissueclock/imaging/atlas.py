"""The T2w MNI-152 brain that b0 images are registered to: a file of the user's, or one made of what nilearn ships.

nilearn ships no T2w template. It ships the tissue maps of ICBM 2009a (nonlinear, symmetric; Fonov et al. 2011, doi
10.1016/j.neuroimage.2010.07.033), and a T2w brain is their mixture with the tissues' T2w brightness.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from tissueclock.errors import ImageError
from tissueclock.imaging.transform import coarsen
from tissueclock.imaging.volume import Volume, read_volume
from tissueclock.storage.files import digest_file

T2W = (0.42, 0.30, 1.3)
"""Brightness of grey matter, white matter and fluid on b0, arbitrary units: spin echo, TE 90 ms."""

DIFFUSION = (1.0, 0.8, 0.3)
"""Brightness of the same tissues on b1000 (ADC 0.88, 0.79 and 3 um2/ms): what was brightest is darkest."""

_FLUID_FROM, _FLUID_OVER = 1.15, 0.5
"""A user's T2w atlas has no tissue maps: from 1.15 of its median on, and wholly from 1.65 on, a voxel is fluid."""

SPACING_MM = 2.0
_MIN_BRAIN_ML, _MAX_BRAIN_ML = 700.0, 2500.0


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """A brain to register to.

    Attributes:
        name: What it is called in derivatives.
        digest: SHA-256 of what it was made of.
        brain: T2-weighted, 0 outside the brain, voxels of about 2 mm; MNI mm.
        diffusion: The same brain diffusion-weighted.
        mask: Where the brain is, on the same voxels.
    """

    name: str
    digest: str
    brain: Volume
    diffusion: Volume
    mask: Bool[np.ndarray, "x y z"]

    @property
    def mask_volume(self) -> Volume:
        """The mask as an image of zeros and ones."""
        return self.brain.like(self.mask)

    @property
    def brain_ml(self) -> float:
        """Volume of the brain."""
        return float(self.mask.sum()) * self.brain.voxel_ml

    def near(self, *, reach_mm: float) -> Bool[np.ndarray, "x y z"]:
        """The mask grown by `reach_mm`."""
        return np.asarray(distance_transform_edt(~self.mask, sampling=self.brain.spacing_mm) <= reach_mm)


@lru_cache(maxsize=2)
def load_atlas(file: Path | None = None, mask_file: Path | None = None) -> Atlas:
    """The atlas in `file`, or the default one.

    Args:
        file: A T2w brain in MNI space. Without a mask it must be skull-stripped: 0 outside the brain.
        mask_file: Where its brain is, on the same voxels.

    Raises:
        ImageError: A file cannot be read, the mask lies on other voxels, or what it holds is not the size of a brain.
    """
    if file is None:
        if mask_file is not None:
            raise ImageError(f"{mask_file}: a mask without an atlas; name the atlas with --atlas too")
        return _default_atlas()
    whole = read_volume(file)
    if mask_file is None:
        inside = whole.data > 0.02 * float(np.percentile(whole.data, 99.0))
        hint = "is it skull-stripped? Else name its brain mask with --atlas-mask"
    else:
        mask = read_volume(mask_file)
        if mask.data.shape != whole.data.shape or not np.allclose(mask.affine, whole.affine, atol=1e-3):
            raise ImageError(f"{mask_file}: lies on other voxels than {file}; the two must be on the same")
        inside, hint = mask.data > 0.5, "is it a brain mask?"
    found_ml = float(inside.sum()) * whole.voxel_ml
    if not _MIN_BRAIN_ML <= found_ml <= _MAX_BRAIN_ML:
        allowed = f"a brain has {_MIN_BRAIN_ML:.0f} to {_MAX_BRAIN_ML:.0f}"
        raise ImageError(f"{mask_file or file}: {found_ml:.0f} ml inside; {allowed}; {hint}")
    digests = [digest_file(path) for path in (file, mask_file) if path is not None]
    relative = whole.data / max(float(np.median(whole.data[inside])), 1e-12)
    fluid = np.clip((relative - _FLUID_FROM) / _FLUID_OVER, 0.0, 1.0)
    diffusion = whole.like(np.minimum(relative, 1.0) * (1.0 - fluid) + DIFFUSION[2] * fluid)
    return _make_atlas(file.name, "+".join(digests), whole, diffusion, binary_fill_holes(inside))


def _default_atlas() -> Atlas:
    grey, white, mask = (
        load(resolution=1) for load in (load_mni152_gm_template, load_mni152_wm_template, load_mni152_brain_mask)
    )
    gm, wm, inside = (np.asarray(image.dataobj, dtype=np.float32) for image in (grey, white, mask))
    fluid = np.clip(inside - gm - wm, 0.0, 1.0)
    affine = np.asarray(grey.affine, dtype=np.float64)
    t2w, diffusion = (Volume(g * gm + w * wm + f * fluid, affine) for g, w, f in (T2W, DIFFUSION))
    return _make_atlas("ICBM2009a", f"nilearn {T2W} {DIFFUSION}", t2w, diffusion, inside > 0.5)


def _make_atlas(name: str, digest: str, t2w: Volume, diffusion: Volume, inside: Bool[np.ndarray, "x y z"]) -> Atlas:
    brain, weighted = (
        coarsen(whole.like(np.where(inside, whole.data, 0.0)), spacing_mm=SPACING_MM) for whole in (t2w, diffusion)
    )
    mask = coarsen(t2w.like(inside), spacing_mm=SPACING_MM).data >= 0.5
    return Atlas(name, digest, brain, weighted, mask)
