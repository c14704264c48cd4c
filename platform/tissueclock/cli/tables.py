"""The tables that a command ends with: the bill, the results, the best configurations."""

from collections.abc import Iterable, Sequence

from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table

from tissueclock.comparing.results_table import COLUMNS, QUESTION, ResultRow
from tissueclock.records import SweepBill


def bill_table(lines: Sequence[SweepBill], *, free_bytes: int, on_gpu: bool, on_cluster: bool) -> Table:
    """The bill: at most this many trials, hours and gigabytes."""
    unit = "GPU-hours" if on_gpu else "CPU-hours"
    n_runs = sum(line.trials + line.confirming for line in lines)
    total_h, total_gb = sum(line.hours for line in lines), sum(line.disk_bytes for line in lines) / 1e9
    saved_h, trunks_gb = sum(line.saved_hours for line in lines), sum(line.trunk_bytes for line in lines) / 1e9
    table = Table(
        title="The bill, at most (no trial stopped early, nothing frozen; epochs timed with a trial's threads "
        f"{'on the cluster' if on_cluster else 'on this machine'})",
        title_justify="left",
        caption=f"{n_runs} trials, {total_h:.2f} {unit}, {total_gb:.2f} GB of "
        f"{free_bytes / 1e9:.0f} GB free; of these hours shared trunks should save {saved_h:.2f}, and take "
        f"{trunks_gb:.2f} GB on each node",
        caption_justify="left",
    )
    shared = ("trunks\nsave, h", "trunks\ntake, GB")
    for column in ("sweep", "arms", "trials", "at\nonce", "epochs", "s/epoch", unit, "disk, GB", *shared):
        table.add_column(column, justify="left" if column in ("sweep", "arms") else "right")
    for line in lines:
        table.add_row(
            line.vertex,
            ", ".join(line.arms),
            f"{line.trials} + {line.confirming}" if line.confirming else str(line.trials),
            str(line.at_once),
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
