"""Where everything of a preprocessed cohort lies, and what its JSON files say (BIDS derivatives).

Every path is a property of one of two objects; nothing else builds one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissueclock.channels import SERIES, SeriesName
from tissueclock.errors import ImageError
from tissueclock.storage.files import read_json

SCHEMA = 1
SPACE = "MNI152"


@dataclass(frozen=True, slots=True)
class PatientFolder:
    """The files of one preprocessed patient: `sub-*/`, or a folder that is to be called so.

    Attributes:
        path: Where it is.
        subject: For example `sub-0001`.
    """

    path: Path
    subject: str

    @property
    def facts(self) -> Path:
        """Steps, parameters, transforms, quality, digests; the same for the same input."""
        return self.path / f"{self.subject}_desc-preprocess.json"

    @property
    def times(self) -> Path:
        """Seconds and memory a step: the one file that differs between equal runs."""
        return self.path / f"{self.subject}_desc-times.json"

    @property
    def picture(self) -> Path:
        """The picture by which a person judges the result: brain, contours, series."""
        return self.path / "figures" / f"{self.subject}_desc-quality.png"

    @property
    def mask(self) -> Path:
        """The brain, on the grid."""
        return self.path / "anat" / f"{self.subject}_space-{SPACE}_desc-brain_mask.nii.gz"

    @property
    def native_mask(self) -> Path:
        """The brain, on b0's own voxels."""
        return self.path / "dwi" / f"{self.subject}_desc-brain_mask.nii.gz"

    @property
    def lesion(self) -> Path:
        """The lesion mask that came along, on the grid: the share of each voxel."""
        return self.path / "anat" / f"{self.subject}_space-{SPACE}_desc-lesion_mask.nii.gz"

    @property
    def warp(self) -> Path:
        """The displacement field of SyN (ITK's convention, LPS mm), where there is one."""
        return self.path / "dwi" / f"{self.subject}_from-{SPACE}_to-b0_warp.nii.gz"

    def series(self, name: str) -> Path:
        """`b0`, `b1000` or `flair`, on the grid: float32, brain median about 1, 0 outside the brain."""
        folder, suffix = ("anat", "FLAIR") if name == "flair" else ("dwi", "dwi")
        description = "preproc" if name == "flair" else name
        return self.path / folder / f"{self.subject}_space-{SPACE}_desc-{description}_{suffix}.nii.gz"

    def missing_series(self, facts: Mapping[str, Any]) -> frozenset[SeriesName]:
        """The series that the patient lacks.

        Args:
            facts: With `complete` and `digests`.
        """
        if facts["complete"]:
            return frozenset()
        there = set(facts["digests"])
        return frozenset(n for n in SERIES if self.series(n).relative_to(self.path).as_posix() not in there)


def describe_missing(series: Collection[SeriesName]) -> str:
    """In words that some series are missing, such as `FLAIR is missing`."""
    names = ["FLAIR" if name == "flair" else name for name in SERIES if name in series]
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} missing"


@dataclass(frozen=True, slots=True)
class Derivatives:
    """The files of a preprocessed cohort."""

    path: Path

    @property
    def settings(self) -> Path:
        """What all patients were preprocessed with."""
        return self.path / "preprocess.json"

    @property
    def reference(self) -> Path:
        """The histogram that everybody is matched to, and whose it is."""
        return self.path / "reference.json"

    @property
    def participants(self) -> Path:
        """Who the patients are, as the raw folder said."""
        return self.path / "participants.tsv"

    @property
    def quality_table(self) -> Path:
        """A row a patient; its `exclude` column is the user's, who may overrule what is excluded by default."""
        return self.path / "qc.tsv"

    @property
    def quality_page(self) -> Path:
        """Every picture, worst first; opens without a server."""
        return self.path / "qc.html"

    @property
    def failures(self) -> Path:
        """Why patients are missing, from the last run."""
        return self.path / "failed.tsv"

    @property
    def lock(self) -> Path:
        """Held by the process that is at work on the folder."""
        return self.path / ".lock"

    @property
    def common_lock(self) -> Path:
        """Held, for a moment, by who writes what all patients share."""
        return self.path / ".common.lock"

    def patient(self, subject: str) -> PatientFolder:
        """The folder of a patient."""
        return PatientFolder(self.path / subject, subject)

    def done(self) -> tuple[PatientFolder, ...]:
        """The patients there are, by name."""
        if not self.path.is_dir():
            return ()
        folders = (PatientFolder(path, path.name) for path in sorted(self.path.glob("sub-*")) if path.is_dir())
        return tuple(folder for folder in folders if folder.facts.exists())


def read_facts(path: Path, *, needed: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Reads a JSON file of the derivatives.

    Raises:
        ImageError: It is missing, not JSON, of another schema or lacks a key.
    """
    missing = "no such file; `tissueclock preprocess` writes it"
    return read_json(path, schema=SCHEMA, needed=needed, error=ImageError, missing=missing)


def find_reference(folder: Derivatives) -> str | None:
    """The patient whose histogram everybody has; None where nothing was matched.

    Raises:
        ImageError: `reference.json` is damaged.
    """
    if not folder.reference.exists():
        return None
    return str(read_facts(folder.reference, needed=("subject",))["subject"])
