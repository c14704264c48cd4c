"""A folder of DICOM to a BIDS folder without names: one patient at a time, each whole or not at all.

Walks, numbers and writes. What a series is, `recognition` says; which are taken, `patient_images`.
"""

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tissueclock.errors import ImageError, StorageError
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.dataset import describe_participants, write_description
from tissueclock.imaging.dicom.choices import Choices, DuplicateTable
from tissueclock.imaging.dicom.keyfile import (
    BY_FRAME,
    BY_STUDY,
    Entry,
    log_path,
    number_patients,
    read_key,
    write_key,
    write_log,
)
from tissueclock.imaging.dicom.objects import DicomSeries
from tissueclock.imaging.dicom.patient_images import SeriesLine, take
from tissueclock.imaging.dicom.persons import is_placeholder
from tissueclock.imaging.dicom.survey import Survey, survey
from tissueclock.imaging.raw import Duplicates
from tissueclock.storage.files import atomic_path, clear_remains
from tissueclock.storage.locks import hold
from tissueclock.storage.tsv import MISSING, read_rows, write_rows

_PARTICIPANTS = ("participant_id", "onset_to_mri_min", "lesion_side")


@dataclass(frozen=True, slots=True)
class PatientLine:
    """What became of one patient.

    Attributes:
        subject: Such as `sub-0001`.
        outcome: `kept` was there from an earlier run.
        reason: Why the patient was refused, in one line; else what is missing, or empty.
        series: In the order of acquisition; none if the patient was kept.
        remarks: What a user should know of the patient, one line each.
    """

    subject: str
    outcome: Literal["written", "kept", "refused"]
    reason: str = ""
    series: tuple[SeriesLine, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a folder.

    Attributes:
        patients: In the order of their numbers.
        left_files: How many files were no image, by reason.
        damaged_files: One line for each damaged file of which nobody knows whose it is, and for each folder of files
            that were not fetched.
        key_file: Who the patients are.
        log_file: The same series, with their free text.
    """

    patients: tuple[PatientLine, ...]
    left_files: Mapping[str, int]
    damaged_files: tuple[str, ...]
    key_file: Path
    log_file: Path


def ingest(
    source: Path,
    target: Path,
    *,
    key_file: Path,
    b_values: BValues | None = None,
    duplicates: Duplicates | DuplicateTable = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Converts all patients under a folder to BIDS; running again adds what is new.

    Args:
        source: DICOM files, plain or gzipped, at any depth under any names.
        target: The BIDS folder; subjects that are in it stay as they are.
        key_file: Maps patients to subjects; kept from run to run, mode 0600, outside `target`.
        b_values: The b-value wanted; 1000 +- 300 if None.
        duplicates: Which of two equally good series is taken, of all patients or by a table; `refuse` takes none.
        progress: Called with work done and work in all; the unit is a file read or converted.

    Returns:
        What became of each patient and series. A bad patient is refused in it, and the others go on.

    Raises:
        ImageError: There is no DICOM in `source`, the key file lies in `target` or does not know its subjects, or a row
            of `duplicates` speaks of a patient or a series that is not there.
        CohortError: The key file or `participants.tsv` is no table.
        BusyError: Another process gives numbers from the same key file.
        StorageError: A folder cannot be written, or the disk is full.
    """
    if key_file.resolve().is_relative_to(target.resolve()):
        raise ImageError(f"{key_file}: the key file lies inside {target}, which is to be given away; put it elsewhere")
    _check_subjects(target, key_file)  # said now, not after an hour of reading
    lock = key_file.with_name(f"{key_file.name}.lock")
    found = survey(
        source,
        ignored=[target, key_file, lock, log_path(key_file)],
        known=_known_studies(key_file),
        progress=None if progress is None else lambda done, total: progress(done, 2 * total),
    )
    with hold(lock, what=f"folder's {key_file.name}"):
        _check_subjects(target, key_file)
        clear_remains(target, "sub-")
        clear_remains(key_file.parent, key_file.name)
        lines = _write_all(found, target, key_file, b_values or BValues(), duplicates, progress)
    return IngestReport(tuple(lines), found.left, found.damaged, key_file, log_path(key_file))


def _write_all(
    found: Survey,
    target: Path,
    key_file: Path,
    b_values: BValues,
    duplicates: Duplicates | DuplicateTable,
    progress: Callable[[int, int], None] | None,
) -> list[PatientLine]:
    new = [_entry(patient, series, found.studies.get(patient, ())) for patient, series in found.patients.items()]
    entries = read_key(key_file)
    _check_placeholders(entries.values(), new, key_file)
    entries = number_patients(entries, new)
    if isinstance(duplicates, DuplicateTable):
        theirs = {entries[patient].participant_id: series for patient, series in found.patients.items()}
        duplicates.check({entry.participant_id for entry in entries.values()}, theirs)
    if not (target / "dataset_description.json").exists():  # a lab's own words stay
        write_description(target, name="Stroke MRI", kind="raw", command="tissueclock ingest")
    # Before the first subject: a number that is on the disk must be known.
    write_key(key_file, entries.values())
    lines: list[PatientLine] = []
    n_files = sum(len(one.files) for series in found.patients.values() for one in series)
    n_done = 0
    for patient in sorted(found.patients, key=lambda one: entries[one].participant_id):
        series = found.patients[patient]
        subject = entries[patient].participant_id
        choices = duplicates.choices(subject) if isinstance(duplicates, DuplicateTable) else Choices(duplicates)
        line = _write(subject, series, target, b_values, choices)
        lines.append(replace(line, remarks=(*_on_identity(entries[patient]), *line.remarks)))
        n_done += sum(len(one.files) for one in series)
        if progress is not None:
            progress(n_files + n_done, 2 * n_files)
    _log(key_file, lines, found.damaged)
    _write_participants(target, {entry.participant_id for entry in entries.values()})
    return lines


def _write(
    subject: str, series: Sequence[DicomSeries], target: Path, b_values: BValues, choices: Choices
) -> PatientLine:
    if (target / subject).is_dir():
        idle = (
            "was written by an earlier run: what the table says of it had no effect; remove its folder to choose anew"
        )
        return PatientLine(subject, "kept", remarks=(idle,) if choices.rows else ())
    try:
        # Mode 0700: DICOM with its names is unpacked there.
        folder = tempfile.TemporaryDirectory(prefix="tissueclock-ingest-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError(f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error})") from error
    with folder as work:
        taken = take(series, Path(work), b_values=b_values, choices=choices)
        if taken.refusal:
            return PatientLine(subject, "refused", taken.refusal, taken.series)
        with atomic_path(target / subject) as temporary:
            for (kind, suffix), image in taken.images.items():
                (temporary / kind).mkdir(parents=True, exist_ok=True)
                image.write(temporary / kind / f"{subject}_{suffix}")
    return PatientLine(subject, "written", taken.missing, taken.series, taken.remarks)


def _entry(patient: tuple[str, str], series: Sequence[DicomSeries], studies: Sequence[str]) -> Entry:
    """A patient as a line of the key file, still without a number."""
    identities = [one.files[0].identity for one in series]
    return Entry(
        participant_id="",
        patient_id=patient[0],
        issuer=patient[1] if patient[0] else "",
        study_uid="" if patient[0] else patient[1],
        patient_name=max((who.name for who in identities), key=len),
        birth_date=max(who.birth_date for who in identities),
        study_dates=" ".join(sorted({who.study_date for who in identities if who.study_date})),
        joined_studies=" ".join(studies),
        joined_by="" if not studies else BY_FRAME if len(studies) > 1 else BY_STUDY,
    )


def _known_studies(key_file: Path) -> dict[str, str]:
    """The studies of patients without an ID, each with the one that names the patient."""
    entries = [entry for entry in read_key(key_file).values() if not entry.patient_id]
    return {study: entry.study_uid for entry in entries for study in (entry.study_uid, *entry.joined_studies.split())}


def _on_identity(entry: Entry) -> tuple[str, ...]:
    if not entry.joined_by:
        return ()
    n_studies = len(entry.joined_studies.split())
    what = f"{n_studies} studies are taken for one patient's" if n_studies > 1 else "a study is taken for a patient"
    return (f"the patient ID is missing or a placeholder; {what} by {entry.joined_by}",)


def _check_placeholders(known: Collection[Entry], found: Sequence[Entry], key_file: Path) -> None:
    """Refuses a key in which a placeholder was numbered as a patient: the same scans would get a second number."""
    dates = {date for entry in found if not entry.patient_id for date in entry.study_dates.split()}
    for entry in known:
        if entry.patient_id and is_placeholder(entry.patient_id) and dates & set(entry.study_dates.split()):
            raise ImageError(
                f"{key_file}: {entry.participant_id} stands for all patients that are called {entry.patient_id!r}; "
                "ingest into a new folder with a new key file"
            )


def _check_subjects(target: Path, key_file: Path) -> None:
    """Refuses to add to subjects of another key: two patients would share a number."""
    known = {entry.participant_id for entry in read_key(key_file).values()}
    if strangers := sorted(path.name for path in target.glob("sub-*") if path.name not in known):
        raise ImageError(
            f"{target}: holds {strangers[0]}, which {key_file} does not know; "
            "give the key file that it was made with, or an empty folder"
        )


def _log(key_file: Path, lines: Sequence[PatientLine], damaged: Sequence[str]) -> None:
    worked = [line for line in lines if line.outcome != "kept"]
    rows = [
        (
            line.subject,
            one.study_date,
            "" if one.number is None else str(one.number),
            one.description,
            str(one.n_files),
            one.taken_as,
            one.reason,
            one.uid,
        )
        for line in worked
        for one in line.series
    ]
    rows += [("", "", "", "", "1", "", line, "") for line in damaged]
    write_log(key_file, rows, replaced=[*(line.subject for line in worked), MISSING])


def _write_participants(target: Path, subjects: Collection[str]) -> None:
    """Adds a line for each subject that is new; what the lab has filled in stays."""
    path = target / "participants.tsv"
    old = read_rows(path, required=_PARTICIPANTS) if path.exists() else ()
    named = {row.cells["participant_id"] for row in old}
    new = sorted(name for name in subjects if (target / name).is_dir() and name not in named)
    if not new:
        return
    columns = list(old[0].cells) if old else list(_PARTICIPANTS)
    rows = [
        *(dict(row.cells) for row in old),
        *(dict.fromkeys(columns, MISSING) | {"participant_id": name} for name in new),
    ]
    write_rows(path, columns=columns, rows=rows)
    text = "Stroke MRI; who the patients are stands in a key file that lies elsewhere."
    describe_participants(target, columns=columns, text=text)
