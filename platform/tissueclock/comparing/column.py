"""A column of a table, said once: its heading, its cells, its side, and what `results.tsv` holds of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """What a table shows of each row, wherever it is shown.

    Attributes:
        heading: In the report; None where the report leaves the column out. A line break stands.
        cell: A row's cell in the report.
        is_number: Whether it is set to the right and not broken.
        short_heading: In the terminal; None where the terminal leaves the column out.
        short_cell: A row's cell in the terminal.
        facts: What `results.tsv` holds of a row, by the name of its column there; the same names for every row.
    """

    heading: str | None = None
    cell: Callable[[Row], str] = lambda _: ""
    is_number: bool = False
    short_heading: str | None = None
    short_cell: Callable[[Row], str] = lambda _: ""
    facts: Callable[[Row], Mapping[str, Any]] = lambda _: {}
