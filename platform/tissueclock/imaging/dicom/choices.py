"""Which of equally good series is taken: one word for all patients, or a table with a row for each that needs one.

Knows roles and names of series; which series are equally good, `selection` knows.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.objects import DicomSeries
from tissueclock.imaging.raw import Duplicates
from tissueclock.storage.tsv import MISSING, read_rows

COLUMNS = "participant_id, role, take"
_ROLES = {"": "", "dwi": "dwi", "b1000": "dwi", "b0": "b0", "adc": "adc", "flair": "flair"}
_UID_OR_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a row of the table asks for.

    Attributes:
        role: `dwi` (b1000, too, where b0 lies apart), `b0`, `adc`, `flair`, or empty for all.
        take: `first`, `last`, a SeriesNumber or a SeriesInstanceUID.
        where: File and row, for messages.
    """

    role: str
    take: str
    where: str

    @property
    def is_series(self) -> bool:
        """Whether one series is named."""
        return self.take not in ("first", "last")

    def names(self, series: DicomSeries) -> bool:
        """Whether this series is the one named."""
        first = series.files[0]
        return first.series_uid == self.take or (self.take.isdecimal() and first.number == int(self.take))


@dataclass(frozen=True, slots=True)
class Choices:
    """What one patient's duplicates are decided by.

    Attributes:
        word: For roles of which no row speaks.
        rows: By role; empty for all roles of which no other row speaks.
    """

    word: Duplicates = "refuse"
    rows: Mapping[str, Choice] = field(default_factory=dict)

    def row(self, role: str) -> Choice | None:
        """The row that speaks of a role."""
        return self.rows.get(_ROLES[role]) or self.rows.get("")

    def rule(self, role: str) -> Duplicates:
        """What to do where several are equally good and no series is named."""
        row = self.row(role)
        if row is None:
            return self.word
        return "refuse" if row.is_series else cast("Duplicates", row.take)


@dataclass(frozen=True, slots=True)
class DuplicateTable:
    """A table of choices, by participant and role."""

    path: Path
    rows: Mapping[tuple[str, str], Choice]

    def choices(self, participant: str) -> Choices:
        """Those of one patient; the others' duplicates are refused."""
        return Choices("refuse", {role: choice for (whose, role), choice in self.rows.items() if whose == participant})

    def check(self, known: Collection[str], found: Mapping[str, Sequence[DicomSeries]]) -> None:
        """Refuses rows that speak of nobody or of nothing.

        Args:
            known: All participants of the key file.
            found: The series of those of this run.

        Raises:
            ImageError: A participant is not known, or has no such series.
        """
        for (participant, _), choice in self.rows.items():
            if participant not in known:
                raise ImageError(
                    f"{choice.where}: participant {participant} is not known; ingest gives the names: those that it "
                    "lists and the key file holds are allowed"
                )
            series = found.get(participant)
            if series is not None and choice.is_series and not any(choice.names(one) for one in series):
                listed = ", ".join(str(one.files[0].number) for one in series)
                raise ImageError(f"{choice.where}: {participant} has no series {choice.take}; it has {listed}")


def read_duplicates(path: Path) -> DuplicateTable:
    """Reads a table of choices.

    Args:
        path: Tab-separated, with columns `participant_id` and `take`, and `role` if a row is not to speak of all roles.

    Raises:
        CohortError: It is no table, or lacks a column.
        ImageError: A role or what to take is an unknown word, or a row is there twice.
    """
    rows: dict[tuple[str, str], Choice] = {}
    for participant, choice in _rows(path):
        if choice.role not in _ROLES:
            allowed = ", ".join(role for role in _ROLES if role)
            raise ImageError(f"{choice.where}: role {choice.role!r} found; {allowed} or nothing are allowed")
        if choice.is_series and not _UID_OR_NUMBER.fullmatch(choice.take):
            raise ImageError(
                f"{choice.where}: take {choice.take!r} found; "
                "first, last, a SeriesNumber or a SeriesInstanceUID is needed"
            )
        name = participant, _ROLES[choice.role]
        if name in rows:
            raise ImageError(
                f"{choice.where}: {participant} {choice.role} stands in {rows[name].where}, too; once is allowed"
            )
        rows[name] = choice
    return DuplicateTable(path, rows)


def _rows(path: Path) -> Iterator[tuple[str, Choice]]:
    for row in read_rows(path, required=("participant_id", "take")):
        role = row.cells.get("role", MISSING).lower()
        take = row.cells["take"]
        take = take.lower() if take.lower() in ("first", "last") else take
        yield row.cells["participant_id"], Choice("" if role == MISSING else role, take, f"{path}, row {row.number}")
