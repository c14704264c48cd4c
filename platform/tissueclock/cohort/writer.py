"""Writes a packed cohort, patient by patient; the folder appears whole or not at all.

Takes hemispheres as they are: mirrored, normalised, 0 outside the brain. How they became so is not known here.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from tissueclock.channels import SERIES
from tissueclock.cohort.arrayfile import ArrayFile
from tissueclock.cohort.manifest import Patient, write_manifest
from tissueclock.cohort.split import FRACTIONS, split_digest, split_patients
from tissueclock.cohort.table import make_table, write_table
from tissueclock.errors import CohortError, StorageError
from tissueclock.storage.files import atomic_path, digest_file, write_json

SCHEMA = 1
HEMISPHERES = "hemispheres.npy"
TABLE = "hemispheres.tsv"
MANIFEST = "participants.tsv"
FACTS = "cohort.json"


class CohortWriter:
    """A cohort under construction.

    Use as a context manager: on a clean exit the digests and, last, `cohort.json` are written and the folder takes its
    name; on an exception nothing is left.

    Args:
        folder: The cohort to be; must not exist, or be empty.
        name: What to call it.
        patients: All patients, at least one; each must be added once before the exit.
        shape: Slices, height and width of a hemisphere, in voxels.
        spacing_mm: Distance of slices, rows and columns.
        seed: Seed of the split.
        held_out: Ids of patients who are in the holdout whatever the split, which is made of the others.
        source: Where it comes from: tool, version, preset, seed; JSON facts.

    Raises:
        CohortError: The folder holds something, there is no patient, or a patient was left out.
        StorageError: The folder cannot be written, or the disk is too small or full.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        patients: Sequence[Patient],
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        seed: int,
        source: Mapping[str, Any],
        held_out: Collection[str] = (),
    ) -> None:
        if not patients:
            raise CohortError(f"{folder}: cohort without a patient; at least one is needed")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CohortError(f"{folder}: exists already; a cohort is written to a new or empty folder")
        self._folder = folder
        self._name = name
        self._patients = list(patients)
        self._i_patient = {patient.participant_id: i for i, patient in enumerate(patients)}
        self._added: set[str] = set()
        self._shape = shape
        self._spacing_mm = spacing_mm
        self._seed = seed
        self._held_out = frozenset(held_out)
        self._source = dict(source)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "CohortWriter":
        _check_room(self._folder, n_bytes=self.n_hemispheres * len(SERIES) * int(np.prod(self._shape)) * 2)
        with contextlib.ExitStack() as stack:
            self._staging = stack.enter_context(atomic_path(self._folder))
            self._staging.mkdir()
            self._array = stack.enter_context(
                ArrayFile(
                    self._staging / HEMISPHERES,
                    dtype=np.float16,
                    shape=(self.n_hemispheres, len(SERIES), *self._shape),
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    @property
    def staging(self) -> Path:
        """The temporary folder, for files that belong beside the cohort and must appear with it."""
        return self._staging

    @property
    def n_hemispheres(self) -> int:
        """Two per patient."""
        return 2 * len(self._patients)

    def rows(self, participant_id: str) -> tuple[int, int]:
        """The patient's rows in the array: left, right."""
        i_patient = self._i_patient[participant_id]
        return 2 * i_patient, 2 * i_patient + 1

    def add(
        self,
        participant_id: str,
        left: Float[np.ndarray, "series slice height width"],
        right_mirrored: Float[np.ndarray, "series slice height width"],
    ) -> None:
        """Packs one patient; the order does not matter.

        Args:
            participant_id: One of the patients, not added before.
            left: b0, b1000 and FLAIR of the left half, dimensionless, 1.0 typical tissue, 0 outside the brain.
            right_mirrored: Those of the right half, mirrored onto the left.

        Raises:
            CohortError: The patient is unknown or was added before, or a half has a wrong shape or a value that
                float16 cannot hold.
            StorageError: The disk is full.
        """
        if participant_id not in self._i_patient or participant_id in self._added:
            state = "was added before" if participant_id in self._added else "is not in the manifest"
            raise CohortError(f"{self._folder}: patient {participant_id} {state}; each patient is added once")
        for row, half in zip(self.rows(participant_id), (left, right_mirrored), strict=True):
            if half.shape != (len(SERIES), *self._shape):
                raise CohortError(
                    f"{self._folder}: patient {participant_id}: shape {half.shape} found; "
                    f"{(len(SERIES), *self._shape)} expected"
                )
            if not np.all(np.abs(half) <= np.finfo(np.float16).max):
                raise CohortError(
                    f"{self._folder}: patient {participant_id}: NaN or a value beyond ±65504 found; "
                    "float16 holds finite values up to there"
                )
            self._array.write(row, half)
        self._added.add(participant_id)

    def annotate(self, participant_id: str, *, readers: Mapping[str, bool | None], extra: Mapping[str, str]) -> None:
        """Adds to a patient's row of the manifest what is known only once the images are; side and onset stay."""
        i_patient = self._i_patient[participant_id]
        patient = self._patients[i_patient]
        self._patients[i_patient] = dataclasses.replace(
            patient, readers={**patient.readers, **readers}, extra={**patient.extra, **extra}
        )

    def _finish(self) -> None:
        """Closes the array, writes the tables and, last, the facts."""
        if missing := [p.participant_id for p in self._patients if p.participant_id not in self._added]:
            raise CohortError(
                f"{self._folder}: {len(missing)} of {len(self._patients)} patients were not added (first {missing[0]})"
            )
        self._array.close()
        dealt = [patient for patient in self._patients if patient.participant_id not in self._held_out]
        split = split_patients(dealt, seed=self._seed) | dict.fromkeys(sorted(self._held_out), "holdout")
        write_table(self._staging / TABLE, make_table(self._patients, split))
        write_manifest(self._staging / MANIFEST, self._patients)
        by_site = {"by_site": True} if any(patient.site for patient in self._patients) else {}
        facts = {
            "schema": SCHEMA,
            "name": self._name,
            "series": list(SERIES),
            "shape": dict(zip(("n_slices", "height", "width"), self._shape, strict=True)),
            "spacing_mm": list(self._spacing_mm),
            "n_patients": len(self._patients),
            "n_hemispheres": self.n_hemispheres,
            "split": {
                "seed": self._seed,
                "fractions": list(FRACTIONS.values()),
                "digest": split_digest(split),
                **by_site,
            },
            "digests": {name: digest_file(self._staging / name) for name in (HEMISPHERES, TABLE, MANIFEST)},
            "source": self._source,
        }
        write_json(self._staging / FACTS, facts)


def _check_room(folder: Path, *, n_bytes: int) -> None:
    """Raises StorageError where the disk that would hold `folder` has less than `n_bytes` free."""
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir():
        raise StorageError(f"{folder}: cannot be written ({parent} is a file, not a folder)")
    free = shutil.disk_usage(parent).free
    if free < n_bytes:
        raise StorageError(f"{folder}: {free / 1e6:.0f} MB free on its disk; {n_bytes / 1e6:.0f} MB needed")
