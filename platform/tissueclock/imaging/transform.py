"""From one space to another: affines, displacement fields, and one resampling for all of them together.

Affines here map points in mm, right-anterior-superior (as NIfTI); ITK's libraries take left-posterior-superior, and the
turn between the two happens in this module alone. `b_from_a` maps a point of space a to the same anatomy in space b, so
`b_from_a @ a_from_c` is `b_from_c`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK
from jaxtyping import Float

from tissueclock.imaging.volume import Volume

Affine = Float[np.ndarray, "4 4"]

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""RAS to LPS and back."""


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """Maps points of a fixed space to a moving one: first the displacement, then the affine.

    Attributes:
        affine: Fixed to moving.
        displacement: Of points of the fixed space, or None.
    """

    affine: Affine
    displacement: SimpleITK.Image | None = field(default=None, repr=False)

    def then(self, affine: Affine) -> "Transform":
        """This transform, followed by another affine: a chain that is still one resampling."""
        return Transform(affine @ self.affine, self.displacement)

    def points(self, points_mm: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        """Where points of the fixed space lie in the moving one, both RAS mm."""
        itk = self.as_itk()
        flip = _FLIP[:3, :3]
        moved = [itk.TransformPoint((flip @ point).tolist()) for point in np.asarray(points_mm, dtype=np.float64)]
        return np.asarray(np.asarray(moved, dtype=np.float64).reshape(-1, 3) @ flip)

    def as_itk(self) -> SimpleITK.Transform:
        """The transform as SimpleITK takes it."""
        chain = SimpleITK.CompositeTransform(3)
        chain.AddTransform(itk_affine(self.affine))
        if self.displacement is not None:  # the last one added is the first one applied
            chain.AddTransform(SimpleITK.DisplacementFieldTransform(SimpleITK.Image(self.displacement)))
        return chain


def itk_affine(affine: Affine) -> SimpleITK.AffineTransform:
    """An affine of ours as ITK takes it."""
    turned = _FLIP @ affine @ _FLIP
    itk = SimpleITK.AffineTransform(3)
    itk.SetMatrix(turned[:3, :3].ravel().tolist())
    itk.SetTranslation(turned[:3, 3].tolist())
    return itk


def read_itk_affine(path: Path) -> Affine:
    """An affine from a file that ANTs wrote."""
    itk = SimpleITK.ReadTransform(str(path))
    parameters, centre = np.array(itk.GetParameters()), np.array(itk.GetFixedParameters())[:3]
    turned = np.eye(4)
    turned[:3, :3] = parameters[:9].reshape(3, 3)
    turned[:3, 3] = parameters[9:] + centre - turned[:3, :3] @ centre
    return np.asarray(_FLIP @ turned @ _FLIP)


def to_itk(volume: Volume) -> SimpleITK.Image:
    """A volume as SimpleITK takes it; the values are copied."""
    turned = _FLIP @ volume.affine
    spacing = np.linalg.norm(turned[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(turned[:3, 3].tolist())
    image.SetDirection((turned[:3, :3] / spacing).ravel().tolist())
    return image


def resample(
    volume: Volume,
    *,
    shape: tuple[int, int, int],
    affine: Affine,
    transform: Transform | None = None,
    outside: float = 0.0,
) -> Volume:
    """Values of `volume` on other voxels, by one linear interpolation.

    Where the new voxels are larger than the old ones, each is the mean of several samples within it, so that nothing
    aliases and fractions stay fractions.

    Args:
        volume: In the moving space.
        shape: New voxels along x, y, z.
        affine: From new voxel to the fixed space's mm.
        transform: From the fixed space to the moving one; None if they are the same.
        outside: The value where `volume` does not reach.
    """
    transform = transform or Transform(np.eye(4))
    n_sub = _samples(volume, affine, transform)
    fine = affine @ _subdivision(n_sub)
    reference = to_itk(Volume(np.zeros((1, 1, 1), dtype=np.float32), fine))
    filter_ = SimpleITK.ResampleImageFilter()
    filter_.SetSize([n * k for n, k in zip(shape, n_sub, strict=True)])
    filter_.SetOutputOrigin(reference.GetOrigin())
    filter_.SetOutputSpacing(reference.GetSpacing())
    filter_.SetOutputDirection(reference.GetDirection())
    filter_.SetOutputPixelType(SimpleITK.sitkFloat32)
    filter_.SetInterpolator(SimpleITK.sitkLinear)
    filter_.SetDefaultPixelValue(outside)
    filter_.SetTransform(transform.as_itk())
    filter_.SetNumberOfThreads(1)
    moved = SimpleITK.GetArrayFromImage(filter_.Execute(to_itk(volume))).transpose(2, 1, 0)
    blocks = moved.reshape([edge for n, k in zip(shape, n_sub, strict=True) for edge in (n, k)])
    return Volume(np.ascontiguousarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32)), affine)


def _samples(volume: Volume, affine: Affine, transform: Transform) -> tuple[int, int, int]:
    """How many samples along each axis of a new voxel keep them no further apart than the old voxels there."""
    steps = np.linalg.inv(volume.affine)[:3, :3] @ (transform.affine @ affine)[:3, :3]
    x, y, z = (max(1, round(float(step))) for step in np.abs(steps).max(axis=0))
    return x, y, z


def _subdivision(n_sub: tuple[int, int, int]) -> Affine:
    """From the voxels of the subdivided grid to those of the grid."""
    scale = 1.0 / np.array(n_sub)
    inner = np.diag([*scale, 1.0])
    inner[:3, 3] = (scale - 1.0) / 2.0
    return inner


def coarsen(volume: Volume, *, spacing_mm: float) -> Volume:
    """The volume with voxels of about `spacing_mm` where it has smaller ones: means of whole blocks."""
    n_sub = tuple(max(1, int(spacing_mm / edge + 0.25)) for edge in volume.spacing_mm)
    shape = tuple(-(-n // k) for n, k in zip(volume.data.shape, n_sub, strict=True))
    padding = [(0, n * k - had) for n, k, had in zip(shape, n_sub, volume.data.shape, strict=True)]
    padded = np.pad(volume.data, padding, mode="edge")
    blocks = padded.reshape([edge for n, k in zip(shape, n_sub, strict=True) for edge in (n, k)])
    inner = np.diag([*(float(k) for k in n_sub), 1.0])
    inner[:3, 3] = (np.array(n_sub) - 1.0) / 2.0
    return Volume(np.ascontiguousarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32)), volume.affine @ inner)


def voxel_centres_mm(mask: npt.NDArray[np.bool_], affine: Affine) -> Float[np.ndarray, "voxel 3"]:
    """Where the voxels of a mask lie, in mm."""
    return np.asarray(np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3])
