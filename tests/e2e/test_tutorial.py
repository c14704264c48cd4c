"""The tutorial's commands, as they stand on the page, run one after the other in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import environment

pytestmark = pytest.mark.e2e
TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"


def commands_of(page: str) -> str:
    """What stands in the page's blocks of sh, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (TUTORIAL / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "".join(blocks)


def follow(page: str, folder: Path) -> str:
    """Runs them; what they said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", commands_of(page)],
        cwd=folder,
        env={**environment(folder), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_first_study(tmp_path: Path) -> None:
    said = follow("first-study.md", tmp_path)

    assert "Nothing is wrong" in said
    assert "no process is at work on it" in said
    assert (tmp_path / "study" / "report" / "index.html").is_file()
    assert len(list((tmp_path / "answers").glob("*.tsv"))) == 1
    assert (tmp_path / "answers" / "index.html").is_file()


def test_own_scans(tmp_path: Path) -> None:
    follow("own-scans.md", tmp_path)

    assert (tmp_path / "preprocessed" / "qc.html").is_file()
    assert (tmp_path / "cohort" / "cohort.json").is_file()
