"""The cohort by eye: `qc.tsv`, whose `exclude` column heeds the user, and one page with every picture, worst first."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from tissueclock import __version__
from tissueclock.errors import CohortError, ImageError
from tissueclock.imaging.derivatives import Derivatives, PatientFolder, read_facts
from tissueclock.imaging.exclusion import Said, decide, reason_to_exclude
from tissueclock.imaging.lesion_side import remark_on_side
from tissueclock.imaging.quality import FIGURES, Quality
from tissueclock.storage.files import write_text
from tissueclock.storage.tsv import MISSING, read_rows, write_rows

EXCLUDE, NOTE, REASON = "exclude", "note", "excluded_by_default"
_EXCLUDE_WORDS = {"yes": True, "no": False, "": False, MISSING: False}
_FIGURES = tuple(figure.name for figure in FIGURES)
_COLUMNS = ("participant_id", EXCLUDE, NOTE, "flags", *_FIGURES, "brighter_side", "assumed", REASON)
_TEMPLATE = "quality.html.j2"


@dataclass(frozen=True, slots=True)
class JudgedPatient:
    """A patient on the quality page, and what was decided about the patient.

    Attributes:
        folder: The patient's files.
        quality: Figures and flags.
        said: Whether the patient is left out, by whose word and why.
        facts: What the patient's JSON file says.
    """

    folder: PatientFolder
    quality: Quality
    said: Said
    facts: Mapping[str, Any]

    @property
    def assumed(self) -> tuple[str, ...]:
        """What nothing in the patient's files told, and was taken for granted."""
        return tuple(self.facts.get("assumed", ()))


def judge(folder: Derivatives) -> tuple[JudgedPatient, ...]:
    """Every patient there is, worst first; what the user wrote into `qc.tsv` is kept.

    Raises:
        ImageError: A patient's facts are damaged, or a word in the `exclude` column is neither yes nor no.
    """
    said = read_exclusions(folder)
    sides = _lesion_sides(folder)
    patients = [
        (patient, read_facts(patient.facts, needed=("quality", "files", "complete", "digests")))
        for patient in folder.done()
    ]
    twins = _twins(patients)
    judged = []
    for patient, facts in patients:
        told = _quality(facts)
        side = remark_on_side(sides.get(patient.subject), lesion=facts.get("lesion"), brighter=told.brighter_side)
        quality = _with_remarks(told, side, twins.get(patient.subject))
        word = decide(said.get(patient.subject, Said()), reason_to_exclude(quality.figures))
        judged.append(JudgedPatient(patient, quality, word, facts))
    return tuple(sorted(judged, key=lambda patient: (-patient.quality.badness, patient.folder.subject)))


def read_exclusions(folder: Derivatives) -> dict[str, Said]:
    """Per patient whether `qc.tsv` leaves the patient out, and the note beside it; empty where there is no table yet.

    Tables of before there were defaults lack the column of reasons: all that they say is the user's word.

    Raises:
        CohortError: The table lacks a column.
        ImageError: A word is neither yes nor no.
    """
    if not folder.quality_table.exists():
        return {}
    said = {}
    for row in read_rows(folder.quality_table, required=("participant_id", EXCLUDE)):
        word = row.cells[EXCLUDE].lower()
        if word not in _EXCLUDE_WORDS:
            raise ImageError(
                f"{folder.quality_table}, row {row.number} ({row.cells['participant_id']}): "
                f"{EXCLUDE} is {row.cells[EXCLUDE]!r}; allowed: yes, no"
            )
        note, reason = ("" if (cell := row.cells.get(name, "")) == MISSING else cell for name in (NOTE, REASON))
        said[row.cells["participant_id"]] = Said(_EXCLUDE_WORDS[word], note, reason)
    return said


def write_quality(folder: Derivatives, *, failed: Mapping[str, str]) -> tuple[JudgedPatient, ...]:
    """Writes `qc.tsv` (by patient) and `qc.html` (worst first).

    Args:
        folder: Of the derivatives.
        failed: Patients who did not come through, and why.

    Returns:
        What is on the page, worst first.

    Raises:
        ImageError: A patient's facts are damaged.
        StorageError: The folder cannot be written, or the disk is full.
    """
    judged = judge(folder)
    if judged:
        rows = [_row(patient) for patient in sorted(judged, key=lambda patient: patient.folder.subject)]
        write_rows(folder.quality_table, columns=_COLUMNS, rows=rows)
    write_text(folder.quality_page, _render(folder, judged, failed))
    return judged


def _quality(facts: Mapping[str, Any]) -> Quality:
    told = facts["quality"]
    return Quality(told["figures"], told["brighter_side"], tuple(told["remarks"]))


def _with_remarks(quality: Quality, side: str | None, twin: str | None) -> Quality:
    """The quality with what others' files and the table say of the patient."""
    remarks = list(quality.remarks)
    if side is not None:
        remarks.append(side)
    if twin is not None:
        remarks.append(f"same DWI file as {twin}: one patient twice?")
    return replace(quality, remarks=tuple(remarks))


def _twins(patients: Sequence[tuple[PatientFolder, Mapping[str, Any]]]) -> dict[str, str]:
    """Patients who share a DWI file's bytes with another."""
    owners: dict[str, list[str]] = defaultdict(list)
    for patient, facts in patients:
        for name, digest in facts["files"].items():
            if ".nii" in name and "flair" not in name.lower():
                owners[digest].append(patient.subject)
    shared = [subjects for subjects in owners.values() if len(set(subjects)) > 1]
    return {
        subject: next(other for other in subjects if other != subject) for subjects in shared for subject in subjects
    }


def _lesion_sides(folder: Derivatives) -> dict[str, str]:
    """What the participants' table says, as far as it can be read; judging it is for `pack`."""
    if not folder.participants.exists():
        return {}
    try:
        rows = read_rows(folder.participants, required=("participant_id",))
    except CohortError:
        return {}
    return {
        f"sub-{row.cells['participant_id'].removeprefix('sub-')}": row.cells.get("lesion_side", MISSING) for row in rows
    }


def _row(patient: JudgedPatient) -> dict[str, str]:
    figures = {
        figure.name: MISSING if (value := patient.quality.figures.get(figure.name)) is None else f"{value:.6g}"
        for figure in FIGURES
    }
    return {
        "participant_id": patient.folder.subject,
        EXCLUDE: "yes" if patient.said.exclude else "no",
        NOTE: patient.said.note or MISSING,
        "flags": "; ".join(patient.quality.flags) or MISSING,
        **figures,
        "brighter_side": patient.quality.brighter_side or MISSING,
        "assumed": "; ".join(patient.assumed) or MISSING,
        REASON: patient.said.reason or MISSING,
    }


def _render(folder: Derivatives, judged: Sequence[JudgedPatient], failed: Mapping[str, str]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tissueclock.imaging"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    patients = [
        {
            "subject": patient.folder.subject,
            "picture": patient.folder.picture.relative_to(folder.path).as_posix(),
            "flags": patient.quality.flags,
            "exclude": patient.said.exclude,
            "note": patient.said.note,
            "notes": [*patient.facts.get("notes", []), *(f"assumed: {line}" for line in patient.assumed)],
            "figures": [_shown(figure, patient.quality.figures.get(figure.name)) for figure in FIGURES],
        }
        for patient in judged
    ]
    settings = read_facts(folder.settings)
    return environment.get_template(_TEMPLATE).render(
        patients=patients,
        failed=sorted(failed.items()),
        figures=[{"title": figure.title, "allowed": figure.allowed} for figure in FIGURES],
        n_flagged=sum(bool(patient["flags"]) for patient in patients),
        n_excluded=sum(patient.said.exclude for patient in judged),
        n_by_default=sum(patient.said.by_default for patient in judged),
        settings=settings,
        version=__version__,
        table=Path(folder.quality_table).name,
    )


def _shown(figure: Any, value: float | None) -> dict[str, Any]:
    text = "n/a" if value is None else f"{value:.{figure.digits}f}"
    return {"title": figure.title, "value": text, "bad": figure.badness(value) > 0}
