"""All patients of a raw folder: who is done already, who is the reference, who failed and why; the tables at the end.

Runs nothing itself: it is handed what runs `preprocess_patient` for many. Running again goes on.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from tissueclock.errors import CohortError, ImageError, InputError, TissueclockError
from tissueclock.imaging.dataset import write_description
from tissueclock.imaging.derivatives import SCHEMA, Derivatives, read_facts
from tissueclock.imaging.exclusion import Said, decide, reason_to_exclude
from tissueclock.imaging.preprocessing import PatientJob, preprocess_patient, read_reference
from tissueclock.imaging.quality_table import read_exclusions
from tissueclock.imaging.raw import Duplicates, list_subjects
from tissueclock.imaging.settings import Reference, Settings
from tissueclock.storage.files import atomic_path, clear_remains, digest_facts, read_json, write_json
from tissueclock.storage.locks import hold, wait_for
from tissueclock.storage.tsv import read_rows, write_rows

Runner = Callable[[Callable[[PatientJob], None], Sequence[PatientJob]], Iterable[tuple[int, TissueclockError | None]]]
"""Does each job once, in whatever order and place, and tells which has ended and how."""

_OF_A_PATIENT = frozenset({"session", "duplicates"})
_FAILED = ("participant_id", "reason")


@dataclass(slots=True)
class Preparation:
    """What became of each patient in a run of `prepare`.

    Attributes:
        done: Patients preprocessed in this run.
        kept: Patients who were done before.
        failed: The error of each patient who failed.
    """

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, TissueclockError] = field(default_factory=dict)


def prepare(
    raw: Path,
    target: Path,
    *,
    settings: Settings,
    run: Runner,
    reference: str | Reference | None = None,
    lesions: Path | None = None,
    brain_masks: Path | None = None,
    duplicates: Path | None = None,
    only: Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Preparation:
    """Preprocesses every patient of a raw folder who is not done yet.

    Args:
        raw: A BIDS folder.
        target: Its derivatives; may hold patients of an earlier run.
        settings: How patients are preprocessed.
        run: Runs many patients, side by side.
        reference: Whose histogram everybody gets: a patient of the folder, or that of a study elsewhere. None: the one
            of the earlier run, else of the first who comes through and is not excluded by default.
        lesions: A derivatives folder with a `sub-*` lesion mask for some or all.
        brain_masks: A derivatives folder with everybody's brain mask on b0's voxels; who lacks one fails. None: brains
            are found here.
        duplicates: A table, `participant_id` and `take` (`first`, `last` or `refuse`), for patients of whom the
            settings' `duplicates` is not to hold.
        only: These patients of the folder, and whose histogram everybody gets; other processes may be at work on
            others at the same time. None: all, and nobody else may be at work.
        progress: Told how many of how many are done, and who was the last.

    Returns:
        Who was done, kept or failed; one bad patient does not stop the others.

    Raises:
        ImageError: The folder holds no patient, or not one of `only`, or a setting, the reference, the table of
            duplicates or a word in `qc.tsv` is wrong.
        BusyError: Another process is at work on the target.
        StorageError: The target cannot be written.
    """
    subjects = list_subjects(raw)
    _check_target(raw, target)
    facts = settings.as_facts()
    if isinstance(reference, str) and reference not in subjects:
        raise ImageError(f"--reference is {reference}; {raw} has {subjects[0]} to {subjects[-1]} ({len(subjects)})")
    if only is not None and (unknown := sorted(set(only) - set(subjects))):
        raise ImageError(f"{raw}: no {unknown[0]}; it has {subjects[0]} to {subjects[-1]} ({len(subjects)})")
    chosen = subjects if only is None else tuple(subject for subject in subjects if subject in only)
    masks = {} if lesions is None else find_lesions(lesions, subjects)
    if brain_masks is not None and not brain_masks.is_dir():
        raise ImageError(f"{brain_masks}: no such folder; derivatives with sub-*/ and brain masks are needed")
    taken = {} if duplicates is None else read_taken(duplicates, subjects)
    folder = Derivatives(target)
    said = read_exclusions(folder)  # a wrong word in it is said now, not after the last patient
    with hold(folder.lock, what="folder", shared=only is not None):
        if only is None:
            clear_remains(folder.path)
        else:
            _check_same_settings(folder, facts)
        work = _Work(raw, folder, settings, masks, brain_masks, taken, said, run, progress, len(chosen))
        with wait_for(folder.common_lock):
            write_description(target, name="preprocessed", kind="derivative", command="tissueclock preprocess")
            write_json(folder.settings, {"schema": SCHEMA, **facts})
            histogram = reference if isinstance(reference, Reference) else None
            if histogram is not None:
                _write_reference(folder, histogram, settings_digest=digest_facts(facts))
            elif settings.matching:
                asked = cast("str | None", reference)
                histogram = work.find_reference(subjects, asked=asked, settings_digest=digest_facts(facts))
        own = None if histogram is None or histogram is reference else histogram.subject
        work.run_all([subject for subject in chosen if subject != own], histogram)
        with wait_for(folder.common_lock):
            _write_failures(folder, work.result, keep_others=only is not None)
            for other in set(work.result.failed) - set(chosen):  # tried as a reference, and no concern of this run's
                del work.result.failed[other]
            if (participants := raw / "participants.tsv").exists():
                with atomic_path(folder.participants) as temporary:  # as it is: whether it can be read, `pack` says
                    shutil.copyfile(participants, temporary)
    return work.result


def _check_target(raw: Path, target: Path) -> None:
    """Raises ImageError where derivatives would be written over raw scans."""
    kind = None
    with contextlib.suppress(InputError):
        kind = read_json(target / "dataset_description.json").get("DatasetType")
    if target.resolve() == raw.resolve() or kind == "raw":
        raise ImageError(f"{target}: a folder of raw scans; derivatives go to another, such as one in its derivatives/")


def _check_same_settings(folder: Derivatives, facts: Mapping[str, Any]) -> None:
    """Raises ImageError where others' patients in the folder were, or are being, preprocessed in another way."""
    if not folder.settings.exists():
        return
    before = read_facts(folder.settings)
    for key, value in facts.items():
        if key not in _OF_A_PATIENT and before.get(key, value) != value:
            raise ImageError(
                f"{folder.path}: its patients have {key} {before.get(key)!r}, asked for is {value!r}; give the same "
                "options for all, or another folder"
            )


def find_lesions(folder: Path, subjects: Sequence[str]) -> dict[str, Path]:
    """The lesion masks of a derivatives folder: NIfTI files below `sub-*` whose name says lesion, or mask, or msk.

    Raises:
        ImageError: The folder is missing, or a patient has several.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; derivatives with sub-*/ and lesion masks are needed")
    masks: dict[str, Path] = {}
    for subject in subjects:
        names = sorted(path for path in (folder / subject).rglob("*.nii*") if path.is_file())
        found = [path for path in names if "lesion" in path.name.lower()]
        found = found or [path for path in names if path.name.lower().split(".")[0].endswith(("_msk", "_mask"))]
        if len(found) > 1:
            raise ImageError(f"{subject}: lesion masks {', '.join(path.name for path in found)} found; one is needed")
        if found:
            masks[subject] = found[0]
    return masks


def read_taken(path: Path, subjects: Sequence[str]) -> dict[str, Duplicates]:
    """Which of two candidates for one series is taken, by patient.

    Args:
        path: Tab-separated, with `participant_id` (with or without `sub-`) and `take`: `first`, `last` or `refuse`.
        subjects: Whom the raw folder holds.

    Raises:
        CohortError: It is no table, or lacks a column.
        ImageError: A patient is not there or has two rows, or what to take is another word.
    """
    taken: dict[str, Duplicates] = {}
    for row in read_rows(path, required=("participant_id", "take")):
        subject, take = f"sub-{row.cells['participant_id'].removeprefix('sub-')}", row.cells["take"].lower()
        where = f"{path}, row {row.number} ({row.cells['participant_id']})"
        if subject not in subjects:
            raise ImageError(f"{where}: no such patient; there are {subjects[0]} to {subjects[-1]} ({len(subjects)})")
        if subject in taken:
            raise ImageError(f"{where}: has a row already; one is allowed")
        if take not in get_args(Duplicates):
            raise ImageError(f"{where}: take is {row.cells['take']!r}; allowed: {', '.join(get_args(Duplicates))}")
        taken[subject] = cast("Duplicates", take)
    return taken


@dataclass(slots=True)
class _Work:
    raw: Path
    target: Derivatives
    settings: Settings
    lesions: Mapping[str, Path]
    brain_masks: Path | None
    taken: Mapping[str, Duplicates]
    said: Mapping[str, Said]
    run: Runner
    progress: Callable[[int, int, str], None] | None
    n_subjects: int
    result: Preparation = field(default_factory=Preparation)

    def find_reference(self, subjects: Sequence[str], *, asked: str | None, settings_digest: str) -> Reference | None:
        """The reference study, preprocessed first: who is asked for, was before, or is the first to come through."""
        before = self._reference_before(settings_digest)
        if before is not None and asked in (None, before.subject) and self._is_current(before.subject, None):
            self._keep(before.subject)
            return before
        for subject in [asked] if asked is not None else sorted(subjects, key=self._lacks_flair):
            if self._is_current(subject, None):
                self._keep(subject)
            else:
                self._run([subject], None)
            if asked is None and self._is_excluded(subject):  # nobody gets the histogram of what is no sound study
                continue
            if subject not in self.result.failed:
                found = read_reference(self.target.patient(subject))
                _write_reference(self.target, found, settings_digest=settings_digest)
                return found
        if asked is not None:
            raise ImageError(f"--reference is {asked}, but: {self.result.failed[asked]}")
        return None

    def run_all(self, subjects: Sequence[str], reference: Reference | None) -> None:
        """Everybody who is neither done nor failed."""
        left = []
        for subject in subjects:
            if subject in self.result.failed:
                continue
            if self._is_current(subject, reference):
                self._keep(subject)
            else:
                left.append(subject)
        self._run(left, reference)

    def _run(self, subjects: Sequence[str], reference: Reference | None) -> None:
        for place, error in self.run(preprocess_patient, [self._job(subject, reference) for subject in subjects]):
            subject = subjects[place]
            if error is None:
                self.result.done.append(subject)
            else:
                self.result.failed[subject] = error
            self._tell(subject)

    def _keep(self, subject: str) -> None:
        self.result.kept.append(subject)
        self._tell(subject)

    def _tell(self, subject: str) -> None:
        if self.progress is not None:
            ended = len(self.result.done) + len(self.result.kept) + len(self.result.failed)
            self.progress(ended, self.n_subjects, subject)

    def _is_excluded(self, subject: str) -> bool:
        """Whether a patient who came through is left out, by default or by the user; if so, takes it off the result."""
        if subject in self.result.failed:
            return False
        told = read_facts(self.target.patient(subject).facts, needed=("quality",))["quality"]
        if not decide(self.said.get(subject, Said()), reason_to_exclude(told["figures"])).exclude:
            return False
        for ended in (self.result.done, self.result.kept):
            if subject in ended:
                ended.remove(subject)
        return True

    def _is_current(self, subject: str, reference: Reference | None) -> bool:
        """Whether a patient was preprocessed from the same files, in the same way."""
        folder = self.target.patient(subject)
        if not folder.facts.exists():
            return False
        try:
            job = self._job(subject, reference)
            wanted = job.input_digest(job.file_digests())
            return bool(read_facts(folder.facts, needed=("input_digest",))["input_digest"] == wanted)
        except (ImageError, OSError):
            return False

    def _lacks_flair(self, subject: str) -> bool:
        try:
            return self._job(subject, None).find_files().flair is None
        except ImageError:
            return True

    def _job(self, subject: str, reference: Reference | None) -> PatientJob:
        lesion = self.lesions.get(subject)
        settings = replace(self.settings, duplicates=self.taken.get(subject, self.settings.duplicates))
        return PatientJob(self.raw, subject, settings, self.target, reference, lesion, self.brain_masks)

    def _reference_before(self, settings_digest: str) -> Reference | None:
        if not self.target.reference.exists():
            return None
        facts = read_facts(self.target.reference, needed=("subject", "quantiles", "settings_digest"))
        if facts["settings_digest"] != settings_digest:
            return None
        return Reference(facts["subject"], {name: tuple(values) for name, values in facts["quantiles"].items()})


def _write_reference(folder: Derivatives, reference: Reference, *, settings_digest: str) -> None:
    write_json(folder.reference, {"schema": SCHEMA, "settings_digest": settings_digest, **reference.as_facts()})


def _write_failures(folder: Derivatives, result: Preparation, *, keep_others: bool) -> None:
    told = {subject: " ".join(str(error).split()) for subject, error in result.failed.items()}
    if keep_others and folder.failures.exists():
        with contextlib.suppress(CohortError):  # nobody had failed
            before = read_rows(folder.failures, required=_FAILED)
            told = {row.cells["participant_id"]: row.cells["reason"] for row in before} | told
        told = {subject: reason for subject, reason in told.items() if subject not in {*result.done, *result.kept}}
    rows = [dict(zip(_FAILED, line, strict=True)) for line in sorted(told.items())]
    write_rows(folder.failures, columns=_FAILED, rows=rows)
