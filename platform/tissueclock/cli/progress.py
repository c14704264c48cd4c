"""How far a study is: the live table on a terminal, a line an event elsewhere, and the table of `status`."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tissueclock.storage.ledger import LedgerState, TrialEntry

if TYPE_CHECKING:
    from tissueclock.study_run import StudyRun

_REFRESH_S = 1.0
_TIME_LEFT_EVERY_S = 60.0
_URGENCY = ("running", "failed", "skipped", "interrupted", "waiting", "complete")
_AROUND_ROWS = 9
"""Lines of the live table that are no sweep: its head, its rules, its notes, and one for the prompt."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far one sweep is.

    Attributes:
        name: The sweep's name, or its vertex's while its parents are not known.
        objective: The validation metric by which its trials are ranked.
        arms: The arms that share it.
        state: waiting, running, complete, failed or skipped; interrupted where no process is at work on it any more.
        wanted: Trials asked for.
        finished: Trials that ran to their own end.
        pruned: Trials stopped early.
        failed: Trials that failed.
        running: Trials at work.
        confirmed: Runs that confirm the best trials, ended.
        confirming: Such runs in all.
        recovered: Failures after which a trial was taken up again.
        best: The best value of the objective at any epoch so far.
        left_s: Seconds left, from the trials that ended.
        error: What went wrong, one line.
    """

    name: str
    objective: str
    arms: tuple[str, ...]
    state: str
    wanted: int
    finished: int
    pruned: int
    failed: int
    running: int
    confirmed: int
    confirming: int
    recovered: int
    best: float | None
    left_s: float | None
    error: str | None

    @property
    def ended(self) -> int:
        """Trials that ended, in whatever way."""
        return self.finished + self.pruned + self.failed


def sweep_progress(
    *,
    name: str,
    objective: str,
    arms: Sequence[str],
    state: str,
    wanted: int,
    ledger: LedgerState,
    error: str | None = None,
) -> SweepProgress:
    """How far a sweep is, from its ledger."""
    n = {status: len(ledger.with_status(status)) for status in ("finished", "pruned", "failed")}
    best = ledger.best()
    if ledger.closed:
        wanted = len(ledger.trials)
    return SweepProgress(
        name=name,
        objective=objective,
        arms=tuple(arms),
        state=state,
        wanted=wanted,
        finished=n["finished"],
        pruned=n["pruned"],
        failed=n["failed"],
        running=len(_running(ledger)) if state == "running" else 0,
        confirmed=sum(trial.status is not None for trial in ledger.confirmations.values()),
        confirming=len(ledger.confirmations),
        recovered=sum(len(trial.recovered) for trial in ledger.entries()),
        best=best.best_value if best else None,
        left_s=_left_s(ledger, wanted=wanted) if state == "running" else None,
        error=error,
    )


def run_progress(run: "StudyRun") -> list[SweepProgress]:
    """How far each sweep of a study's run is."""
    return [
        sweep_progress(
            name=vertex.name,
            objective=vertex.phase.phase.task.objective,
            arms=vertex.spec.arms,
            state=vertex.state,
            wanted=vertex.spec.budget.trials,
            ledger=vertex.poll(),
            error=vertex.error,
        )
        for vertex in run.vertices.values()
    ]


def most_urgent(rows: Sequence[SweepProgress], *, room: int) -> tuple[list[SweepProgress], str]:
    """The rows that fit a screen: what runs or went wrong, then what waits, then what is done; and what is left out.

    Args:
        rows: All sweeps, in the study's order.
        room: Rows that fit; all are shown where all do.

    Returns:
        The rows, and a line that counts the others by state; empty where there are none.
    """
    ordered = sorted(rows, key=lambda row: _URGENCY.index(row.state) if row.state in _URGENCY else 0)
    shown, others = ordered[: max(1, room)], Counter(row.state for row in ordered[max(1, room) :])
    left_out = "not shown: " + ", ".join(f"{n} {state}" for state, n in others.items()) if others else ""
    return shown, left_out


def progress_table(rows: Iterable[SweepProgress], *, caption: str = "", on_one_line: bool = False) -> Table:
    """A line a sweep; `on_one_line`: however many arms share it."""
    table = Table(caption=caption or None, caption_justify="left")
    table.add_column("sweep", no_wrap=True)
    table.add_column("arms", no_wrap=on_one_line, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    table.add_column("trials")
    table.add_column("best\nso far", justify="right", no_wrap=True)
    table.add_column("time\nleft", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            ", ".join(row.arms),
            _coloured(row.state),
            _trials(row),
            _best(row),
            "" if row.left_s is None else _duration(row.left_s),
        )
    return table


def cost_hours(ledgers: Iterable[LedgerState]) -> dict[str, float]:
    """What the sweeps begun have cost, by unit: `GPU` or `CPU`."""
    hours: dict[str, float] = {}
    for ledger in ledgers:
        if ledger.n_lines:
            hours[ledger.unit] = hours.get(ledger.unit, 0.0) + ledger.device_s / 3600
    return hours


def cost_lines(ledgers: Iterable[LedgerState], *, budget_h: float | None = None) -> list[str]:
    """What the sweeps begun have cost beside their bill and the study's budget, a line each unit of hours."""
    begun = [ledger for ledger in ledgers if ledger.n_lines]
    lines = []
    for unit, spent_h in cost_hours(begun).items():
        same = [ledger for ledger in begun if ledger.unit == unit]
        bills = [ledger.bill["hours"] for ledger in same if ledger.bill]
        billed = f"; their bill is at most {sum(bills):.3f}" if len(bills) == len(same) else ""
        budget = f"; budget_h is {budget_h:g}" if budget_h is not None else ""
        lines.append(f"the sweeps begun have cost {spent_h:.3f} {unit}-hours{billed}{budget}")
    return lines


class ProgressDisplay:
    """Shows a study's run while it goes on: a live table on a terminal, a line an event elsewhere.

    Args:
        console: Where.
        tracker_fault: Gives what keeps the tracker from being up to date, shown below the table; None: nothing.
    """

    def __init__(self, console: Console, *, tracker_fault: Callable[[], str | None]) -> None:
        self._console = console
        self._tracker_fault = tracker_fault
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_s = 0.0
        self._lines: dict[str, str] = {}
        self._told_left_s = time.monotonic()

    def __call__(self, run: "StudyRun") -> None:
        """Shows how far the run is; at most once a second."""
        if time.monotonic() - self._shown_s < _REFRESH_S and any(v.state == "running" for v in run.vertices.values()):
            return
        self._shown_s = time.monotonic()
        rows = run_progress(run)
        if self._live is not None:
            shown, left_out = most_urgent(rows, room=self._console.height - _AROUND_ROWS)
            notes = [left_out, _study_left_line(run), _tracker_line(self._tracker_fault())]
            caption = escape("\n".join(filter(None, notes)))
            self._live.update(progress_table(shown, caption=caption, on_one_line=True), refresh=True)
            return
        for row in rows:
            line = _event_line(row)
            if self._lines.get(row.name) != line and row.state != "waiting":
                self._lines[row.name] = line
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if self._shown_s - self._told_left_s >= _TIME_LEFT_EVERY_S and (line := _study_left_line(run)):
            self._told_left_s = self._shown_s
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "ProgressDisplay":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def _best(row: SweepProgress) -> str:
    """The best value; with the name of the objective where it is not the AUC, which goes without saying."""
    if row.best is None:
        return ""
    return f"{row.best:.3f}" if row.objective == "val_auc" else f"{row.objective} {row.best:.3f}"


def _tracker_line(fault: str | None) -> str:
    return f"tracker: {fault}; the sweep goes on and the log is caught up later" if fault else ""


def _event_line(row: SweepProgress) -> str:
    parts = [f"{row.name} ({', '.join(row.arms)}): {row.state}, {row.ended}/{row.wanted} trials"]
    if row.best is not None:
        parts.append(f"best {_best(row)}")
    if row.confirming:
        parts.append(f"{row.confirmed}/{row.confirming} confirmations")
    if row.failed:
        parts.append(f"{row.failed} failed")
    if row.recovered:
        parts.append(f"{row.recovered} taken up again after a failure")
    if row.error:
        parts.append(row.error)
    return ", ".join(parts)


def study_left_s(run: "StudyRun") -> float | None:
    """Seconds left of a study, from the epochs that were measured; None before the first trial ended.

    A sweep that has ended no trial yet is taken to be like those of the same network, or like all. Trials are taken to
    run as many at once as now; that a chain's sweeps wait for each other is left out.
    """
    measured: dict[str, list[float]] = {}
    works = []
    for vertex in run.vertices.values():
        ledger, budget, network = vertex.poll(), vertex.spec.budget, vertex.spec.inputs.network.model_dump_json()
        if (mean_s := _mean_trial_s(ledger)) is not None:
            measured.setdefault(network, []).append(mean_s)
        if vertex.state in ("waiting", "running"):
            wanted = budget.trials + budget.confirming
            works.append((network, mean_s, wanted - sum(bool(trial.status) for trial in ledger.entries()), ledger))
    everything = [mean_s for means in measured.values() for mean_s in means]
    if not everything:
        return None
    left_s, n_running = 0.0, 0
    for network, mean_s, n_left, ledger in works:
        each_s = mean_s if mean_s is not None else fmean(measured.get(network, everything))
        left_s += max(0.0, n_left * each_s - _done_s(ledger))
        n_running += len(_running(ledger))
    return left_s / max(1, n_running)


def _study_left_line(run: "StudyRun") -> str:
    left_s = study_left_s(run)
    return "" if left_s is None else f"time left for the study: about {_duration(left_s)}"


def _left_s(ledger: LedgerState, *, wanted: int) -> float | None:
    if (mean_s := _mean_trial_s(ledger)) is None:
        return None
    n_left = wanted + int(ledger.bill.get("confirming", 0)) - sum(bool(trial.status) for trial in ledger.entries())
    return max(0.0, n_left * mean_s - _done_s(ledger)) / max(1, len(_running(ledger)))


def _mean_trial_s(ledger: LedgerState) -> float | None:
    """Mean seconds of the epochs of a trial that ended; None where none has."""
    spent = [_epochs_s(trial) for trial in ledger.entries() if trial.status in ("finished", "pruned")]
    return fmean(spent) if spent else None


def _done_s(ledger: LedgerState) -> float:
    return sum(_epochs_s(trial) for trial in _running(ledger))


def _running(ledger: LedgerState) -> list[TrialEntry]:
    return [trial for trial in ledger.entries() if trial.status is None and trial.started]


def _epochs_s(trial: TrialEntry) -> float:
    return sum(metrics.get("epoch_s", 0.0) for metrics in trial.metrics.values())


def _trials(row: SweepProgress) -> str:
    parts = [f"{row.ended}/{row.wanted}"]
    parts += [f"{n} {what}" for n, what in ((row.running, "running"), (row.pruned, "stopped early")) if n]
    if row.confirming:
        parts.append(f"{row.confirmed}/{row.confirming} confirmations")
    if row.failed:
        parts.append(f"[red]{row.failed} failed[/red]")
    if row.recovered:
        parts.append(f"[yellow]{row.recovered} taken up again[/yellow]")
    return ", ".join(parts)


def _coloured(state: str) -> str:
    colour = {"complete": "green", "running": "cyan", "failed": "red", "skipped": "yellow"}.get(state)
    return f"[{colour}]{state}[/{colour}]" if colour else state


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
