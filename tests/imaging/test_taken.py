"""Which of two candidates is taken, patient by patient: the table, and what of it reaches a patient's job."""

import re
from pathlib import Path

import pytest

from tissueclock.errors import ImageError, InputError
from tissueclock.imaging.preparation import read_taken

SUBJECTS = ("sub-0001", "sub-0002", "sub-0003")


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("participant_id\ttake", *rows)) + "\n")
    return path


def test_each_patient_has_a_word_of_its_own(tmp_path: Path) -> None:
    table = write(tmp_path / "duplicates.tsv", "0001\tlast", "sub-0003\tFirst")
    assert read_taken(table, SUBJECTS) == {"sub-0001": "last", "sub-0003": "first"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0009\tlast"], "row 2 (0009): no such patient; there are sub-0001 to sub-0003 (3)"),
        (["0001\tnewest"], "row 2 (0001): take is 'newest'; allowed: refuse, first, last"),
        (["0001\tlast", "sub-0001\tfirst"], "row 3 (sub-0001): has a row already; one is allowed"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        read_taken(write(tmp_path / "duplicates.tsv", *rows), SUBJECTS)


def test_a_table_without_its_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "duplicates.tsv"
    path.write_text("participant_id\tchoose\n0001\tlast\n")
    with pytest.raises(InputError, match="take"):
        read_taken(path, SUBJECTS)
