"""What a person sees in the terminal while a study runs, and afterwards."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tissueclock.comparing.results_table import COLUMNS, QUESTION, ResultRow
from tissueclock.pipeline import Walk
from tissueclock.plan import BillLine
from tissueclock.storage.ledger import LedgerState

_REFRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far one sweep is.

    Attributes:
        name: The sweep's, or its vertex's while its parents are not known.
        phase: What is learned.
        arms: Who shares it.
        state: waiting, running, complete, failed or skipped.
        wanted: Trials asked for.
        finished: Trials that ran to their own end.
        pruned: Trials stopped early.
        failed: Trials that failed.
        running: Trials at work.
        recovered: Failures after which a trial was taken up again.
        best: Best validation AUC at any epoch so far.
        left_s: Seconds left, from the trials that ended.
        error: What went wrong, one line.
    """

    name: str
    phase: str
    arms: tuple[str, ...]
    state: str
    wanted: int
    finished: int
    pruned: int
    failed: int
    running: int
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
    phase: str,
    arms: Sequence[str],
    state: str,
    wanted: int,
    ledger: LedgerState,
    error: str | None = None,
) -> SweepProgress:
    """How far a sweep is, from its ledger."""
    n = {status: len(ledger.with_status(status)) for status in ("finished", "pruned", "failed")}
    in_flight = [trial for trial in ledger.with_status(None) if trial.started]
    best = ledger.best()
    if ledger.closed:
        wanted = len(ledger.trials)
    return SweepProgress(
        name=name,
        phase=phase,
        arms=tuple(arms),
        state=state,
        wanted=wanted,
        finished=n["finished"],
        pruned=n["pruned"],
        failed=n["failed"],
        running=len(in_flight) if state == "running" else 0,
        recovered=sum(len(trial.recovered) for trial in ledger.trials.values()),
        best=best.best_value if best else None,
        left_s=_left_s(ledger, wanted=wanted) if state == "running" else None,
        error=error,
    )


def walk_progress(walk: Walk) -> list[SweepProgress]:
    """How far each sweep of a walk is."""
    return [
        sweep_progress(
            name=vertex.name,
            phase=vertex.spec.phase,
            arms=vertex.spec.arms,
            state=vertex.state,
            wanted=vertex.spec.trials,
            ledger=vertex.poll(),
            error=vertex.error,
        )
        for vertex in walk.vertices.values()
    ]


def progress_table(rows: Iterable[SweepProgress], *, caption: str = "") -> Table:
    """One line a sweep."""
    table = Table(caption=caption or None, caption_justify="left")
    table.add_column("sweep", no_wrap=True)
    table.add_column("arms")
    table.add_column("state", no_wrap=True)
    table.add_column("trials")
    table.add_column("best\nval. AUC", justify="right", no_wrap=True)
    table.add_column("time\nleft", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            ", ".join(row.arms),
            _coloured(row.state),
            _trials(row),
            "" if row.best is None else f"{row.best:.3f}",
            "" if row.left_s is None else _duration(row.left_s),
        )
    return table


def bill_table(lines: Sequence[BillLine], *, free_bytes: int, on_gpu: bool) -> Table:
    """The bill: at most this many trials, hours and gigabytes."""
    unit = "GPU-hours" if on_gpu else "CPU-hours"
    total_h, total_gb = sum(line.hours for line in lines), sum(line.disk_bytes for line in lines) / 1e9
    saved_h, trunks_gb = sum(line.saved_hours for line in lines), sum(line.trunk_bytes for line in lines) / 1e9
    table = Table(
        title="The bill, at most (no trial stopped early, nothing frozen; epochs timed on this machine)",
        title_justify="left",
        caption=f"{sum(line.trials for line in lines)} trials, {total_h:.2f} {unit}, {total_gb:.2f} GB of "
        f"{free_bytes / 1e9:.0f} GB free; of these hours shared trunks should save {saved_h:.2f}, and take "
        f"{trunks_gb:.2f} GB on each node",
        caption_justify="left",
    )
    shared = ("trunks\nsave, h", "trunks\ntake, GB")
    for column in ("sweep", "arms", "trials", "epochs", "s/epoch", unit, "disk, GB", *shared):
        table.add_column(column, justify="left" if column in ("sweep", "arms") else "right")
    for line in lines:
        table.add_row(
            line.vertex,
            ", ".join(line.arms),
            str(line.trials),
            str(line.epochs),
            f"{line.epoch_s:.2f}",
            f"{line.hours:.3f}",
            f"{line.disk_bytes / 1e9:.3f}",
            f"{line.saved_hours:.3f}" if line.trunk_bytes else "-",
            f"{line.trunk_bytes / 1e9:.3f}" if line.trunk_bytes else "-",
        )
    return table


def results_table(rows: Iterable[ResultRow]) -> Table:
    """The study's table, short enough for a terminal; the report has every interval."""
    table = Table(title="Holdout patients, scored once; thresholds chosen on validation", title_justify="left")
    columns = [column for column in COLUMNS if column.short_heading]
    for column in columns:
        side: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(escape(column.short_heading or ""), justify=side, no_wrap=column.is_number)
    question: str | None = None
    for row in rows:
        if question is not None and question != row.question:
            table.add_section()
        repeated = QUESTION if row.question == question else None
        table.add_row(*["" if column is repeated else escape(column.short_cell(row)) for column in columns])
        question = row.question
    return table


def configurations(rows: Iterable[ResultRow]) -> Table:
    """The best configuration of each sweep, short; the report has it in full."""
    table = Table(title="Best configurations", title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        if row.configuration:
            table.add_row(escape(f"{row.who} / {row.phase}"), escape(row.configuration))
    return table


class ProgressDisplay:
    """Shows a walk while it goes on: a live table on a terminal, a line an event elsewhere.

    Args:
        console: Where.
        notice: Gives a line to show below the table (the tracker's fault), or an empty text.
    """

    def __init__(self, console: Console, notice: "Notice") -> None:
        self._console = console
        self._notice = notice
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_s = 0.0
        self._lines: dict[str, str] = {}

    def __call__(self, walk: Walk) -> None:
        """Shows how far the walk is; at most once a second."""
        if time.monotonic() - self._shown_s < _REFRESH_S and any(v.state == "running" for v in walk.vertices.values()):
            return
        self._shown_s = time.monotonic()
        rows = walk_progress(walk)
        if self._live is not None:
            self._live.update(progress_table(rows, caption=escape(self._notice())), refresh=True)
            return
        for row in rows:
            line = _event_line(row)
            if self._lines.get(row.name) != line and row.state != "waiting":
                self._lines[row.name] = line
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


class Notice:
    """A line about the tracker, where there is something to say.

    Args:
        follower: Has a `fault`, one line or None.
    """

    def __init__(self, follower: object) -> None:
        self._follower = follower

    def __call__(self) -> str:
        """The line, or an empty text."""
        fault = getattr(self._follower, "fault", None)
        return f"tracker: {fault}; the sweep goes on and the log is caught up later" if fault else ""


def _event_line(row: SweepProgress) -> str:
    parts = [f"{row.name} ({', '.join(row.arms)}): {row.state}, {row.ended}/{row.wanted} trials"]
    if row.best is not None:
        parts.append(f"best {row.best:.3f}")
    if row.failed:
        parts.append(f"{row.failed} failed")
    if row.recovered:
        parts.append(f"{row.recovered} taken up again after a failure")
    if row.error:
        parts.append(row.error)
    return ", ".join(parts)


def _left_s(ledger: LedgerState, *, wanted: int) -> float | None:
    spent = [
        sum(metrics.get("epoch_s", 0.0) for metrics in trial.metrics.values())
        for trial in ledger.with_status("finished", "pruned")
    ]
    if not spent:
        return None
    running = [trial for trial in ledger.with_status(None) if trial.started]
    done_s = sum(sum(metrics.get("epoch_s", 0.0) for metrics in trial.metrics.values()) for trial in running)
    mean_s = sum(spent) / len(spent)
    n_left = wanted - len(spent) - len(ledger.with_status("failed"))
    return max(0.0, n_left * mean_s - done_s) / max(1, len(running))


def _trials(row: SweepProgress) -> str:
    parts = [f"{row.ended}/{row.wanted}"]
    parts += [f"{n} {what}" for n, what in ((row.running, "running"), (row.pruned, "stopped early")) if n]
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
