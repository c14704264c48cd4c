"""Two figures: the ROC curves of every question, and the trials of every sweep."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tissueclock.comparing.drawing import COLOURS, GREY, STYLE
from tissueclock.comparing.formats import format_auc
from tissueclock.comparing.observers import OBSERVER, ReaderResult
from tissueclock.comparing.results import ComparedQuestion, StudyResult, SweepResult
from tissueclock.comparing.scores import Scores
from tissueclock.comparing.statistics import roc_curve
from tissueclock.storage.ledger import TrialEntry

_DASHES = ("-", (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (3, 1.5)))
_READER_MARKERS = "osD^vP"
_STATUS_STYLE = {
    "finished": ("o", "#0072B2"),
    "pruned": ("v", "#E69F00"),
    "failed": ("x", "#D55E00"),
    "running": ("o", "#BBBBBB"),
}


def draw_roc(study: StudyResult) -> Figure | None:
    """One panel a question: a curve for each arm and phase, the observer thin and dashed, the readers as points.

    Returns:
        None where nothing has been scored.
    """
    questions = [
        question for question in study.questions if any(sweep.holdout for sweep in study.of_question(question))
    ]
    if not questions:
        return None
    arms = list(dict.fromkeys(arm for sweep in study.sweeps for arm in sweep.arms))
    with mpl.rc_context(rc=STYLE):
        figure, panels = _lay_out(
            len(questions), legend_in=max(_legend_height_in(study, question) for question in questions)
        )
        for panel, question in zip(panels, questions, strict=True):
            sweeps = study.of_question(question)
            phases = list(dict.fromkeys(sweep.phase for sweep in sweeps))
            for sweep in sweeps:
                _draw_sweep(panel, sweep, colour=arms.index(sweep.arms[0]), dash=phases.index(sweep.phase))
            for observer in [sweep.observer for sweep in sweeps if sweep.observer][:1]:
                label = f"{OBSERVER}\nAUC {format_auc(observer.auc)}"
                _draw_curve(panel, observer.scores, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)), label=label)
            for i, reader in enumerate(study.readers.get(question, ())):
                _draw_reader(panel, reader, marker=_READER_MARKERS[i % len(_READER_MARKERS)])
            _finish_roc(panel, question.name)
    return figure


def draw_trials(study: StudyResult) -> Figure | None:
    """Small multiples, one a sweep: each trial's best validation AUC in the order asked, and the best so far.

    Returns:
        None where no trial has been asked for.
    """
    sweeps = [sweep for sweep in study.sweeps if sweep.ledger.trials]
    if not sweeps:
        return None
    with mpl.rc_context(rc=STYLE):
        n_columns = min(3, len(sweeps))
        n_rows = -(-len(sweeps) // n_columns)
        figure = Figure(figsize=(3.75 * n_columns, 2.5 * n_rows + 0.4), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
        for panel in panels[len(sweeps) :]:
            panel.set_axis_off()
        handles: dict[str, Artist] = {}
        for i, (panel, sweep) in enumerate(zip(panels, sweeps, strict=False)):
            handles |= _draw_sweep_trials(panel, sweep)
            panel.set_title(sweep.label)
            if i % n_columns == 0:
                panel.set_ylabel("validation AUC")
            if i + n_columns >= len(sweeps):
                panel.set_xlabel("trial, in the order asked")
        order = [name for name in ("best so far", *_STATUS_STYLE) if name in handles]
        figure.legend([handles[name] for name in order], order, loc="outside upper left", ncols=len(order))
    return figure


def _legend_height_in(study: StudyResult, question: ComparedQuestion) -> float:
    """Inches: two lines for a curve, one for a reader."""
    sweeps = study.of_question(question)
    n_curves = sum(sweep.holdout is not None for sweep in sweeps) + any(sweep.observer for sweep in sweeps)
    return 0.33 * n_curves + 0.19 * len(study.readers.get(question, ()))


def _lay_out(n_panels: int, *, legend_in: float) -> tuple[Figure, list[Axes]]:
    """Square panels, three in a row, with room for a legend below each."""
    side, left, right, top, below = 2.95, 0.6, 0.2, 0.4, 0.6
    n_columns = min(3, n_panels)
    n_rows = -(-n_panels // n_columns)
    width, height = n_columns * (left + side + right), n_rows * (top + side + below + legend_in)
    figure = Figure(figsize=(width, height))
    panels = []
    for i in range(n_panels):
        row, column = divmod(i, n_columns)
        x = column * (left + side + right) + left
        y = height - row * (top + side + below + legend_in) - top - side
        panels.append(figure.add_axes((x / width, y / height, side / width, side / height)))
    return figure, panels


def _draw_sweep(panel: Axes, sweep: SweepResult, *, colour: int, dash: int) -> None:
    if sweep.holdout is None or sweep.holdout.auc is None:
        return
    round_, i_colour = divmod(colour, len(COLOURS))
    style = {"color": COLOURS[i_colour], "linestyle": _DASHES[(dash + round_) % len(_DASHES)]}
    label = f"{sweep.label}\nAUC {format_auc(sweep.holdout.auc)}"
    _draw_curve(panel, sweep.holdout.scores, linewidth=1.8, label=label, **style)


def _draw_curve(panel: Axes, scores: Scores, **style: Any) -> None:
    panel.plot(*roc_curve(scores.labels, scores.logits), **style)


def _draw_reader(panel: Axes, reader: ReaderResult, *, marker: str) -> None:
    sensitivity, specificity = reader.confusion.sensitivity, reader.confusion.specificity
    if sensitivity is None or specificity is None:
        return
    x, y = 1 - specificity.value, sensitivity.value
    x_ends = [[x - (1 - specificity.interval.high)], [(1 - specificity.interval.low) - x]]
    y_ends = [[y - sensitivity.interval.low], [sensitivity.interval.high - y]]
    panel.errorbar(
        x,
        y,
        xerr=np.maximum(x_ends, 0),
        yerr=np.maximum(y_ends, 0),
        fmt=marker,
        color="#222222",
        markerfacecolor="white",
        markersize=6,
        ecolor="#BBBBBB",
        elinewidth=0.8,
        zorder=3,
        label=reader.name,
    )


def _finish_roc(panel: Axes, title: str) -> None:
    panel.plot([0, 1], [0, 1], color="#DDDDDD", linewidth=0.8, zorder=0)
    panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title=title)
    panel.set_xlabel("1 \N{MINUS SIGN} specificity")
    panel.set_ylabel("sensitivity")
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    panel.legend(loc="upper left", bbox_to_anchor=(0, -0.17), borderaxespad=0, handlelength=2.6)


def _draw_sweep_trials(panel: Axes, sweep: SweepResult) -> dict[str, Artist]:
    trials = list(sweep.ledger.trials.values())
    handles: dict[str, Artist] = {}
    best = _best_so_far(trials)
    if np.isfinite(best).any():
        (line,) = panel.step(range(1, len(trials) + 1), best, where="post", color="#444444", linewidth=1.2, zorder=1)
        handles["best so far"] = line
    for status, (marker, colour) in _STATUS_STYLE.items():
        chosen = [(i, trial) for i, trial in enumerate(trials, start=1) if (trial.status or "running") == status]
        scored = [(i, trial.best_value) for i, trial in chosen if trial.best_value is not None]
        silent = [i for i, trial in chosen if trial.best_value is None]
        if scored:
            x, y = zip(*scored, strict=True)
            handles[status] = panel.scatter(x, y, marker=marker, color=colour, s=28, zorder=2)
        if silent and status == "failed":  # no epoch to show: marked on the axis
            handles[status] = panel.scatter(
                silent, [0.02] * len(silent), marker=marker, color=colour, s=28, transform=panel.get_xaxis_transform()
            )
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlim(0.5, len(trials) + 0.5)
    return handles


def _best_so_far(trials: Sequence[TrialEntry]) -> np.ndarray:
    values = [trial.best_value if trial.best_value is not None else -np.inf for trial in trials]
    best = np.maximum.accumulate(np.array(values, dtype=float))
    return np.where(np.isfinite(best), best, np.nan)
