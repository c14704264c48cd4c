"""The command `init`: a first study file that fits a cohort and this machine."""

import os
import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tissueclock.cli.console import one_of, say
from tissueclock.errors import InputError


def init(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="A packed cohort.", show_default=False)],
    study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="The file to write.", show_default=False)],
    arms: Annotated[str, typer.Option(help="What is compared: quick, paper or table2.")] = "quick",
) -> None:
    """Write a commented study file that fits a cohort and this machine; plan accepts it as it is."""
    from tissueclock.study_draft import ARMS, draft_study, study_name

    asked = next(each for each in ARMS if each == one_of(arms, "--arms", ARMS))
    if study_file.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{study_file}: a study file ends with .yaml or .yml")
    if study_file.exists():
        raise InputError(f"{study_file}: is there already, and stays as it is; name another file")

    from tissueclock.cohort.store import Cohort
    from tissueclock.storage.files import write_text
    from tissueclock.sweeping.room import this_machine

    opened, name = Cohort.open(cohort), study_name(study_file, cohort)

    def draft(path: str) -> str:
        return draft_study(opened, arms=asked, name=name, cohort_path=path, node=this_machine())

    _check(draft(str(cohort.resolve())))
    beside = os.path.relpath(cohort.resolve(), study_file.resolve().parent)
    write_text(study_file, draft(str(cohort.resolve()) if beside.startswith("..") else beside))
    say(f"{study_file}: written, with a reason for each choice; next: tissueclock plan {shlex.quote(str(study_file))}")


def _check(text: str) -> None:
    """Raises what `plan` would, before anything is written."""
    from tissueclock.catalog import load_phase
    from tissueclock.checking import check_study
    from tissueclock.study import read_study

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(text, encoding="utf-8")
        check_study(read_study(file), load_phase, lambda _: None, verify=False)
