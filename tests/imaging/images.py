"""Small images to test with: a toy head in RAS mm, and NIfTI files with one thing wrong."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from tissueclock.imaging.volume import Volume

SHAPE, SPACING_MM = (40, 44, 16), (4.0, 4.0, 7.0)


def centred_affine(shape: tuple[int, ...] = SHAPE, spacing: tuple[float, ...] = SPACING_MM) -> npt.NDArray[np.float64]:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


def toy_head(seed: int = 0) -> Volume:
    """A bright ellipsoid with a dark middle and a spot on the left, in noise that is never 0."""
    affine = centred_affine()
    x, y, z = (np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]).transpose(3, 0, 1, 2)
    brain = (x / 60) ** 2 + (y / 72) ** 2 + (z / 48) ** 2 < 1
    data = 5.0 + 100.0 * brain - 60.0 * ((x / 15) ** 2 + (y / 25) ** 2 + (z / 15) ** 2 < 1)
    data += 80.0 * ((x + 30) ** 2 + (y - 10) ** 2 + z**2 < 12**2)
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE)
    return Volume((data + noise).astype(np.float32), affine)


def save(path: Path, data: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None, **header: Any) -> Path:
    """A NIfTI file whose header says what it is told to say."""
    image = nibabel.Nifti1Image(data, centred_affine(data.shape[:3]) if affine is None else affine)
    image.header.set_xyzt_units("mm", "sec")
    for key, value in header.items():
        image.header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path
