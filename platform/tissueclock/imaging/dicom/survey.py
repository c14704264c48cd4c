"""Finds DICOM images under a folder, whatever the files' names, and groups them to series of patients.

Damaged files stay with the patient whose they are, so that what they cost can be told.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.headers import Identity
from tissueclock.imaging.dicom.objects import DicomSeries, File, LeftError, read_file, same_picture
from tissueclock.imaging.dicom.persons import Persons, is_placeholder
from tissueclock.imaging.dicom.recognition import merge


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies under a folder.

    Attributes:
        patients: Series of each patient in the order of acquisition, by `(patient ID, issuer)` or `("", study UID)`.
        left: How many files were left, by reason.
        damaged: One line for each file whose header is damaged so that nobody knows whose it is, and for each folder of
            files that were not fetched.
        studies: Of each patient without an ID, all studies that were taken for that patient's.
    """

    patients: Mapping[tuple[str, str], tuple[DicomSeries, ...]]
    left: Mapping[str, int]
    damaged: tuple[str, ...]
    studies: Mapping[tuple[str, str], tuple[str, ...]]


def survey(
    source: Path,
    *,
    ignored: Sequence[Path] = (),
    known: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Reads the headers of all files under a folder.

    Args:
        source: Any depth, any names.
        ignored: Folders and files that are no input.
        known: Studies of known patients without an ID, each with the study that names the patient.
        progress: Called with files read and files in all.

    Returns:
        Patients with their series, and what was left.

    Raises:
        ImageError: There is no such folder, or no DICOM image in it.
    """
    paths = list(_walk(source, ignored={path.resolve() for path in ignored}))
    files: list[File] = []
    left: Counter[str] = Counter()
    for done, path in enumerate(paths, start=1):
        try:
            files.append(read_file(path))
        except LeftError as reason:
            left[str(reason)] += 1
        if progress is not None:
            progress(done, len(paths))
    whole = [file for file in files if file.legible]
    damaged = [file for file in files if not file.legible]
    if not whole:
        found = ", ".join(f"{n} {reason}" for reason, n in left.most_common()) or "no file"
        first = f"; {_line(damaged[0])}" if damaged else ""
        raise ImageError(
            f"{source}: no DICOM image found ({found}, {len(damaged)} damaged{first}); a folder of MR is needed"
        )
    persons = Persons((file.identity for file in whole), known)
    owners = _Owners(whole, persons)
    claimed = [(file, owners.find(file)) for file in damaged]
    theirs = [_assigned(file, owner) for file, owner in claimed if owner is not None]
    nobodys = _nobodys([file for file, owner in claimed if owner is None])
    return Survey(_by_patient([*whole, *theirs], persons, left), dict(left), nobodys, persons.studies)


def _walk(source: Path, *, ignored: set[Path]) -> Iterator[Path]:
    if not source.is_dir():
        raise ImageError(f"{source}: no such folder; a folder of DICOM is needed")
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        # What git keeps of its files is no second copy of them.
        folders[:] = sorted(name for name in folders if name != ".git" and (here / name).resolve() not in ignored)
        for name in sorted(names):
            path = here / name
            if path.resolve() not in ignored and (path.is_file() or (path.is_symlink() and not path.exists())):
                yield path


class _Owners:
    """Whose a damaged file is: told by what is left of its header, or else by the folder it lies in.

    A patient of whom every file is damaged is nobody known: half an ID must not become a patient.
    """

    def __init__(self, whole: Sequence[File], persons: Persons) -> None:
        self._persons = persons
        self._by_id: dict[str, dict[tuple[str, str], Identity]] = {}
        self._by_study: dict[str, dict[tuple[str, str], Identity]] = {}
        self._below: dict[Path, dict[tuple[str, str], Identity]] = {}
        for file in whole:
            who, patient = file.identity, persons.find(file.identity)
            self._by_id.setdefault(who.patient_id, {}).setdefault(patient, who)
            self._by_study.setdefault(who.study_uid, {}).setdefault(patient, who)
            for folder in file.path.parents:
                self._below.setdefault(folder, {}).setdefault(patient, who)

    def find(self, file: File) -> Identity | None:
        """The one patient whose it can be; None where there is none, or several."""
        who = file.identity
        if not is_placeholder(who.patient_id):
            found = self._by_id.get(who.patient_id, {})
        elif who.study_uid:
            found = self._by_study.get(who.study_uid, {})
        else:
            found = next(self._below[folder] for folder in file.path.parents if folder in self._below)
        if (patient := self._persons.find(who)) in found:
            return found[patient]
        return next(iter(found.values())) if len(found) == 1 else None


def _assigned(file: File, owner: Identity) -> File:
    """A damaged file as its patient's; the study stays its own, if it is told."""
    own = file.identity
    identity = replace(owner, study_uid=own.study_uid or owner.study_uid, study_date=own.study_date or owner.study_date)
    return replace(file, identity=identity)


def _line(file: File) -> str:
    return f"{file.path}: {file.damage}"


def _nobodys(files: Sequence[File]) -> tuple[str, ...]:
    absent: dict[tuple[Path, str], list[File]] = {}
    for file in files:
        if file.absent:
            absent.setdefault((file.path.parent, file.damage), []).append(file)
    folders = (
        _line(theirs[0]) if len(theirs) == 1 else f"{folder}: {len(theirs)} files, each {damage}"
        for (folder, damage), theirs in absent.items()
    )
    return (*(_line(file) for file in files if not file.absent), *folders)


def _by_patient(
    files: Sequence[File], persons: Persons, left: Counter[str]
) -> dict[tuple[str, str], tuple[DicomSeries, ...]]:
    """Series of each patient; an image that was exported twice counts once, two under one number count twice."""
    groups: dict[tuple[str, str], dict[str, dict[str, File]]] = {}
    for file in files:
        series = groups.setdefault(persons.find(file.identity), {}).setdefault(file.series_uid, {})
        name = file.instance_uid or str(file.path)
        if name in series:
            of_that_number = [key for key, other in series.items() if other.instance_uid == file.instance_uid]
            name = next((key for key in of_that_number if same_picture(series[key], file)), str(file.path))
        if name in series:
            left["a second copy of an image"] += 1
        if name not in series or series[name].damage:
            series[name] = file
    return {
        patient: tuple(
            sorted(
                (
                    DicomSeries(tuple(f.values()), merge([file.facts for file in f.values()]))
                    for f in all_series.values()
                ),
                key=lambda series: series.order,
            )
        )
        for patient, all_series in sorted(groups.items())
    }
