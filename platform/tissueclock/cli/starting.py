"""The command `init`: a first study file that fits a cohort and this machine."""

import os
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

    arms = one_of(arms, "--arms", ARMS)
    if study_file.suffix not in (".yaml", ".yml"):
        raise InputError(f"{study_file}: a study file ends with .yaml")
    if study_file.exists():
        raise InputError(f"{study_file}: is there already, and stays as it is; name another file")

    from tissueclock.cohort.store import Cohort
    from tissueclock.storage.files import write_text
    from tissueclock.sweeping.room import this_machine

    opened = Cohort.open(cohort)
    beside = os.path.relpath(cohort.resolve(), study_file.resolve().parent)
    path = str(cohort.resolve()) if beside.startswith("..") else beside
    text = draft_study(
        opened,
        arms=next(each for each in ARMS if each == arms),
        name=study_name(study_file),
        cohort_path=path,
        node=this_machine(),
    )
    write_text(study_file, text)
    say(f"{study_file}: written, with a reason for each choice; next: tissueclock plan {study_file}")
