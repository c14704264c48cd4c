"""Extraction by dipy and registration by ANTs, which come with tissueclock."""

from collections.abc import Sequence
from importlib.metadata import version

from tissueclock.imaging import extraction, registration
from tissueclock.imaging.backend import RegistrationKind
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.transform import Affine, Transform
from tissueclock.imaging.volume import Volume


class AntsBackend:
    """Extracts by dipy's median-Otsu and registers by ANTs."""

    @property
    def name(self) -> str:
        """Tool and version, for the record."""
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
