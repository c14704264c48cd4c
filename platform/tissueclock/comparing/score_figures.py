"""Figures of what networks are worth: AUC by first weights, calibration, net benefit."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from tissueclock.comparing.calibration import net_benefit
from tissueclock.comparing.drawing import COLOURS, GREY, STYLE
from tissueclock.comparing.holdout import HoldoutResult
from tissueclock.comparing.observers import OBSERVER
from tissueclock.comparing.results import ComparedQuestion, StudyResult, SweepResult

_THRESHOLDS = np.linspace(0.02, 0.98, 97)


def draw_bars(study: StudyResult) -> Figure | None:
    """One panel a question: how far each arm's and phase's AUC lies above chance, coloured by its first weights.

    Returns:
        None where nothing has an AUC.
    """
    scored = {q: [s for s in study.of_question(q) if s.holdout and s.holdout.auc] for q in study.questions}
    scored = {question: sweeps for question, sweeps in scored.items() if sweeps}
    if not scored:
        return None
    kinds = list(dict.fromkeys(sweep.first_weights for sweeps in scored.values() for sweep in sweeps))
    n_bars = [len(sweeps) + any(sweep.observer for sweep in sweeps) for sweeps in scored.values()]
    with mpl.rc_context(rc=STYLE):
        figure = Figure(figsize=(8.2, 0.9 + sum(0.34 * n + 0.55 for n in n_bars)), layout="constrained")
        panels = figure.subplots(len(scored), 1, squeeze=False, sharex=True, height_ratios=[n + 0.6 for n in n_bars])
        handles: dict[str, Any] = {}
        for panel, (question, sweeps) in zip(panels.ravel(), scored.items(), strict=True):
            handles |= _draw_bars(panel, question, sweeps, kinds)
        panels.ravel()[-1].set_xlabel("AUC on the holdout")
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=min(4, len(handles)))
    return figure


def draw_calibration(study: StudyResult) -> Figure | None:
    """One column a question, of the network that validation chose: calibration above, net benefit below.

    Returns:
        None where nothing has been measured.
    """
    chosen = [(question, study.chosen(question)) for question in study.questions]
    measured = [(q, s.holdout) for q, s in chosen if s and s.holdout and s.holdout.calibration]
    if not measured:
        return None
    with mpl.rc_context(rc=STYLE):
        figure = Figure(figsize=(3.3 * len(measured), 5.6), layout="constrained")
        panels = figure.subplots(2, len(measured), squeeze=False)
        for (curve, benefit), (question, holdout) in zip(panels.T, measured, strict=True):
            _draw_curve(curve, question, holdout)
            _draw_benefit(benefit, holdout)
        panels[0, 0].set_ylabel("observed share")
        panels[1, 0].set_ylabel("net benefit")
    return figure


def _draw_bars(panel: Axes, question: ComparedQuestion, sweeps: list[SweepResult], kinds: list[str]) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    labels = []
    for place, sweep in enumerate(sweeps):
        if sweep.holdout is None or sweep.holdout.auc is None:
            continue
        auc, kind = sweep.holdout.auc, sweep.first_weights
        ends = [[max(auc.auc - auc.interval.low, 0.0)], [max(auc.interval.high - auc.auc, 0.0)]]
        handles[f"first weights: {kind}"] = panel.barh(
            place, auc.auc - 0.5, left=0.5, height=0.7, color=COLOURS[kinds.index(kind) % len(COLOURS)], alpha=0.85
        )
        panel.errorbar(auc.auc, place, xerr=ends, fmt="none", ecolor="#222222", elinewidth=1.1, capsize=2.5)
        labels.append(sweep.label)
    for observer in [sweep.observer for sweep in sweeps if sweep.observer][:1]:
        handles[OBSERVER] = panel.barh(len(labels), observer.auc.auc - 0.5, left=0.5, height=0.7, color="#DDDDDD")
        labels.append(OBSERVER)
    units = sweeps[0].holdout
    panel.set_yticks(range(len(labels)), labels)
    panel.invert_yaxis()
    lowest = min(sweep.holdout.auc.interval.low for sweep in sweeps if sweep.holdout and sweep.holdout.auc)
    panel.set_xlim(min(0.45, lowest - 0.02), 1.0)
    panel.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    panel.set_title(f"{question.name} ({len(units.scores.units) if units else 0} {question.unit}s)")
    return handles


def _draw_curve(panel: Axes, question: ComparedQuestion, holdout: HoldoutResult) -> None:
    bins = holdout.calibration.bins if holdout.calibration else ()
    x = [part.probability for part in bins]
    y = [part.observed.value for part in bins]
    ends = [
        [part.observed.value - part.observed.interval.low for part in bins],
        [part.observed.interval.high - part.observed.value for part in bins],
    ]
    panel.plot([0, 1], [0, 1], color="#DDDDDD", linewidth=0.8, zorder=0)
    panel.errorbar(x, y, yerr=np.maximum(ends, 0), fmt="o-", color=COLOURS[0], markersize=4, elinewidth=0.9)
    panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="told probability")
    panel.set_title(f"{question.name} (n = {len(holdout.scores.units)})")


def _draw_benefit(panel: Axes, holdout: HoldoutResult) -> None:
    labels = holdout.scores.labels
    temperature = holdout.calibration.temperature if holdout.calibration else 1.0
    network = net_benefit(labels, expit(holdout.scores.logits / temperature), list(_THRESHOLDS))
    everybody = net_benefit(labels, np.ones(len(labels)), list(_THRESHOLDS))
    panel.plot(_THRESHOLDS, network, color=COLOURS[0], linewidth=1.6, label="network")
    panel.plot(_THRESHOLDS, everybody, color=COLOURS[1], linewidth=1.0, linestyle=(0, (5, 2)), label="all positive")
    panel.axhline(0.0, color=GREY, linewidth=0.8, label="none")
    panel.set(xlim=(0, 1), xlabel="threshold probability")
    panel.set_ylim(-0.05, max(0.1, float(labels.mean()) * 1.1))
    panel.legend(loc="upper right")
