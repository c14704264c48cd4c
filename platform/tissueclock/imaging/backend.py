"""What the pipeline asks of the tools that extract and register: `ants_backend` and `fsl` answer it."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

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
