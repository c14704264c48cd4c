"""Tab-separated tables with a header, read strictly and written whole.

Knows nothing of what the columns mean.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tissueclock.errors import CohortError
from tissueclock.storage.files import write_text

MISSING = "n/a"
"""How a value that is not known is written (BIDS)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its number in the file (the header is row 1) and its cells by column."""

    number: int
    cells: Mapping[str, str]


def read_rows(path: Path, *, required: Sequence[str]) -> tuple[Row, ...]:
    """Reads a table whose columns include `required`.

    Args:
        path: A UTF-8 file, with or without a byte order mark; empty lines are skipped.
        required: Columns that must be there.

    Returns:
        The rows in the file's order, cells stripped of blanks at their ends.

    Raises:
        CohortError: The file is missing or not text, lacks a column, names one twice, has a row of another length, or
            holds no row.
    """
    lines = list(csv.reader(io.StringIO(_read(path)), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or not any(lines[0]):
        raise CohortError(f"{path}: is empty; a header with {', '.join(required)} is needed")
    header = [cell.strip() for cell in lines[0]]
    if missing := [column for column in required if column not in header]:
        raise CohortError(
            f"{path}: column {', '.join(missing)} missing; found {', '.join(header)}; needed {', '.join(required)}"
        )
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise CohortError(f"{path}: column {', '.join(twice)} appears more than once; a column may appear once")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(header):
            raise CohortError(f"{path}, row {number}: {len(line)} cells found; the header has {len(header)}")
        rows.append(Row(number, dict(zip(header, (cell.strip() for cell in line), strict=True))))
    if not rows:
        raise CohortError(f"{path}: no row below the header; at least one is needed")
    return tuple(rows)


def write_rows(path: Path, *, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Writes a table, whole or not at all; a row without a column gets `n/a` there.

    Raises:
        CohortError: A cell holds a tab or a line break.
        StorageError: The folder cannot be written, or the disk is full.
    """
    lines = ["\t".join(columns)]
    for row in rows:
        cells = [row.get(column, MISSING) for column in columns]
        if bad := [cell for cell in cells if any(mark in cell for mark in "\t\r\n")]:
            raise CohortError(f"{path}: cell {bad[0]!r} holds a tab or a line break; neither is allowed")
        lines.append("\t".join(cells))
    write_text(path, "\n".join(lines) + "\n")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CohortError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise CohortError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise CohortError(f"{path}: cannot be read ({error.strerror})") from error
