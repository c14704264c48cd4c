"""Each patient of a cohort described: figures of the images and a digest of their voxels, made once."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tissueclock.cohort.describing import describe_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import InputError, StorageError
from tissueclock.storage.files import read_json, write_json

FILE = "descriptions.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Description:
    """One patient's images.

    Attributes:
        voxels: SHA-256 of both halves as they are packed: the same images are the same patient, whatever the name.
        figures: See `describe_halves`; NaN where one cannot be said.
    """

    voxels: str
    figures: Mapping[str, float]


def describe_cohort(cohort: Cohort) -> dict[str, Description]:
    """Every patient's description, by id, in the manifest's order.

    A description takes a tenth of a second, so they are kept in the cohort's folder where it can be written; what is
    kept there of another cohort, or cannot be read, is made anew.
    """
    kept = cohort.folder / FILE
    with contextlib.suppress(InputError, KeyError, TypeError, AttributeError):
        facts = read_json(kept, schema=_SCHEMA, needed=("cohort", "patients"))
        if facts["cohort"] == cohort.digest:
            return {
                patient: Description(
                    told["voxels"], {n: np.nan if v is None else v for n, v in told["figures"].items()}
                )
                for patient, told in facts["patients"].items()
            }
    rows = {(half.patient, half.side): i for i, half in enumerate(cohort.table)}
    found = {}
    for patient in cohort.patients:
        name = patient.participant_id
        halves = np.stack([cohort.hemispheres[rows[name, side]] for side in ("left", "right")])
        found[name] = Description(hashlib.sha256(halves.tobytes()).hexdigest(), describe_halves(halves))
    told_patients = {
        patient: {
            "voxels": one.voxels,
            "figures": {name: value if np.isfinite(value) else None for name, value in one.figures.items()},
        }
        for patient, one in found.items()
    }
    with contextlib.suppress(StorageError):
        write_json(kept, {"schema": _SCHEMA, "cohort": cohort.digest, "patients": told_patients})
    return found
