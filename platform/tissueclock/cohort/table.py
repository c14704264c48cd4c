"""The table of hemispheres: one row per half brain, in the order of the packed array (`hemispheres.tsv`).

Knows facts, not pixels; what is a label among them, a phase decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from tissueclock.cohort.manifest import Patient, format_onset, parse_onset
from tissueclock.cohort.split import Split
from tissueclock.errors import CohortError
from tissueclock.grid import Side
from tissueclock.storage.tsv import MISSING, Row, read_rows, write_rows

COLUMNS = ("patient", "side", "lesion", "onset_to_mri_min", "split")
_LESION: Mapping[str, bool | None] = {"0": False, "1": True, MISSING: None}


@dataclass(frozen=True, slots=True)
class Hemisphere:
    """Half a brain: the sample that networks see.

    Attributes:
        patient: The participant's id.
        side: Which half it was before the right one was mirrored onto the left.
        lesion: Whether it holds an acute lesion; None where that is not known.
        onset_to_mri_min: The patient's minutes from onset to MRI, on both halves; None where not known.
        split: The patient's split.
    """

    patient: str
    side: Side
    lesion: bool | None
    onset_to_mri_min: float | None
    split: Split


def make_table(patients: Sequence[Patient], split: Mapping[str, Split]) -> tuple[Hemisphere, ...]:
    """The hemispheres of `patients`, left before right, in the patients' order."""
    return tuple(
        Hemisphere(
            patient=patient.participant_id,
            side=side,
            lesion=None if patient.lesion_side is None else patient.lesion_side in (side, "both"),
            onset_to_mri_min=patient.onset_to_mri_min,
            split=split[patient.participant_id],
        )
        for patient in patients
        for side in get_args(Side)
    )


def write_table(path: Path, table: Sequence[Hemisphere]) -> None:
    """Writes the table so that `read_table` reads it back equal.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    write_rows(
        path,
        columns=COLUMNS,
        rows=(
            {
                "patient": hemisphere.patient,
                "side": hemisphere.side,
                "lesion": next(word for word, lesion in _LESION.items() if lesion is hemisphere.lesion),
                "onset_to_mri_min": format_onset(hemisphere.onset_to_mri_min),
                "split": hemisphere.split,
            }
            for hemisphere in table
        ),
    )


def read_table(path: Path) -> tuple[Hemisphere, ...]:
    """Reads the table.

    Raises:
        CohortError: The file is missing or a row is wrong; it is named with what was found and what is allowed.
    """
    return tuple(_hemisphere(path, row) for row in read_rows(path, required=COLUMNS))


def _hemisphere(path: Path, row: Row) -> Hemisphere:
    cells = row.cells
    for column, allowed in (("side", get_args(Side)), ("lesion", tuple(_LESION)), ("split", get_args(Split))):
        if cells[column] not in allowed:
            raise CohortError(
                f"{path}, row {row.number} ({cells['patient']}): {column} is {cells[column]!r}; "
                f"allowed: {', '.join(allowed)}"
            )
    try:
        onset = parse_onset(cells["onset_to_mri_min"])
    except ValueError as error:
        raise CohortError(f"{path}, row {row.number} ({cells['patient']}): {error}") from error
    return Hemisphere(
        patient=cells["patient"],
        side=cast("Side", cells["side"]),
        lesion=_LESION[cells["lesion"]],
        onset_to_mri_min=onset,
        split=cast("Split", cells["split"]),
    )
