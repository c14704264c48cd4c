"""What was tuned and what it was worth: importances, one knob changed in the winner, checkpoints handed over.

References:
    Hutter, Hoos & Leyton-Brown 2014 (fANOVA), https://proceedings.mlr.press/v32/hutter14.html.
    Kendall 1945 (tau-b), doi 10.1093/biomet/33.3.239.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from scipy.stats import kendalltau
from scipy.stats import t as student

from tissueclock.comparing.results import StudyResult, SweepResult
from tissueclock.comparing.statistics import CONFIDENCE, Estimate, Interval
from tissueclock.storage.ledger import TrialEntry

MIN_TRIALS = 8
"""Fewer tell nothing of six knobs."""

_N_RERUNS, _N_TREES, _N_RESAMPLES = 3, 32, 1000


@dataclass(frozen=True, slots=True)
class Importance:
    """How much of what a sweep's trials differ by goes with one knob.

    Attributes:
        sweep: Label of the sweep.
        knob: The hyperparameter.
        share: Of the variance over the space, by fANOVA: mean over reruns of the evaluator.
        low: Least of the reruns.
        high: Most of them.
        n: Trials with a value.
    """

    sweep: str
    knob: str
    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Contrast:
    """The winner of a sweep, and the same with one knob changed.

    Attributes:
        sweep: Label of the sweep.
        knob: The hyperparameter.
        kept: The winner's value.
        changed: The other value.
        n: Seeds that both were learned from.
        winner: Mean validation AUC of the winner's configuration from them.
        difference: Winner minus changed, paired by seed, Student's interval; None with one seed, or where all give the
            same run: a fit that draws nothing.
        failed: Why runs of it failed, if any did.
        hours: Device-hours that its runs cost.
        unit: Of these: GPU or CPU.
    """

    sweep: str
    knob: str
    kept: Any
    changed: Any
    n: int
    winner: float
    mean_difference: float
    difference: Estimate | None
    failed: str
    hours: float
    unit: str


@dataclass(frozen=True, slots=True)
class Handover:
    """What handing over several checkpoints was worth to a sweep.

    Attributes:
        sweep: Label of the sweep that took them up.
        parents: By rank: trials that began with it, their best and their mean value.
        winner: The parent of the best trial.
        tau: Kendall's, between a parent's validation AUC and that of the trials that began with it; None with one
            parent. Its interval is over resampled trials.
    """

    sweep: str
    parents: Mapping[int, tuple[int, float, float]]
    winner: int
    tau: Estimate | None


def measure_importances(sweep: SweepResult, bounds: Mapping[str, Any]) -> tuple[Importance, ...]:
    """Importances of a sweep's knobs, most important first; none with too few trials, or where all are alike.

    Trials that were stopped early count with the best that they had reached.

    Args:
        sweep: With its ledger.
        bounds: What `sweep.json` says of the space: bounds or choices by name.
    """
    distributions = {name: found for name, told in bounds.items() if (found := _distribution(told)) is not None}
    trials = [trial for trial in _valued(sweep) if distributions.keys() <= trial.hyperparameters.keys()]
    if len(trials) < MIN_TRIALS or len({trial.best_value for trial in trials}) < 2 or not distributions:
        return ()
    study = _as_study(trials, distributions)
    reruns = [
        get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=_N_TREES, seed=seed))
        for seed in range(_N_RERUNS)
    ]
    shares = {name: [run.get(name, 0.0) for run in reruns] for name in distributions}
    found = [
        Importance(sweep.label, name, fmean(values), min(values), max(values), len(trials))
        for name, values in shares.items()
    ]
    return tuple(sorted(found, key=lambda importance: -importance.share))


def find_contrasts(sweep: SweepResult) -> tuple[Contrast, ...]:
    """The contrasts that a sweep ran, in the order asked."""
    ledger = sweep.ledger
    runs = [entry for entry in ledger.confirmations.values() if entry.changed is not None]
    found = []
    for knob, winner in dict.fromkeys((str(run.changed), str(run.confirms)) for run in runs):
        own = [run for run in runs if run.changed == knob and run.confirms == winner]
        partners = {run.name: ledger.confirmations.get(run.name.removesuffix(f"-{knob}")) for run in own}
        pairs = [
            (partner.best_value, run.best_value)
            for run in own
            if (partner := partners[run.name]) and partner.best_value is not None and run.best_value is not None
        ]
        if not pairs:
            continue
        differences = [kept - changed for kept, changed in pairs]
        hours = sum(row.get("epoch_s", 0.0) for run in own for row in run.metrics.values()) * ledger.devices / 3600
        found.append(
            Contrast(
                sweep=sweep.label,
                knob=knob,
                kept=ledger.trials[winner].hyperparameters.get(knob),
                changed=own[0].hyperparameters.get(knob),
                n=len(pairs),
                winner=fmean(kept for kept, _ in pairs),
                mean_difference=fmean(differences),
                difference=_paired(differences) if len(set(pairs)) > 1 else None,
                failed=next((run.error or "" for run in own if run.status == "failed"), ""),
                hours=hours,
                unit=ledger.unit,
            )
        )
    return tuple(found)


def find_handovers(study: StudyResult) -> tuple[Handover, ...]:
    """What became of the checkpoints that were handed over, sweep by sweep."""
    values = {sweep.name: {promoted.rank: promoted.value for promoted in sweep.promoted} for sweep in study.sweeps}
    found = []
    for sweep in study.sweeps:
        trials = [trial for trial in _valued(sweep) if isinstance(trial.hyperparameters.get("parent"), int)]
        of_parent: dict[int, list[float]] = {}
        for trial in trials:
            of_parent.setdefault(trial.hyperparameters["parent"], []).append(float(trial.best_value or 0.0))
        if not of_parent:
            continue
        best = max(trials, key=lambda trial: trial.best_value or 0.0)
        above = values.get(str(sweep.spec.get("upstream")), {})
        pairs = [(above[rank], value) for rank, children in of_parent.items() if rank in above for value in children]
        found.append(
            Handover(
                sweep=sweep.label,
                parents={
                    rank: (len(children), max(children), fmean(children))
                    for rank, children in sorted(of_parent.items())
                },
                winner=best.hyperparameters["parent"],
                tau=_kendall(pairs),
            )
        )
    return tuple(found)


def _valued(sweep: SweepResult) -> list[TrialEntry]:
    return [trial for trial in sweep.ledger.with_status("finished", "pruned") if trial.best_value is not None]


def _as_study(trials: Sequence[TrialEntry], distributions: Mapping[str, BaseDistribution]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        params = {name: _cast(trial.hyperparameters[name], d) for name, d in distributions.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=dict(distributions), value=trial.best_value)
        )
    return study


def _distribution(told: Any) -> BaseDistribution | None:
    """A distribution from what `sweep.json` says of it; None for a value that was not tuned."""
    if not isinstance(told, Mapping):
        return None
    if "choices" in told:
        choices = tuple(told["choices"])
        return CategoricalDistribution(choices) if len(choices) > 1 else None
    low, high, log = told["low"], told["high"], bool(told.get("log"))
    if low == high:
        return None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log, step=1 if log else told.get("step") or 1)
    return FloatDistribution(low, high, log=log, step=told.get("step"))


def _cast(value: Any, distribution: BaseDistribution) -> Any:
    return float(value) if isinstance(distribution, FloatDistribution) else value


def _paired(differences: Sequence[float]) -> Estimate | None:
    n = len(differences)
    if n < 2:
        return None
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(differences) / math.sqrt(n)
    mean = fmean(differences)
    return Estimate(mean, Interval(mean - half, mean + half))


def _kendall(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """Tau-b of pairs, with the percentile interval over resampled pairs."""
    told = np.array(pairs, dtype=float).reshape(-1, 2)
    if len(np.unique(told[:, 0])) < 2 or len(np.unique(told[:, 1])) < 2:
        return None
    generator = np.random.default_rng(0)
    taus = []
    for _ in range(_N_RESAMPLES):
        drawn = told[generator.integers(0, len(told), len(told))]
        tau = float(kendalltau(drawn[:, 0], drawn[:, 1]).statistic)
        if math.isfinite(tau):
            taus.append(tau)
    low, high = np.quantile(taus, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(kendalltau(told[:, 0], told[:, 1]).statistic), Interval(float(low), float(high)))
