"""Who does extraction and registration: dipy and ANTs, which come with tissueclock, or FSL where a lab has it."""

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool

from tissueclock.imaging import extraction, registration
from tissueclock.imaging.atlas import Atlas
from tissueclock.imaging.transform import Affine, Transform
from tissueclock.imaging.volume import Volume

BackendName = Literal["ants", "fsl"]
RegistrationKind = Literal["affine", "syn"]


class Backend(Protocol):
    """What the pipeline asks of a tool."""

    @property
    def name(self) -> str:
        """Tool and version, for the record."""

    def extract(self, b0: Volume) -> Bool[np.ndarray, "x y z"]:
        """A first brain mask on b0's voxels."""

    def to_atlas(self, b0: Volume, atlas: Atlas, *, start: Affine, kind: RegistrationKind) -> Transform:
        """The map from the atlas to b0."""

    def rigid(self, moving: Volume, fixed: Volume, *, mask: Bool[np.ndarray, "x y z"]) -> Affine:
        """The rigid map from `fixed` to `moving`; `mask` says where, on the voxels of `fixed`."""


class AntsBackend:
    """dipy's median-Otsu and ANTs."""

    @property
    def name(self) -> str:
        """Tool and version, for the record."""
        from importlib.metadata import version

        return f"antspyx {version('antspyx')}, dipy {version('dipy')}"

    def extract(self, b0: Volume) -> Bool[np.ndarray, "x y z"]:
        """A first brain mask by median-Otsu."""
        return extraction.extract_brain(b0)

    def to_atlas(self, b0: Volume, atlas: Atlas, *, start: Affine, kind: RegistrationKind) -> Transform:
        """The map from the atlas to b0, affine or SyN."""
        if kind == "syn":
            return registration.register_syn(b0, atlas, start=start)
        return Transform(registration.register_affine(b0, atlas, start=start))

    def rigid(self, moving: Volume, fixed: Volume, *, mask: Bool[np.ndarray, "x y z"]) -> Affine:
        """The rigid map from `fixed` to `moving`."""
        return registration.register_rigid(moving, fixed, mask=mask)


def find_backend(name: BackendName) -> Backend:
    """The back end of that name.

    Raises:
        ImageError: FSL is asked for and not installed.
    """
    if name == "ants":
        return AntsBackend()
    from tissueclock.imaging.fsl import FslBackend

    return FslBackend.find()
