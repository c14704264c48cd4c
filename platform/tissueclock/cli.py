"""The command line, and the composition root: the one module that knows all the others.

Commands import what they need when they are called, so that `--help` answers at once.
"""

import contextlib
import errno
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from tissueclock import __version__, cli_scans
from tissueclock.cli_scans import Grid, RayAddress, console, parse_grid
from tissueclock.errors import BusyError, InputError, StorageError, TissueclockError

if TYPE_CHECKING:
    from tissueclock.study import Study

app = typer.Typer(
    help="Sweeps multi-phase transfer learning that tells from brain MRI how long ago a stroke began.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_WrongUsage: type[Exception] = typer.BadParameter.mro()[1]
"""click's UsageError, which newer releases of typer carry without exporting it."""
_INTERRUPTED = 130
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_TRACKER_PATIENCE_S = 60.0

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML).", show_default=False)]
app.command()(cli_scans.ingest)
app.command()(cli_scans.preprocess)
app.command()(cli_scans.pack)


def main() -> NoReturn:
    """Runs the command line; exit codes: 0 done, 1 the run failed, 2 the input is wrong, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(prog_name="tissueclock", standalone_mode=False)
    except (InputError, StorageError, BusyError) as error:
        _fail(error, 2)
    except TissueclockError as error:
        _fail(error, 1)
    except _WrongUsage as error:
        _fail(_usage_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        _fail(f"{error.filename or 'disk'}: cannot be read or written ({error.strerror})", 2)
    if code == _INTERRUPTED:  # newer releases of typer return it, older ones raise Abort
        Console(stderr=True).print("interrupted; the same command goes on from here", highlight=False)
    sys.exit(code if isinstance(code, int) else 0)


def _version(asked: bool) -> None:
    if asked:
        console.print(f"tissueclock {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Sweeps multi-phase transfer learning that tells from brain MRI how long ago a stroke began."""


@app.command()
def phantom(
    folder: Annotated[
        Path, typer.Argument(help="The packed cohort (or, with --raw, BIDS folder) to write.", show_default=False)
    ],
    preset: Annotated[str, typer.Option(help="How hard: easy, paper-like or hard.")] = "paper-like",
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
        if describe or permute_onset:
            raise InputError("phantom: --raw has no --describe and no --permute-onset; they are for packed cohorts")
        _raw_phantom(folder, preset=preset, patients=patients, seed=seed, lesions=lesions, anatomy=anatomy, jobs=jobs)
        return
    if not (describe and (folder / "cohort.json").exists()):
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("patients", total=patients)
            make_phantom(
                folder,
                preset=preset,
                n_patients=patients,
                shape=parse_grid(grid),
                spacing_mm=None,
                seed=seed,
                lesions=lesions,
                progress=lambda n_done: progress.update(task, completed=n_done),
                n_jobs=jobs,
            )
        console.print(
            f"{folder}: {patients} phantom patients, preset {preset}, grid {grid}", highlight=False, markup=False
        )
    if describe:
        _describe(folder, permute_onset=permute_onset)


@app.command()
def plan(study_file: StudyFile) -> None:
    """Check everything that can be wrong, start nothing, and print the bill."""
    from tissueclock import plan as planning
    from tissueclock.catalog import load_phase
    from tissueclock.display import bill_table

    study, _ = _checked(study_file, verify=True)
    with console.status("timing an epoch of each sweep"):
        lines = planning.bill(study, load_phase)
    on_gpu = any(spec.budget.resources.gpus for spec in study.vertices.values())
    console.print(bill_table(lines, free_bytes=planning.check_disk(study, lines), on_gpu=on_gpu))
    console.print(f"Nothing is wrong. To run it: tissueclock sweep {study_file}", highlight=False, markup=False)


@app.command()
def sweep(
    study_file: StudyFile,
    ray_address: RayAddress = None,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of a cluster started on this machine; default: all.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Take up trials that failed once more.")] = False,
) -> None:
    """Run a study, or go on with it: the same command after any interruption."""
    from tissueclock.catalog import load_phase
    from tissueclock.display import Notice, ProgressDisplay, progress_table, walk_progress
    from tissueclock.pipeline import Walk
    from tissueclock.storage.locks import hold
    from tissueclock.sweeping import cluster
    from tissueclock.tracking.follower import Follower

    with console.status("checking the study"):
        study, cohort = _checked(study_file, verify=False)
    with hold(study.folder.lock, what="study"), contextlib.ExitStack() as stack:

        def connect() -> None:
            trials = [spec.budget.resources for spec in study.vertices.values()]
            cluster.connect(address=ray_address, n_cpus=cpus, extensions=study.extensions, trials=trials)
            stack.callback(cluster.disconnect)

        walk = Walk(study, load_phase, cohort, connect)
        follower = Follower(uri=study.tracking_uri, study=study.settings.name, folder=study.folder)
        follower.start()
        try:
            with ProgressDisplay(console, Notice(follower)) as display:
                walk.run(display, retry_failed=retry_failed)
            report_file = _write_report(study)
            follower.log_report(report_file.parent)
        except BaseException as error:
            follower.stop(timeout_s=5, status="interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        with console.status("catching up with the tracker"):
            behind = follower.stop(timeout_s=_TRACKER_PATIENCE_S, status="failed" if walk.failed else "finished")
    if not console.is_terminal:
        console.print(progress_table(walk_progress(walk)))
    _print_results(study)
    if behind:
        console.print(
            f"The tracker is {behind} entries behind ({follower.fault}); run the same command again to catch up.",
            markup=False,
        )
    _print_next(study, study_file, report_file)
    if walk.failed:
        _print_failures(walk)
        sys.exit(1)


@app.command()
def status(study_file: StudyFile) -> None:
    """Say how far a study is; reads only, at any moment."""
    from tissueclock.display import progress_table, sweep_progress
    from tissueclock.storage.ledger import read_ledger
    from tissueclock.storage.locks import is_held
    from tissueclock.study import read_study

    study = read_study(study_file)
    if not study.folder.graph.exists():
        console.print(f"{study.folder.path}: nothing was started yet", highlight=False, markup=False, soft_wrap=True)
        return
    at_work = is_held(study.folder.lock)
    graph = study.folder.read_graph()
    rows = []
    for name in dict.fromkeys(name for names in graph["arms"].values() for name in names):  # in the order trained
        facts = graph["sweeps"][name]
        state = facts["state"] if at_work or facts["state"] != "running" else "interrupted"
        rows.append(
            sweep_progress(
                name=name,
                phase=facts["phase"],
                arms=facts["arms"],
                state=state,
                wanted=facts["trials"],
                ledger=read_ledger(study.folder.sweep(name).ledger),
                error=facts["error"],
            )
        )
    console.print(progress_table(rows))
    console.print("a process is at work on it" if at_work else "no process is at work on it", highlight=False)


@app.command()
def report(study_file: StudyFile) -> None:
    """Write the report of a study, finished or not, and print its table."""
    from tissueclock.study import read_study

    study = read_study(study_file)
    if not study.folder.graph.exists():
        raise InputError(f"{study.folder.path}: nothing was started yet; run tissueclock sweep {study_file} first")
    path = _write_report(study)
    _print_results(study)
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def predict(
    promoted: Annotated[
        Path, typer.Argument(help="A promoted checkpoint: sweeps/SWEEP/promoted/RANK.", show_default=False)
    ],
    cohort: Annotated[Path, typer.Argument(help="A packed cohort.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("predictions.tsv"),
) -> None:
    """Let a promoted checkpoint answer for every hemisphere of a packed cohort."""
    from tissueclock.storage.folders import PromotedFolder
    from tissueclock.training.prediction import predict as predict_cohort
    from tissueclock.training.prediction import write_predictions

    with console.status("predicting"):
        predictions = predict_cohort(PromotedFolder(promoted), cohort)
        write_predictions(out, predictions)
    n_positive = sum(prediction.positive for prediction in predictions)
    console.print(f"{out}: {len(predictions)} hemispheres, {n_positive} positive", highlight=False, markup=False)


@app.command()
def ui(
    study_file: StudyFile,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 5000,
) -> None:
    """Open the MLflow page of a study; ends with Ctrl+C."""
    from tissueclock.study import read_study
    from tissueclock.tracking.connection import check_tracker, sqlite_path
    from tissueclock.tracking.page import open_page

    study = read_study(study_file)
    check_tracker(study.tracking_uri)
    if (database := sqlite_path(study.tracking_uri)) is not None and not database.exists():
        raise InputError(f"{database}: nothing is logged yet; run tissueclock sweep {study_file} first")
    open_page(study.tracking_uri, study=study.settings.name, host=host, port=port)


def _checked(study_file: Path, *, verify: bool) -> "tuple[Study, Any]":
    from tissueclock.study import read_study

    study = read_study(study_file)  # before seconds of imports

    from tissueclock.catalog import load_phase, use_extensions
    from tissueclock.plan import check_study
    from tissueclock.tracking.connection import check_tracker

    use_extensions(study.extensions)
    return check_study(study, load_phase, check_tracker, verify=verify)


def _write_report(study: "Study") -> Path:
    from tissueclock.comparing.report import write_report

    with console.status("writing the report"):
        return write_report(study.folder)


def _print_results(study: "Study") -> None:
    from tissueclock import display
    from tissueclock.comparing.report import results_table

    rows = results_table(study.folder)
    console.print(display.results_table(rows))
    console.print(display.configurations(rows))


def _print_next(study: "Study", study_file: Path, report_file: Path) -> None:
    console.print("What to open next:", style="bold")
    for what, where in (
        ("the report", str(report_file)),
        ("every trial, in MLflow", f"tissueclock ui {study_file}"),
        ("promoted checkpoints", f"{study.folder.path}/sweeps/*/promoted/1"),
    ):
        console.print(f"  {what:<24}{where}", highlight=False, markup=False, soft_wrap=True)


def _print_failures(walk: Any) -> None:
    for vertex in walk.vertices.values():
        if vertex.error:
            line = f"{vertex.name}: {vertex.state}: {vertex.error}"
            console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def _raw_phantom(
    folder: Path, *, preset: str, patients: int, seed: int, lesions: Path | None, anatomy: str, jobs: int
) -> None:
    from tissueclock.phantom.raw.generate import make_raw_phantom

    if anatomy not in ("affine", "nonlinear"):
        raise InputError(f"phantom: --anatomy is {anatomy!r}; allowed: affine, nonlinear")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("patients", total=patients)
        make_raw_phantom(
            folder,
            preset=preset,
            n_patients=patients,
            seed=seed,
            anatomy=anatomy,  # type: ignore[arg-type]  # one of the two
            lesions=lesions,
            progress=lambda n_done: progress.update(task, completed=n_done),
            n_jobs=jobs,
        )
    console.print(f"{folder}: {patients} raw phantom patients, preset {preset}", highlight=False, markup=False)
    console.print(f"  next: tissueclock preprocess {folder} {folder}-preprocessed", highlight=False, markup=False)


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


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _usage_line(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "tissueclock"
    return f"{error.format_message().rstrip('.')}; `{command} --help` says what is allowed"


def _fail(error: Exception | str, code: int) -> NoReturn:
    line = " ".join(str(error).split())
    Console(stderr=True, soft_wrap=True, emoji=False).print(f"[red]error:[/red] {escape(line)}", highlight=False)
    sys.exit(code)
