"""The command that makes simulated patients: `phantom`, packed or as a scanner gives them."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tissueclock.cli.console import Grid, console, one_of, parse_grid, say, show_progress
from tissueclock.errors import InputError


def phantom(
    folder: Annotated[
        Path, typer.Argument(help="The packed cohort (or, with --raw, BIDS folder) to write.", show_default=False)
    ],
    preset: Annotated[
        str, typer.Option(help="How hard: easy, paper-like or hard; easy@1 and so on as 0.1 made them.")
    ] = "paper-like",
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 422,
    grid: Grid = "24x224x112",
    raw: Annotated[
        bool,
        typer.Option(help="As a scanner gives them: whole heads in a BIDS folder, for preprocess; the truth beside."),
    ] = False,
    anatomy: Annotated[
        str, typer.Option(help="With --raw: affine or nonlinear, how heads differ from the atlas.")
    ] = "nonlinear",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    lesions: Annotated[
        Path | None, typer.Option(help="A folder of lesion masks in MNI space (NIfTI) to draw from.")
    ] = None,
    holdout: Annotated[
        int, typer.Option(min=0, help="Further patients, all in the holdout, so that its intervals are narrow.")
    ] = 0,
    unknown_onset: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Of which share the table tells no onset, as of wake-up strokes; truth beside."
        ),
    ] = 0.0,
    missing_flair: Annotated[
        float, typer.Option(min=0, max=1, help="Which share has no FLAIR, as pack --allow-missing flair packs them.")
    ] = 0.0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the bytes do not depend on it.")] = 1,
    describe: Annotated[
        bool, typer.Option(help="Print what was made beside its targets (also of a cohort that exists).")
    ] = False,
    permute_onset: Annotated[
        bool, typer.Option(help="With --describe: permute onset times first; every observer must fall to 0.5.")
    ] = False,
) -> None:
    """Write a phantom cohort: simulated patients with known onset times, lesions and readers."""
    from tissueclock.phantom.generate import make_phantom

    if raw:
        if describe or permute_onset or holdout or missing_flair:
            raise InputError(
                "phantom: --raw has no --describe, --permute-onset, --holdout and --missing-flair; they are for packed "
                "cohorts"
            )
        _raw_phantom(
            folder,
            preset=preset,
            patients=patients,
            seed=seed,
            lesions=lesions,
            anatomy=anatomy,
            jobs=jobs,
            unknown_onset=unknown_onset,
        )
        return
    if not (describe and (folder / "cohort.json").exists()):
        with show_progress("patients") as told:
            make_phantom(
                folder,
                preset=preset,
                n_patients=patients,
                shape=parse_grid(grid),
                spacing_mm=None,
                seed=seed,
                lesions=lesions,
                progress=lambda n_done: told(n_done, patients + holdout, ""),
                n_jobs=jobs,
                n_held_out=holdout,
                unknown_onset=unknown_onset,
                missing_flair=missing_flair,
            )
        say(f"{folder}: {patients + holdout} phantom patients, preset {preset}, grid {grid}")
    if describe:
        _describe(folder, permute_onset=permute_onset)


def _raw_phantom(
    folder: Path,
    *,
    preset: str,
    patients: int,
    seed: int,
    lesions: Path | None,
    anatomy: str,
    jobs: int,
    unknown_onset: float,
) -> None:
    from tissueclock.phantom.raw.make_raw import make_raw_phantom

    one_of(anatomy, "phantom: --anatomy", ("affine", "nonlinear"))
    with show_progress("patients") as told:
        make_raw_phantom(
            folder,
            preset=preset,
            n_patients=patients,
            seed=seed,
            anatomy=anatomy,  # type: ignore[arg-type]  # one of the two
            lesions=lesions,
            progress=lambda n_done: told(n_done, patients, ""),
            n_jobs=jobs,
            unknown_onset=unknown_onset,
        )
    say(f"{folder}: {patients} raw phantom patients, preset {preset}")
    say(f"  next: tissueclock preprocess {folder} {folder}-preprocessed")


def _describe(folder: Path, *, permute_onset: bool) -> None:
    from tissueclock.phantom.describe import describe_phantom, describe_rows

    table = Table(title=escape(str(folder)) + (", onset times permuted" if permute_onset else ""), title_justify="left")
    table.add_column("quantity")
    for column in ("made", "target", "off by at most"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in describe_rows(describe_phantom(folder, permute_seed=0 if permute_onset else None)):
        wanted = ("", "") if row.target is None else (f"{row.target:.4g}", f"{row.tolerance:.2g}")
        if math.isnan(row.measured):
            table.add_row(row.name, "", *wanted, "too few patients")
        else:
            verdict = {True: "ok", False: "[red]off[/red]", None: ""}[row.ok]
            table.add_row(row.name, f"{row.measured:.4g}", *wanted, verdict)
    console.print(table)
