"""How patients are preprocessed: everything that a result depends on, besides the patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tissueclock.grid import Grid
from tissueclock.imaging.atlas import Atlas, load_atlas
from tissueclock.imaging.backend import BackendName, RegistrationKind
from tissueclock.imaging.backend_choice import find_backend
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.raw import Duplicates
from tissueclock.storage.files import digest_facts

PIPELINE = 1
"""Raised whenever the same input would give another result: patients of an older pipeline are preprocessed anew."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How patients are preprocessed: what the user may choose.

    Attributes:
        grid: The voxels of the result.
        atlas: A T2w atlas of the user's; None is the default one.
        atlas_mask: Its brain mask, where it is not skull-stripped.
        backend: Who extracts and registers.
        registration: To the atlas: affine, or SyN on top.
        b_values: Which b-value counts as b1000.
        duplicates: Which of two candidates for one series is taken.
        session: Which session, where there are several.
        matching: Whether histograms are matched to a reference study's.
    """

    grid: Grid
    atlas: Path | None = None
    atlas_mask: Path | None = None
    backend: BackendName = "ants"
    registration: RegistrationKind = "affine"
    b_values: BValues = field(default_factory=BValues)
    duplicates: Duplicates = "refuse"
    session: str | None = None
    matching: bool = True

    def load_atlas(self) -> Atlas:
        """Loads the atlas that these settings name.

        Raises:
            ImageError: A file cannot be read or holds no brain.
        """
        return load_atlas(self.atlas, self.atlas_mask)

    def as_facts(self) -> dict[str, Any]:
        """All of it as JSON facts, with the atlas's digest and the back end's version.

        Raises:
            ImageError: The atlas cannot be read, or the back end is not installed.
        """
        atlas = self.load_atlas()  # read once a process
        return {
            "pipeline": PIPELINE,
            "grid": {"shape": list(self.grid.shape), "spacing_mm": list(self.grid.spacing_mm)},
            "atlas": {"name": atlas.name, "digest": atlas.digest},
            "backend": find_backend(self.backend).name,
            "registration": self.registration,
            "b_s_mm2": self.b_values.b_s_mm2,
            "b_tolerance_s_mm2": self.b_values.tolerance_s_mm2,
            "duplicates": self.duplicates,
            "session": self.session,
            "matching": self.matching,
        }


@dataclass(frozen=True, slots=True)
class Reference:
    """The study whose histogram everybody gets.

    Attributes:
        subject: The patient whose study it is.
        quantiles: By series, its brain's brightness at even shares of its voxels.
    """

    subject: str
    quantiles: Mapping[str, tuple[float, ...]]

    def of(self, series: str) -> Float[np.ndarray, " quantile"]:
        """The quantiles of a series."""
        return np.asarray(self.quantiles[series], dtype=np.float32)

    def as_facts(self) -> dict[str, Any]:
        """The reference as JSON facts."""
        return {"subject": self.subject, "quantiles": {name: list(values) for name, values in self.quantiles.items()}}

    @property
    def digest(self) -> str:
        """SHA-256 of the subject and the quantiles."""
        return digest_facts(self.as_facts())
