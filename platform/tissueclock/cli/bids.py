"""The command `bids`: the others, under the conventions of a BIDS App (Gorgolewski et al. 2017).

References:
    Gorgolewski et al. 2017, doi 10.1371/journal.pcbi.1005209 (BIDS Apps: a folder in, a folder out, a level).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from tissueclock.cli import answers, scans
from tissueclock.cli.console import Grid, one_of, parse_grid, say, show_progress
from tissueclock.cli.ray_tasks import on_ray
from tissueclock.errors import InputError, TissueclockError

if TYPE_CHECKING:
    from tissueclock.imaging.settings import Reference, Settings

Level = Literal["participant", "group"]
COHORT = "cohort"
ANSWERS = "answers"
_IGNORED = f"{COHORT}/\n{ANSWERS}/\n{answers.WORK}/\nqc.*\nfailed.tsv\n*.json\nfigures/\n"
_SETTINGS = ("grid", "registration", "b", "b_tolerance")


def bids(
    context: typer.Context,
    bids_dir: Annotated[Path, typer.Argument(help="The raw BIDS folder; nothing is written to it.")],
    output_dir: Annotated[Path, typer.Argument(help="The derivatives to write, or to add to.")],
    level: Annotated[
        str,
        typer.Argument(
            metavar="participant|group",
            help="participant: preprocess, many processes side by side if wished. group: the quality page, then the "
            "packed cohort, or answers where a model is given.",
        ),
    ],
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            "--participant-label", "--participant_label", help="These alone, with or without sub-; default: all."
        ),
    ] = None,
    session_label: Annotated[
        str | None, typer.Option("--session-label", "--session_label", help="Which session, where there are several.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Preprocess as its cohort was, and answer: a study, a checkpoint or models:/NAME"),
    ] = None,
    arm: answers.Arm = None,
    tracking_uri: answers.TrackingUri = None,
    grid: Grid = "24x224x112",
    registration: Annotated[str, typer.Option(help="b0 to the atlas: affine, or syn on top of it.")] = "affine",
    b: scans.BValue = 1000.0,
    b_tolerance: scans.BTolerance = 300.0,
    n_cpus: Annotated[int, typer.Option("--n-cpus", "--n_cpus", min=1, help="Patients side by side.")] = 1,
    mem_mb: Annotated[int, typer.Option("--mem-mb", "--mem_mb", min=200, help="Reserved for each patient.")] = 1500,
    skip_bids_validation: Annotated[  # noqa: ARG001 (a word of the conventions)
        bool,
        typer.Option(
            "--skip-bids-validation", "--skip_bids_validation", help="Taken, as of any BIDS App; nothing is validated."
        ),
    ] = False,
) -> None:
    """Be a BIDS App: BIDS in, derivatives out, participants first, then the group. Research only."""
    asked = cast("Level", one_of(level, "the level", ("participant", "group")))
    labels = _labels(participant_label, context.args)
    idle = ("participant_label", "session_label", *_SETTINGS) if asked == "group" else _SETTINGS if model else ()
    sources = {name: context.get_parameter_source(name) for name in idle}
    if given := [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]:
        why = "is of level participant" if asked == "group" else "is the model's own, which its cohort was made with"
        raise InputError(f"bids: --{given[0].replace('_', '-')} {why}; leave it out")
    if asked == "group":
        _group(bids_dir, output_dir, model=model, arm=arm, tracking_uri=tracking_uri)
        return
    settings, reference = _way(
        output_dir, model=model, arm=arm, tracking_uri=tracking_uri, grid=grid, registration=registration,
        b=b, b_tolerance=b_tolerance, session=session_label,
    )  # fmt: skip
    _participants(bids_dir, output_dir, settings, reference, labels=labels, n_cpus=n_cpus, mem_mb=mem_mb)


def _labels(given: Sequence[str] | None, further: Sequence[str]) -> list[str] | None:
    """The subjects that are named; BIDS Apps take several words after one option."""
    if further and given is None:
        raise InputError(f"bids: {further[0]!r} found after the level; allowed: options")
    if given is None:
        return None
    words = [word for each in (*given, *further) for word in each.replace(",", " ").split()]
    if not words:
        raise InputError("bids: --participant-label is empty; allowed: labels, or no such option for all")
    return [f"sub-{word.removeprefix('sub-')}" for word in words]


def _way(
    output_dir: Path,
    *,
    model: str | None,
    arm: str | None,
    tracking_uri: str | None,
    grid: str,
    registration: str,
    b: float,
    b_tolerance: float,
    session: str | None,
) -> "tuple[Settings, Reference | None]":
    """How patients are preprocessed: as the model's cohort was, or as the options say."""
    from dataclasses import replace

    if model is not None:
        from tissueclock.answering.incoming import same_way

        settings, reference = same_way(answers.read_model(model, arm=arm, tracking_uri=tracking_uri, out=output_dir))
        return replace(settings, session=session), reference

    from tissueclock.grid import make_grid
    from tissueclock.imaging.bvalues import BValues
    from tissueclock.imaging.settings import Settings

    kind = cast("Any", one_of(registration, "--registration", ("affine", "syn")))
    return Settings(
        make_grid(parse_grid(grid)), registration=kind, b_values=BValues(b, b_tolerance), session=session
    ), None


def _participants(
    bids_dir: Path,
    output_dir: Path,
    settings: "Settings",
    reference: "Reference | None",
    *,
    labels: list[str] | None,
    n_cpus: int,
    mem_mb: int,
) -> None:
    from tissueclock.imaging.preparation import prepare

    with on_ray(None, n_cpus) as on_many, show_progress("patients") as told:

        def run(function: Callable[[Any], None], jobs: Sequence[Any]) -> Any:
            in_turn = n_cpus == 1 or len(jobs) == 1
            return _in_turn(function, jobs) if in_turn else on_many(function, jobs, memory_mb=mem_mb)

        result = prepare(
            bids_dir, output_dir, settings=settings, run=run, reference=reference, only=labels, progress=told
        )
    for subject, error in sorted(result.failed.items()):
        say(f"failed: {subject}: {' '.join(str(error).split())}", style="red")
    say(f"{output_dir}: {len(result.done)} patients done, {len(result.kept)} were done before")
    say("  next: the same with group, once all participants are through")
    scans.end(result)


def _in_turn(function: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[tuple[int, TissueclockError | None]]:
    """One after the other, in this process: a job of a cluster has one patient, and starts no Ray for it."""
    for place, job in enumerate(jobs):
        try:
            function(job)
        except TissueclockError as error:
            yield place, error
        else:
            yield place, None


def _group(bids_dir: Path, output_dir: Path, *, model: str | None, arm: str | None, tracking_uri: str | None) -> None:
    from tissueclock.imaging.derivatives import Derivatives
    from tissueclock.imaging.quality_table import write_quality
    from tissueclock.packing import is_packed_from
    from tissueclock.storage.files import write_text
    from tissueclock.storage.locks import hold

    folder = Derivatives(output_dir)
    if not folder.done():
        raise InputError(f"{output_dir}: nobody was preprocessed yet; run level participant first")
    with hold(folder.lock, what="folder"):
        write_quality(folder, failed={})
        write_text(output_dir / ".bidsignore", _IGNORED)
        say(f"look at {folder.quality_page}")
        if model is None and is_packed_from(output_dir, output_dir / COHORT):
            say(f"{output_dir / COHORT}: packed before, of the same patients")
        elif model is None:
            scans.pack(output_dir, output_dir / COHORT)
        else:
            from tissueclock.answering.incoming import write_participants

            write_participants(bids_dir, folder)
            answers.predict(model, output_dir, output_dir / ANSWERS, arm=arm, tracking_uri=tracking_uri)
