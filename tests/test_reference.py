"""The reference is what the code says."""

from pathlib import Path

import pytest

from tissueclock.cli.reference import study_keys
from tissueclock.cli.reference_pages import commands, pages

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    said = (REFERENCE / name).read_text(encoding="utf-8")

    assert said == PAGES[name], "run make docs"


def test_every_key_of_a_study_has_a_meaning() -> None:
    assert [entry.name for entry in study_keys() if not entry.meaning] == []


def test_every_option_of_the_command_line_has_a_meaning() -> None:
    assert [(name, option.name) for name, _, options in commands() for option in options if not option.meaning] == []
