"""The documentation builds without a warning, and no file names another that is not there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tissueclock.catalog import load_phase
from tissueclock.checking import check_study
from tissueclock.cohort.store import Cohort
from tissueclock.study import read_study

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "DESIGN.md", "SECURITY.md", "infra/README.md", "trainables/README.md")


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "-n",
            "--keep-going",
            "-b",
            "dummy",
            str(ROOT / "docs"),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    linked = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in linked if target and "://" not in target]

    assert [target for target in local if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_readme_is_read_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1_000


def test_the_study_in_the_readme_is_one_that_plan_accepts(tmp_path: Path, toy_cohort: Cohort) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "study.yaml").write_text(text.replace("cohort: cohort", f"cohort: {toy_cohort.folder}"))

    study, _ = check_study(read_study(tmp_path / "study.yaml"), load_phase, lambda _: None)

    assert list(study.arms) == ["chain", "scratch"]
