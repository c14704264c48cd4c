"""The table that maps patients to subjects, and the log of their series: private files, never inside the output.

It is the one place where names and numbers stand together.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tissueclock.errors import ImageError
from tissueclock.storage.files import atomic_path
from tissueclock.storage.tsv import MISSING, read_rows

_COLUMNS = ("participant_id", "patient_id", "issuer", "study_uid", "patient_name", "birth_date", "study_dates")
_NEW_COLUMNS = ("joined_studies", "joined_by")
"""Key files of earlier versions lack them."""

_LOG_COLUMNS = ("participant_id", "study_date", "series_number", "description", "n_files", "taken_as", "because")

BY_STUDY, BY_FRAME = "StudyInstanceUID", "FrameOfReferenceUID"

_SUBJECT = re.compile(r"sub-[0-9]{4,9}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A patient, and the subject number that stands for the patient in the output.

    Attributes:
        participant_id: The subject, such as `sub-0001`.
        patient_id: Of the hospital; empty where the headers have none.
        issuer: Of the patient ID.
        study_uid: Of a patient without ID.
        patient_name: As the headers have it.
        birth_date: YYYYMMDD, or empty.
        study_dates: Of all the patient's studies, YYYYMMDD, separated by blanks.
        joined_studies: Of a patient without ID, the UIDs of all studies, separated by blanks.
        joined_by: What says that they are one patient's: a DICOM keyword.
    """

    participant_id: str
    patient_id: str
    issuer: str
    study_uid: str
    patient_name: str = ""
    birth_date: str = ""
    study_dates: str = ""
    joined_studies: str = ""
    joined_by: str = ""

    @property
    def patient(self) -> tuple[str, str]:
        """Who it is, as a survey names the patient."""
        return (self.patient_id, self.issuer) if self.patient_id else ("", self.study_uid)


def read_key(path: Path) -> dict[tuple[str, str], Entry]:
    """The patients of a key file; none where there is no such file.

    Raises:
        CohortError: It is no table, or lacks a column.
        ImageError: A subject or a patient is in it twice.
    """
    if not path.exists():
        return {}
    entries: dict[tuple[str, str], Entry] = {}
    for row in read_rows(path, required=_COLUMNS):
        cells = (row.cells.get(column, MISSING) for column in (*_COLUMNS, *_NEW_COLUMNS))
        entry = Entry(*("" if cell == MISSING else cell for cell in cells))
        if not _SUBJECT.fullmatch(entry.participant_id):
            raise ImageError(
                f"{path}, row {row.number}: participant_id {entry.participant_id!r} found; sub-0001 is the form"
            )
        if entry.patient in entries or entry.participant_id in {one.participant_id for one in entries.values()}:
            raise ImageError(
                f"{path}, row {row.number}: {entry.participant_id} or its patient is in it twice; once is allowed"
            )
        entries[entry.patient] = entry
    return entries


def number_patients(known: Mapping[tuple[str, str], Entry], found: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """Gives each new patient the next subject number.

    Args:
        known: From earlier runs; they keep theirs.
        found: Patients of this run, without a number.

    Returns:
        All of them. New ones are numbered by the SHA-256 of who they are: not by name, nor by date.
    """
    entries = dict(known)
    new = []
    for one in found:
        if one.patient in entries:
            old = entries[one.patient]
            entries[one.patient] = replace(
                one,
                participant_id=old.participant_id,
                study_dates=_union(old.study_dates, one.study_dates),
                joined_studies=_union(old.joined_studies, one.joined_studies),
                joined_by=max(old.joined_by, one.joined_by, key=lambda word: (word == BY_FRAME, word)),
            )
        else:
            new.append(one)
    last = max((int(one.participant_id.removeprefix("sub-")) for one in entries.values()), default=0)
    for i, one in enumerate(sorted(new, key=_digest), start=last + 1):
        entries[one.patient] = replace(one, participant_id=f"sub-{i:04d}")
    return entries


def write_key(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the key file, readable by its owner only, whole or not at all.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    columns = (*_COLUMNS, *_NEW_COLUMNS)
    _write_private(path, columns, sorted(tuple(getattr(entry, column) for column in columns) for entry in entries))


def log_path(key_file: Path) -> Path:
    """Where the log of series lies: beside the key file."""
    return key_file.with_name(f"{key_file.name}.series.tsv")


def write_log(key_file: Path, rows: Sequence[Sequence[str]], *, replaced: Iterable[str]) -> None:
    """Writes what became of each series, readable by its owner only; subjects not replaced keep their lines.

    Raises:
        CohortError: The log that is there is no table.
        StorageError: The folder cannot be written, or the disk is full.
    """
    path, gone = log_path(key_file), set(replaced)
    old = read_rows(path, required=_LOG_COLUMNS) if path.exists() else ()
    columns = (*_LOG_COLUMNS, "series_uid")  # logs of earlier versions lack the last
    kept = [tuple(row.cells.get(c, MISSING) for c in columns) for row in old if row.cells["participant_id"] not in gone]
    _write_private(path, columns, sorted([*kept, *(tuple(row) for row in rows)], key=lambda row: row[0]))


def _union(one: str, other: str) -> str:
    return " ".join(sorted({*one.split(), *other.split()}))


def _digest(entry: Entry) -> str:
    return hashlib.sha256("\0".join(entry.patient).encode()).hexdigest()


def _write_private(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = ["\t".join(columns), *("\t".join(cell.strip() or MISSING for cell in row) for row in rows)]
    with atomic_path(path) as temporary:
        # Private from its first moment: a chmod afterwards would leave a gap.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write("\n".join(lines) + "\n")
