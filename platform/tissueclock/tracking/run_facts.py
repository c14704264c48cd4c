"""The facts of an MLflow run, of a study, a sweep or a trial: name, tags, parameters, metrics, status.

Pure: from a sweep's log to plain facts. Knows the names that a person will see, and nothing of how they are sent.

A trial that was pruned ends as FINISHED with the tag `status=pruned`: it did what was asked of it, and MLflow paints
KILLED like a failure. What is not ended when the driver ends is KILLED with `status=interrupted`; it runs on as the
same run when the study is taken up again.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Literal, TypeGuard

from tissueclock.learning.hyperparameters import ROWS
from tissueclock.storage.ledger import TrialEntry
from tissueclock.tracking.columns import BEGUN_TAG, LEVEL_TAG
from tissueclock.tracking.sweep_log import SweepLog

StudyStatus = Literal["running", "finished", "failed", "interrupted"]
MLFLOW_STATUS: Mapping[str, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_UNFIT = re.compile(r"[^\w\-./ ]")


@dataclass(frozen=True, slots=True)
class Point:
    """Metrics of one step, at a time in milliseconds since the epoch."""

    time_ms: int
    metrics: Mapping[str, float]


def _no_point(step: int) -> Point:
    raise KeyError(step)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What one MLflow run is to hold.

    Attributes:
        key: (sweep, trial); ("", "") is the study, (sweep, "") a sweep.
        name: The run's name.
        start_ms: When it began, milliseconds since the epoch.
        tags: Tags; may change.
        params: Parameters; logged once.
        steps: The steps that have metrics, rising; each is logged once.
        point_at: The metrics of a step; asked only for those that are to be sent.
        marker: The metric that is in every point and equals its step: by it a step is known to be logged.
        status: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
        end_ms: When it ended.
    """

    key: tuple[str, str]
    name: str
    start_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[int] = ()
    point_at: Callable[[int], Point] = _no_point
    marker: str = "epoch"
    status: str = "RUNNING"
    end_ms: int | None = None


def study_facts(*, study: str, start_s: float, status: StudyStatus) -> RunFacts:
    """Of a whole study's run, the root of all others."""
    return RunFacts(
        key=("", ""),
        name=study,
        start_ms=_ms(start_s),
        tags={LEVEL_TAG: "study", "status": status},
        status=MLFLOW_STATUS[status],
    )


def sweep_facts(log: SweepLog, *, live: bool) -> RunFacts:
    """Of a sweep's run: lineage as tags, a point for each trial that ended.

    Args:
        log: The sweep's ledger.
        live: Whether somebody is at work on it; an open sweep that nobody works on is interrupted.
    """
    facts = log.state.facts
    status = "finished" if log.state.closed else "running" if live else _unfinished(log)
    arms = ", ".join(facts.get("arms", ()))
    return RunFacts(
        key=(log.name, ""),
        name=f"{facts.get('phase', log.name)} ({arms})" if arms else log.name,
        start_ms=_ms(log.opened_s),
        tags={
            **_lineage_tags(facts),
            LEVEL_TAG: "sweep",
            BEGUN_TAG: datetime.fromtimestamp(log.opened_s, tz=UTC).isoformat(timespec="milliseconds"),
            "trials": str(len(log.state.trials)),
            "cost": f"{log.state.device_s / 3600:.3g} {log.state.unit}-h",
            "phase": str(facts.get("phase", "")),
            "arms": arms,
            "status": status,
            "inputs": str(facts.get("inputs", "")),
            "spec": json.dumps(facts.get("spec", {}), sort_keys=True),
        },
        steps=list(log.summaries),
        point_at=partial(_summary_point, log),
        marker="n_ended",
        status=MLFLOW_STATUS[status],
        end_ms=_ms(log.last_s) if status != "running" else None,
    )


def trial_facts(log: SweepLog, trial: TrialEntry, *, live: bool) -> RunFacts:
    """Of a trial's run: hyperparameters, a point for each epoch, how it ended.

    Args:
        log: The ledger of its sweep.
        trial: The trial.
        live: Whether somebody is at work on its sweep.
    """
    facts = log.state.facts
    status = trial.status or ("running" if live else "interrupted")
    tags = {
        LEVEL_TAG: "trial",
        "phase": str(facts.get("phase", "")),
        "arms": ", ".join(facts.get("arms", ())),
        "seed": str(trial.seed),
        "status": status,
        "node": log.nodes.get(trial.name, ""),
        "error": trial.error or "",
        "recovered": "; ".join(trial.recovered),
        "confirms": trial.confirms or "",
        "changed": trial.changed or "",
    }
    return RunFacts(
        key=(log.name, trial.name),
        name=f"{facts.get('phase', log.name)} {trial.name}",
        start_ms=_ms(trial.begun_s),
        tags={name: value for name, value in tags.items() if value or name in ("error", "recovered")},
        params=parameters(trial.hyperparameters),
        steps=sorted(trial.metrics),
        point_at=partial(_trial_point, log, trial),
        status=MLFLOW_STATUS[status],
        end_ms=_ms(trial.ended_s or log.last_s) if status != "running" else None,
    )


def parameters(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameters as MLflow's strings, and the logarithm of those that span decades.

    The compare page draws every axis linearly, on which a learning rate's decades fall together. Fractions have five
    digits: the table cuts longer ones off before their exponent. The ledger and `trial.json` have them all.

    >>> parameters({"lr": 1.2345678e-05, "freeze_depth": 2})
    {'lr': '1.2346e-05', 'log10_lr': '-4.9085', 'freeze_depth': '2'}
    """
    params: dict[str, str] = {}
    for name, value in hyperparameters.items():
        params[_fit(name)] = f"{value:.5g}" if isinstance(value, float) else str(value)
        if _is_number(value) and value > 0 and name in ROWS and ROWS[name].log:
            params[f"log10_{_fit(name)}"] = str(round(math.log10(value), 4))
    return params


def _unfinished(log: SweepLog) -> str:
    statuses = {trial.status for trial in log.state.trials.values()}
    return "failed" if statuses == {"failed"} else "interrupted"


def _trial_point(log: SweepLog, trial: TrialEntry, epoch: int) -> Point:
    metrics = {_fit(name): float(value) for name, value in trial.metrics[epoch].items()}
    return Point(_ms(log.reported_s[trial.name, epoch]), {**metrics, "epoch": float(epoch)})


def _summary_point(log: SweepLog, step: int) -> Point:
    summary = log.summaries[step]
    metrics = {f"n_{status}": float(summary.statuses.get(status, 0)) for status in ("finished", "pruned", "failed")}
    if summary.best_value is not None:
        metrics["best_value"] = summary.best_value
    return Point(_ms(summary.time_s), {**metrics, "n_ended": float(step)})


def _lineage_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    lineage = facts.get("lineage", {})
    code = lineage.get("code", {})
    parents = [f"{parent['rank']}:{parent['digest'][:12]}" for parent in lineage.get("parents", ())]
    tags = {
        "cohort": str(lineage.get("cohort", "")),
        "split": str(lineage.get("split", "")),
        "seed": str(lineage.get("seed", "")),
        "parents": " ".join(parents) or "none",
        "code.version": str(code.get("version", "")),
        "code.git_dirty": str(code.get("git_dirty", "")),
        **{f"env.{_fit(name)}": str(value) for name, value in lineage.get("environment", {}).items()},
    }
    if code.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(code["git_commit"])
    return tags


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)


def _ms(time_s: float) -> int:
    return round(time_s * 1000)
