"""The commands on a study: `plan`, `sweep`, `status`, `report`, `ui`."""

import contextlib
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tissueclock.cli.console import AsJson, RayAddress, console, say, told_as_json
from tissueclock.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tissueclock.cli.progress import SweepProgress
    from tissueclock.cohort.store import Cohort
    from tissueclock.comparing.report import Report
    from tissueclock.storage.ledger import LedgerState
    from tissueclock.study import Study
    from tissueclock.study_run import StudyRun

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML).", show_default=False)]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPUs of a cluster started on this machine; default: all.")]
_TRACKER_PATIENCE_S = 60.0


def plan(study_file: StudyFile, ray_address: RayAddress = None, cpus: Cpus = None, as_json: AsJson = False) -> None:
    """Check everything that can be wrong, start no trial, and print the bill."""
    with told_as_json(as_json) as tell:
        tell(_plan(study_file, ray_address, cpus))


def _plan(study_file: Path, ray_address: str | None, cpus: int | None) -> dict[str, Any]:
    """Does what `plan` does; what it found, as JSON facts."""
    from tissueclock.billing import bill_study, budget_faults, room_faults
    from tissueclock.catalog import load_phase
    from tissueclock.checking import check_disk, promoted_faults
    from tissueclock.cli.tables import bill_table
    from tissueclock.notifying import missing_program
    from tissueclock.sweeping import cluster

    study, cohort = _read_checked(study_file)
    on_cluster = bool(ray_address or os.environ.get("RAY_ADDRESS"))
    with contextlib.ExitStack() as stack:
        if on_cluster:
            trials = [spec.budget.resources for spec in study.vertices.values()]
            stack.callback(cluster.disconnect)
            cluster.connect(address=ray_address, n_cpus=cpus, extensions=study.extensions, trials=trials)
        stack.enter_context(console.status("timing an epoch of each sweep"))
        lines = bill_study(study, load_phase, on_cluster=on_cluster, n_cpus=cpus)
    on_gpu = any(spec.budget.resources.gpus for spec in study.vertices.values())
    free_bytes = check_disk(study, wanted_bytes=sum(line.disk_bytes for line in lines))
    console.print(bill_table(lines, free_bytes=free_bytes, on_gpu=on_gpu, on_cluster=on_cluster))
    if (budget_h := study.settings.budget_h) is not None:
        say(f"budget_h is {budget_h:g}: sweeps end where their share of it does, after one trial at least")
    n_unknown = sum(not patient.is_scored for patient in cohort.patients)
    if n_unknown:
        say(
            f"{n_unknown} of {len(cohort.patients)} patients have no known onset or side: they train, and judge nothing"
        )
    faults = [*promoted_faults(study), *budget_faults(study, lines)]
    if (fault := missing_program(study.settings.notify)) is not None:
        faults.append(fault)
    if not on_cluster:
        faults += room_faults(study, n_cpus=cpus)
    for fault in faults:
        say(fault, style="red")
    say(f"{'Nothing else' if faults else 'Nothing'} is wrong. To run it: tissueclock sweep {study_file}")
    return {
        "schema": 1,
        "study": study.settings.name,
        "unit": "GPU" if on_gpu else "CPU",
        "sweeps": [asdict(line) for line in lines],
        "hours": sum(line.hours for line in lines),
        "disk_bytes": sum(line.disk_bytes for line in lines),
        "free_bytes": free_bytes,
        "budget_h": budget_h,
        "n_unknown_onset": n_unknown,
        "faults": faults,
    }


def sweep(
    study_file: StudyFile,
    ray_address: RayAddress = None,
    cpus: Cpus = None,
    retry_failed: Annotated[bool, typer.Option(help="Take up trials that failed once more.")] = False,
    wait_for_nodes: Annotated[
        bool, typer.Option("--wait-for-nodes", help="Wait where no node of the cluster can hold a trial yet.")
    ] = False,
) -> None:
    """Run a study, or go on with it: the same command after any interruption."""
    from tissueclock.catalog import load_phase
    from tissueclock.cli.progress import ProgressDisplay, progress_table, run_progress
    from tissueclock.storage.locks import hold
    from tissueclock.study_run import StudyRun
    from tissueclock.sweeping import cluster
    from tissueclock.sweeping.head import Head
    from tissueclock.tracking.connection import redacted
    from tissueclock.tracking.follower import Follower

    with console.status("checking the study"):
        study, cohort = _read_checked(study_file)
    with hold(study.folder.lock, what="study"), contextlib.ExitStack() as stack:

        def connect() -> Head:
            trials = [spec.budget.resources for spec in study.vertices.values()]
            stack.callback(cluster.disconnect)
            return cluster.connect(
                address=ray_address,
                n_cpus=cpus,
                extensions=study.extensions,
                trials=trials,
                wait_for_nodes=wait_for_nodes,
                say=say,
            )

        run = StudyRun(study, load_phase, cohort, connect)
        follower = Follower(uri=study.tracking_uri, study=study.settings.name, folder=study.folder)
        run.record_study(tracker=redacted(study.tracking_uri))
        follower.start()
        try:
            with ProgressDisplay(console, tracker_fault=lambda: follower.fault) as display:
                run.run(display, retry_failed=retry_failed)
            report = _write_report(study)
            follower.log_report(report.page.parent)
        except BaseException as error:
            follower.stop(
                timeout_s=5, status=(how := "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            )
            _notify(run, how, error=str(error))
            raise
        with console.status("catching up with the tracker"):
            behind = follower.stop(timeout_s=_TRACKER_PATIENCE_S, status="failed" if run.failed else "finished")
    if not console.is_terminal:
        console.print(progress_table(run_progress(run)))
    _print_results(report)
    if behind:
        say(f"The tracker is {behind} entries behind ({follower.fault}); run the same command again to catch up.")
    _print_next(study, study_file, report.page)
    if run.has_worked:
        _notify(run, "failed" if run.failed else "complete", report=str(report.page))
    if run.failed:
        _print_failures(run)
        sys.exit(1)


def status(study_file: StudyFile, as_json: AsJson = False) -> None:
    """Say how far a study is; reads only, at any moment."""
    with told_as_json(as_json) as tell:
        tell(_status(study_file))


def _status(study_file: Path) -> dict[str, Any]:
    """Does what `status` does; what it found, as JSON facts."""
    from tissueclock.cli.progress import cost_lines, progress_table, sweep_progress
    from tissueclock.storage.ledger import read_ledger
    from tissueclock.storage.locks import is_held
    from tissueclock.study import read_study

    study = read_study(study_file)
    if not study.folder.graph.exists():
        say(f"{study.folder.path}: nothing was started yet")
        return _stand(study, at_work=False, rows=[], ledgers=[])
    at_work = is_held(study.folder.lock)
    graph = study.folder.read_graph()
    rows, ledgers = [], []
    for name in dict.fromkeys(name for names in graph["arms"].values() for name in names):  # in the order trained
        facts, folder = graph["sweeps"][name], study.folder.sweep(name)
        state = facts["state"] if at_work or facts["state"] != "running" else "interrupted"
        ledger, error = read_ledger(folder.ledger), facts["error"]
        ledgers.append(ledger)
        weights = [folder.promoted(rank).weights for rank in sorted(ledger.promoted)]
        if state == "complete" and (lost := [path for path in weights if not (path.is_file() and path.stat().st_size)]):
            state, error = "damaged", f"{lost[0]} is missing or empty; run tissueclock sweep {study_file} again"
        elif state == "complete" and not ledger.n_lines:
            state, error = "damaged", f"{folder.ledger}: no such file; run tissueclock sweep {study_file} again"
        rows.append(
            sweep_progress(
                name=name,
                objective=facts.get("objective", "val_auc"),
                arms=facts["arms"],
                state=state,
                wanted=facts["trials"],
                ledger=ledger,
                error=error,
            )
        )
    console.print(progress_table(rows))
    for row in rows:
        if row.error:
            say(f"{row.name}: {row.state}: {row.error}", style="red")
    for line in cost_lines(ledgers, budget_h=study.settings.budget_h):
        say(line)
    say("a process is at work on it" if at_work else "no process is at work on it")
    return _stand(study, at_work=at_work, rows=rows, ledgers=ledgers)


def _stand(
    study: "Study", *, at_work: bool, rows: "Sequence[SweepProgress]", ledgers: "Sequence[LedgerState]"
) -> dict[str, Any]:
    """How a study stands, as `status --json` tells it."""
    from tissueclock.cli.progress import cost_hours

    return {
        "schema": 1,
        "study": study.settings.name,
        "folder": str(study.folder.path),
        "at_work": at_work,
        "sweeps": [asdict(row) | {"ended": row.ended} for row in rows],
        "cost": [{"unit": unit, "hours": hours} for unit, hours in cost_hours(ledgers).items()],
        "budget_h": study.settings.budget_h,
    }


def report(study_file: StudyFile, as_json: AsJson = False) -> None:
    """Write the report of a study, finished or not, and print its table."""
    from tissueclock.study import read_study

    with told_as_json(as_json) as tell:
        study = read_study(study_file)
        if not study.folder.graph.exists():
            raise InputError(f"{study.folder.path}: nothing was started yet; run tissueclock sweep {study_file} first")
        written = _write_report(study)
        _print_results(written)
        say(f"report: {written.page}")
        tell({"schema": 1, "study": study.settings.name, "page": str(written.page), "rows": written.facts})


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


def _read_checked(study_file: Path) -> "tuple[Study, Cohort]":
    from tissueclock.study import read_study

    study = read_study(study_file)  # before seconds of imports

    from tissueclock.catalog import load_phase, use_extensions
    from tissueclock.checking import check_study, describe_changes
    from tissueclock.tracking.connection import check_tracker

    use_extensions(study.extensions)
    study, cohort = check_study(study, load_phase, check_tracker, verify=True)
    for line in describe_changes(study, load_phase):
        say(line)
    return study, cohort


def _write_report(study: "Study") -> "Report":
    from tissueclock.comparing.report import write_report

    with console.status("writing the report"):
        return write_report(study.folder, margin=study.settings.equivalence_margin)


def _print_results(report: "Report") -> None:
    from tissueclock.cli import tables

    console.print(tables.results_table(report.rows))
    console.print(tables.configurations(report.rows))


def _print_next(study: "Study", study_file: Path, report_file: Path) -> None:
    console.print("What to open next:", style="bold")
    for what, where in (
        ("the report", str(report_file)),
        ("every trial, in MLflow", f"tissueclock ui {study_file}"),
        ("promoted checkpoints", f"{study.folder.path}/sweeps/*/promoted/1"),
    ):
        say(f"  {what:<24}{where}")


def _notify(run: "StudyRun", status: str, **facts: str) -> None:
    """Tells whom the study names that it ended; what goes wrong in that is a line."""
    from tissueclock.cli.progress import run_progress
    from tissueclock.notifying import notify

    study = run.study
    said = {
        "study": study.settings.name,
        "status": status,
        "folder": str(study.folder.path),
        "host": socket.gethostname(),
    }
    sweeps = [asdict(row) | {"ended": row.ended} for row in run_progress(run)]
    for fault in notify(study.settings.notify, {**said, **facts, "sweeps": sweeps}):
        say(fault, style="yellow")


def _print_failures(run: "StudyRun") -> None:
    for vertex in run.vertices.values():
        if vertex.error:
            say(f"{vertex.name}: {vertex.state}: {vertex.error}", style="red")
