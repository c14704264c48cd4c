"""The manifest: who the patients are, when their strokes began and on which side they lie (`participants.tsv`).

Validated row by row here, at the border, and trusted inside.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from tissueclock.errors import CohortError
from tissueclock.storage.tsv import MISSING, Row, read_rows, write_rows

LesionSide = Literal["left", "right", "both", "none"]

REQUIRED_COLUMNS = ("participant_id", "onset_to_mri_min", "lesion_side")
LAST_SEEN_WELL = "last_seen_well_min"
"""An optional column: minutes from when the patient was last seen well to MRI, which onset cannot be before."""

HAS_FLAIR = "has_flair"
"""A column that `pack --allow-missing flair` writes: `no` for patients whose FLAIR is packed as zeros."""

READER_PREFIX = "reader_"
MAX_ONSET_MIN = 43_200.0
"""Thirty days: a longer time is a wrong unit or a wrong date, not an acute stroke."""

OnsetUnit = Literal["minutes", "hours", "seconds"]
MINUTES: Mapping[OnsetUnit, float] = {"minutes": 1.0, "hours": 60.0, "seconds": 1 / 60}

LIKELY_MEDIAN_MIN = (10.0, 2880.0)
"""Between these the median of a cohort's onsets lies where the cuts, 3 and 4.5 h, mean anything: hours give less,
seconds more."""

_READINGS: Mapping[str, bool | None] = {"yes": True, "no": False, MISSING: None}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Patient:
    """One row of the manifest.

    Attributes:
        participant_id: Letters, digits, dot, dash, underscore.
        onset_to_mri_min: Minutes from onset to MRI, above 0; None where it is not known, or there is no lesion.
        lesion_side: Which half of the brain holds the lesion; None where it is not known.
        readers: Per reader (`reader_1`, ...) whether DWI-FLAIR mismatch was read; None where not read.
        extra: Every other column, as text.
    """

    participant_id: str
    onset_to_mri_min: float | None
    lesion_side: LesionSide | None
    readers: Mapping[str, bool | None]
    extra: Mapping[str, str]

    @property
    def site(self) -> str | None:
        """Where the patient was scanned: the column `site`, or `scanner` where it tells none; None: not known."""
        told = (self.extra.get(column, MISSING) for column in ("site", "scanner"))
        return next((word for word in told if word not in ("", MISSING)), None)

    @property
    def has_flair(self) -> bool:
        """Whether there is FLAIR of the patient; where not, it is packed as zeros."""
        return self.extra.get(HAS_FLAIR) != "no"

    @property
    def is_scored(self) -> bool:
        """Whether all that networks are asked about the patient is known: side and, with a lesion, onset.

        Who is not, such as a patient who woke up with the stroke, is learned from where what is known allows it, and
        judges nothing.
        """
        return self.lesion_side == "none" or (self.lesion_side is not None and self.onset_to_mri_min is not None)


def read_manifest(path: Path, *, onset_unit: OnsetUnit | None = None) -> tuple[Patient, ...]:
    """Reads and validates a manifest.

    Args:
        path: Tab-separated, with `participant_id`, `onset_to_mri_min`, `lesion_side` and, as wished,
            `last_seen_well_min`, `reader_*`, `age`, `sex`, `nihss` and others. Onset and side are `n/a` where nobody
            knows them.
        onset_unit: In which the column `onset_to_mri_min` really is; None: minutes, if they look like it.

    Returns:
        The patients in the file's order.

    Raises:
        CohortError: The file is missing, empty or lacks a column, or a row is wrong: the first such row is named with
            its patient, column, value and what is allowed, and the others are counted. Or the median onset is none
            of minutes, and no unit was named.
    """
    rows = read_rows(path, required=REQUIRED_COLUMNS)
    patients: list[Patient] = []
    complaints: list[str] = []
    first_rows: dict[str, Row] = {}
    for row in rows:
        try:
            patients.append(_patient(row, first_rows, minutes=MINUTES[onset_unit or "minutes"]))
        except ValueError as error:
            complaints.append(f"row {row.number} ({row.cells['participant_id'] or 'no participant_id'}): {error}")
    if complaints:
        others = f" (and {len(complaints) - 1} more bad rows)" if len(complaints) > 1 else ""
        raise CohortError(f"{path}, {complaints[0]}{others}")
    if onset_unit is None:
        _check_unit(path, patients)
    return tuple(patients)


def _check_unit(path: Path, patients: Sequence[Patient]) -> None:
    onsets = [patient.onset_to_mri_min for patient in patients if patient.onset_to_mri_min is not None]
    lowest, highest = LIKELY_MEDIAN_MIN
    if onsets and not lowest <= (median := statistics.median(onsets)) <= highest:
        raise CohortError(
            f"{path}: the median of onset_to_mri_min is {median:g}; minutes are needed, and those of strokes have a "
            f"median of {lowest:g} to {highest:g}; --onset-unit minutes, hours or seconds says what they are"
        )


def write_manifest(path: Path, patients: Sequence[Patient]) -> None:
    """Writes patients as a manifest that `read_manifest` reads back equal.

    Raises:
        CohortError: A text holds a tab or a line break.
        StorageError: The folder cannot be written, or the disk is full.
    """
    readers = sorted({name for patient in patients for name in patient.readers})
    extra = sorted({name for patient in patients for name in patient.extra})
    words = {value: word for word, value in _READINGS.items()}
    write_rows(
        path,
        columns=[*REQUIRED_COLUMNS, *readers, *extra],
        rows=(
            {
                "participant_id": patient.participant_id,
                "onset_to_mri_min": format_onset(patient.onset_to_mri_min),
                "lesion_side": patient.lesion_side or MISSING,
                **{name: words[reading] for name, reading in patient.readers.items()},
                **patient.extra,
            }
            for patient in patients
        ),
    )


def format_onset(onset_to_mri_min: float | None) -> str:
    """Minutes as text that reads back to the same number; `n/a` for None.

    >>> format_onset(None), format_onset(222.0), format_onset(0.1)
    ('n/a', '222.0', '0.1')
    """
    return MISSING if onset_to_mri_min is None else repr(float(onset_to_mri_min))


def parse_onset(text: str, *, minutes: float = 1.0, column: str = "onset_to_mri_min") -> float | None:
    """Minutes from the text of a column, in which a unit has so many of them; None for `n/a`.

    Raises:
        ValueError: Not a number, not finite, not above 0, or absurdly long.
    """
    if text == MISSING:
        return None
    allowed = f"minutes above 0 and at most {MAX_ONSET_MIN:.0f}, or {MISSING} where it is not known"
    try:
        onset = float(text) * minutes
    except ValueError:
        raise ValueError(f"{column} is {text!r}; allowed: {allowed}") from None
    if not math.isfinite(onset) or not 0 < onset <= MAX_ONSET_MIN:
        raise ValueError(f"{column} is {text}; allowed: {allowed}")
    return onset


def _patient(row: Row, first_rows: dict[str, Row], *, minutes: float) -> Patient:
    """One validated row; remembers whose it is in `first_rows`."""
    cells = row.cells
    identity = cells["participant_id"]
    if not _ID.fullmatch(identity):
        raise ValueError(f"participant_id is {identity!r}; allowed: letters, digits, dot, dash and underscore")
    patient = identity.removeprefix("sub-")
    if patient in first_rows:
        first = first_rows[patient]
        spelled = "" if first.cells["participant_id"] == identity else f" as {first.cells['participant_id']}"
        raise ValueError(f"participant_id {identity} is already in row {first.number}{spelled}; each may appear once")
    first_rows[patient] = row
    side = cells["lesion_side"]
    if side not in (*get_args(LesionSide), MISSING):
        raise ValueError(f"lesion_side is {side!r}; allowed: {', '.join(get_args(LesionSide))} or {MISSING}")
    onset = parse_onset(cells["onset_to_mri_min"], minutes=minutes)
    last_seen = parse_onset(cells.get(LAST_SEEN_WELL, MISSING), minutes=minutes, column=LAST_SEEN_WELL)
    if onset is not None and last_seen is not None and onset > last_seen:
        raise ValueError(
            f"onset_to_mri_min is {onset:g} but {LAST_SEEN_WELL} is {last_seen:g}; a patient was last seen well before "
            "onset, so allowed: at least the onset's minutes"
        )
    known = {column for column in cells if column in REQUIRED_COLUMNS or column.startswith(READER_PREFIX)}
    return Patient(
        participant_id=identity,
        onset_to_mri_min=onset,
        lesion_side=None if side == MISSING else cast("LesionSide", side),
        readers={c: _reading(c, cells[c]) for c in cells if c.startswith(READER_PREFIX)},
        extra={c: cells[c] for c in cells if c not in known},
    )


def _reading(column: str, text: str) -> bool | None:
    if text not in _READINGS:
        raise ValueError(f"{column} is {text!r}; allowed: {', '.join(_READINGS)}")
    return _READINGS[text]
