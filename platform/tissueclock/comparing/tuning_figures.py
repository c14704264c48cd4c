"""Figures of what was tuned: trials by knob, by all knobs, the best so far by cost, where checkpoints went."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from tissueclock.comparing.drawing import COLOURS, GREY, STYLE
from tissueclock.comparing.formats import format_value
from tissueclock.comparing.results import Promoted, StudyResult, SweepResult
from tissueclock.storage.ledger import TrialEntry

_COLOUR_MAP = "viridis"
_MAX_COLUMNS = 6


def draw_tuning(sweep: SweepResult, bounds: Mapping[str, Any]) -> Figure | None:
    """A sweep's trials: knob by knob, all knobs side by side, and the best so far by what it had cost.

    Args:
        sweep: With its ledger.
        bounds: What `sweep.json` says of the space.

    Returns:
        None where nothing was tuned, or fewer than two trials have a value.
    """
    trials = [trial for trial in sweep.ledger.with_status("finished", "pruned") if trial.best_value is not None]
    knobs = [name for name, told in bounds.items() if isinstance(told, Mapping) and _varies(name, trials)]
    if len(trials) < 2 or not knobs:
        return None
    values = np.array([trial.best_value for trial in trials], dtype=float)
    n_columns = min(_MAX_COLUMNS, len(knobs))
    n_rows = -(-len(knobs) // n_columns)
    with mpl.rc_context(rc=STYLE):
        height = 2.1 * n_rows + 2.9
        figure = Figure(figsize=(11.2, height))  # laid out by hand: matplotlib's own layout takes seconds for 20 panels
        rows = {"left": 0.06, "right": 0.98}
        upper = figure.add_gridspec(
            n_rows, n_columns, top=1 - 0.35 / height, bottom=3.15 / height, wspace=0.12, hspace=0.5, **rows
        )
        lower = figure.add_gridspec(
            1, 2, width_ratios=[2.4, 1], wspace=0.2, top=2.4 / height, bottom=0.75 / height, **rows
        )
        first: Axes | None = None
        for i, knob in enumerate(knobs):
            panel = figure.add_subplot(upper[divmod(i, n_columns)], sharey=first)
            first = first or panel
            _draw_slice(panel, knob, bounds[knob], trials, values)
            panel.tick_params(labelleft=i % n_columns == 0)
            if i % n_columns == 0:
                panel.set_ylabel("validation AUC")
        _draw_parallel(figure, figure.add_subplot(lower[0]), knobs, bounds, trials, values)
        _draw_costs(figure.add_subplot(lower[1]), sweep)
        figure.suptitle(f"{sweep.label} ({len(trials)} trials)", fontsize=10, fontweight="bold", x=0.01, ha="left")
    return figure


def draw_transfer(study: StudyResult) -> Figure | None:
    """The whole transfer: phases from left to right, promoted checkpoints as points, who came from whom as lines.

    Returns:
        None where no checkpoint has a parent.
    """
    points: dict[str, tuple[SweepResult, Promoted]] = {
        promoted.digest: (sweep, promoted) for sweep in study.sweeps for promoted in sweep.promoted
    }
    lines = [
        (parent, digest)
        for digest, (_, promoted) in points.items()
        if (parent := ((promoted.facts.get("lineage") or {}).get("chain") or [None])[-1]) in points
    ]
    if not lines:
        return None
    phases = list(dict.fromkeys(sweep.phase for sweep in study.sweeps))
    arms = list(dict.fromkeys(arm for sweep in study.sweeps for arm in sweep.arms))

    def place(digest: str) -> tuple[float, float]:
        sweep, promoted = points[digest]
        beside = 0.09 * (arms.index(sweep.arms[0]) - (len(arms) - 1) / 2)
        return phases.index(sweep.phase) + beside, promoted.value

    with mpl.rc_context(rc=STYLE):
        figure = Figure(figsize=(2.1 * len(phases) + 1.2, 3.6), layout="constrained")
        panel = figure.subplots()
        for parent, child in lines:
            (x0, y0), (x1, y1) = place(parent), place(child)
            panel.plot([x0, x1], [y0, y1], color="#BBBBBB", linewidth=1.1, zorder=1)
        for arm in arms:
            own = [digest for digest, (sweep, _) in points.items() if sweep.arms[0] == arm]
            if own:
                x, y = zip(*map(place, own), strict=True)
                sizes = [70 if points[digest][1].rank == 1 else 24 for digest in own]
                colour = COLOURS[arms.index(arm) % len(COLOURS)]
                panel.scatter(x, y, s=sizes, color=colour, edgecolor="white", linewidth=0.8, zorder=2, label=arm)
        panel.set_xticks(range(len(phases)), phases)
        panel.set_xlim(-0.5, len(phases) - 0.5)
        panel.set_ylabel("validation AUC")
        panel.legend(loc="best")
    return figure


def _varies(knob: str, trials: Sequence[TrialEntry]) -> bool:
    told = [trial.hyperparameters.get(knob) for trial in trials]
    return None not in told and len(set(told)) > 1


def _positions(knob: str, told: Mapping[str, Any], trials: Sequence[TrialEntry]) -> tuple[np.ndarray, list[Any] | None]:
    """Where each trial lies on a knob's axis; the choices, where it is one."""
    values = [trial.hyperparameters[knob] for trial in trials]
    if "choices" in told:
        choices = list(told["choices"])
        return np.array([choices.index(value) for value in values], dtype=float), choices
    return np.array(values, dtype=float), None


def _draw_slice(
    panel: Axes, knob: str, told: Mapping[str, Any], trials: Sequence[TrialEntry], values: np.ndarray
) -> None:
    x, choices = _positions(knob, told, trials)
    order = range(len(trials))  # later trials are darker: the searcher's choice, not chance, brought them there
    panel.scatter(
        x, values, c=list(order), cmap="Blues", vmin=-len(trials) / 2, s=18, edgecolor="#444444", linewidth=0.4
    )
    if choices is not None:
        panel.set_xticks(range(len(choices)), [str(choice) for choice in choices], fontsize=7)
        panel.set_xlim(-0.5, len(choices) - 0.5)
    elif told.get("log"):
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(numticks=4))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-"))  # mathtext is off
        panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(knob)


def _draw_parallel(
    figure: Figure,
    panel: Axes,
    knobs: Sequence[str],
    bounds: Mapping[str, Any],
    trials: Sequence[TrialEntry],
    values: np.ndarray,
) -> None:
    columns = []
    for i, knob in enumerate(knobs):
        x, choices = _positions(knob, bounds[knob], trials)
        ends: tuple[Any, Any]
        if choices is not None:
            low, high, ends = 0.0, float(len(choices) - 1), (choices[0], choices[-1])
        else:
            low, high = float(bounds[knob]["low"]), float(bounds[knob]["high"])
            ends = (bounds[knob]["low"], bounds[knob]["high"])
            if bounds[knob].get("log"):
                x, low, high = np.log(x), math.log(low), math.log(high)
        columns.append((x - low) / (high - low or 1.0))
        panel.axvline(i, color="#CCCCCC", linewidth=0.8, zorder=0)
        for y, end, align in ((-0.04, ends[0], "top"), (1.04, ends[1], "bottom")):
            panel.text(i, y, format_value(end, digits=2), ha="center", va=align, fontsize=6.5, color=GREY)
    norm = Normalize(float(values.min()), float(values.max()))
    colours = mpl.colormaps[_COLOUR_MAP](norm(values))
    for place in np.argsort(values):
        panel.plot(range(len(knobs)), [column[place] for column in columns], color=colours[place], linewidth=1.1)
    panel.set_xticks(range(len(knobs)), knobs, fontsize=7, rotation=20, ha="right")
    panel.tick_params(axis="x", pad=10)
    panel.set_yticks([])
    panel.set_ylim(-0.12, 1.12)
    panel.spines["left"].set_visible(False)
    figure.colorbar(ScalarMappable(norm, _COLOUR_MAP), ax=panel, fraction=0.04, pad=0.02)


def _draw_costs(panel: Axes, sweep: SweepResult) -> None:
    """The best so far against device-hours spent on the trials asked until then."""
    spent, best, hours, bests = 0.0, -math.inf, [], []
    for trial in sweep.ledger.trials.values():
        spent += sum(row.get("epoch_s", 0.0) for row in trial.metrics.values()) * sweep.ledger.devices / 3600
        if trial.best_value is not None:
            best = max(best, trial.best_value)
            hours.append(spent)
            bests.append(best)
    panel.step(hours, bests, where="post", color=COLOURS[0], linewidth=1.4)
    panel.set_xlabel(f"{sweep.ledger.unit}-hours, in the order asked")
    panel.set_ylabel("best so far")
