"""Who does extraction and registration: dipy and ANTs, which come with tissueclock, or FSL where a lab has it."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from tissueclock.imaging import extraction, registration
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.transform import Affine, Transform
from tissueclock.imaging.volume import Volume

BackendName = Literal["ants", "fsl"]
RegistrationKind = Literal["affine", "syn"]


@runtime_checkable
class Backend(Protocol):
    """What the pipeline asks of a tool."""

    @property
    def name(self) -> str:
        """Tool and version, for the record."""

    def extract(self, b0: Volume) -> Mask:
        """A first brain mask on b0's voxels."""

    def to_atlas(
        self, pairs: Sequence[tuple[Volume, Volume]], *, near: Mask, start: Affine, kind: RegistrationKind
    ) -> Transform:
        """The map from the atlas to a head.

        Args:
            pairs: Head and atlas in one contrast or two, the more telling first; each on its own voxels.
            near: Where the atlas brain and its rim are.
            start: Near enough to begin with.
            kind: Affine, or SyN on top.
        """

    def rigid(self, moving: Volume, fixed: Volume, *, mask: Mask) -> Affine:
        """The rigid map from `fixed` to `moving`; `mask` says where, on the voxels of `fixed`."""


class AntsBackend:
    """dipy's median-Otsu and ANTs."""

    @property
    def name(self) -> str:
        """Tool and version, for the record."""
        from importlib.metadata import version

        return ", ".join(f"{package} {version(package)}" for package in ("antspyx", "dipy", "SimpleITK"))

    def extract(self, b0: Volume) -> Mask:
        """A first brain mask by median-Otsu."""
        return extraction.extract_brain(b0)

    def to_atlas(
        self, pairs: Sequence[tuple[Volume, Volume]], *, near: Mask, start: Affine, kind: RegistrationKind
    ) -> Transform:
        """The map from the atlas brain to the head: affine, and SyN on top of it."""
        affine = registration.register_affine(*pairs[0], near=near, start=start)
        return Transform(affine) if kind == "affine" else registration.register_syn(pairs, near=near, start=affine)

    def rigid(self, moving: Volume, fixed: Volume, *, mask: Mask) -> Affine:
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
