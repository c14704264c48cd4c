"""What a checkpoint must know of its cohort to be used without it: how images came to be, and what is typical of them.

Written beside the weights (`intake.json`). In it patients are digests of ids and voxels: plain ones, so that a short id
can be guessed. What goes to a tracker has those of voxels alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tissueclock.cohort.descriptions import describe_cohort
from tissueclock.cohort.store import TRUTH, Cohort
from tissueclock.cohort.typical import FEWEST, Typical, find_typical
from tissueclock.errors import CheckpointError
from tissueclock.storage.files import read_json, write_json
from tissueclock.storage.folders import PROMOTED_SCHEMA, PromotedFolder


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """What a checkpoint knows of its cohort.

    Attributes:
        cohort: Name, digest, and whether its patients are simulated.
        shape: Slices, height and width of a hemisphere.
        spacing_mm: Their distances.
        preprocessing: The settings of `tissueclock preprocess`; None where images were not made by it (a phantom).
        histogram: The reference study's, `subject` and `quantiles`; None where none was matched.
        typical: Of patients who were not held out; None where they were too few.
        typical_without_flair: Likewise, of all that is not FLAIR.
        quality: The least and the largest of each quality figure of `preprocess`; empty where there are none.
        patients: SHA-256 of each patient's id -> of the voxels; the holdout's patients too.
    """

    cohort: dict[str, Any]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    preprocessing: dict[str, Any] | None
    histogram: dict[str, Any] | None
    typical: Typical | None
    typical_without_flair: Typical | None
    quality: dict[str, tuple[float, float]]
    patients: dict[str, str]

    def knows(self, patient: str, voxels: str) -> str | None:
        """How a patient is known to have been in the cohort, in a few words; None: as far as digests tell, was not."""
        if digest_id(patient) in self.patients:
            return "by id"
        return "by the images, under another id" if voxels in self.patients.values() else None


def digest_id(patient: str) -> str:
    """SHA-256 of a patient's id, without BIDS's `sub-`."""
    return hashlib.sha256(patient.removeprefix("sub-").encode()).hexdigest()


def write_intake(promoted: PromotedFolder, cohort: Cohort) -> None:
    """Writes `intake.json` beside a checkpoint's weights.

    Raises:
        StorageError: The folder cannot be written.
    """
    described = describe_cohort(cohort)
    held_out = {half.patient for half in cohort.table if half.split == "holdout"}
    seen = {patient: one.figures for patient, one in described.items() if patient not in held_out}
    whole = {patient.participant_id for patient in cohort.patients if patient.has_flair}
    is_phantom = (cohort.folder / TRUTH).is_dir() or "phantom" in str(dict(cohort.source)).lower()
    write_json(
        promoted.intake,
        {
            "schema": PROMOTED_SCHEMA,
            "cohort": {"name": cohort.name, "digest": cohort.digest, "is_phantom": is_phantom},
            "shape": list(cohort.shape),
            "spacing_mm": list(cohort.spacing_mm),
            "preprocessing": cohort.source.get("preprocessing"),
            "histogram": cohort.source.get("histogram"),
            "typical": _typical([figures for patient, figures in seen.items() if patient in whole]),
            "typical_without_flair": _typical([_without_flair(figures) for figures in seen.values()]),
            "quality": cohort.source.get("quality", {}),
            "patients": {digest_id(patient): one.voxels for patient, one in described.items()},
        },
    )


def _typical(patients: Sequence[Mapping[str, float]]) -> dict[str, Any] | None:
    return find_typical(patients).as_facts() if len(patients) >= 2 * FEWEST else None


def _without_flair(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if "flair" not in name}


def read_intake(promoted: PromotedFolder) -> Intake:
    """Reads `intake.json`.

    Raises:
        CheckpointError: The file is missing (the checkpoint was scored before 0.2) or damaged.
    """
    needed = ("cohort", "shape", "spacing_mm", "preprocessing", "histogram", "typical", "patients")
    missing = "no such file; delete holdout.json beside it and run tissueclock sweep again: scoring writes both"
    facts = read_json(promoted.intake, schema=PROMOTED_SCHEMA, needed=needed, error=CheckpointError, missing=missing)
    try:
        n_slices, height, width = (int(n) for n in facts["shape"])
        slice_mm, row_mm, column_mm = (float(mm) for mm in facts["spacing_mm"])
        typical, without = (
            None if (told := facts.get(key)) is None else Typical.from_facts(told)
            for key in ("typical", "typical_without_flair")
        )
        quality = {str(name): (float(low), float(high)) for name, (low, high) in facts.get("quality", {}).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{promoted.intake}: damaged ({error})") from error
    return Intake(
        cohort=facts["cohort"],
        shape=(n_slices, height, width),
        spacing_mm=(slice_mm, row_mm, column_mm),
        preprocessing=facts["preprocessing"],
        histogram=facts["histogram"],
        typical=typical,
        typical_without_flair=without,
        quality=quality,
        patients=facts["patients"],
    )
