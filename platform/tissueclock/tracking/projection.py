"""What a study, a sweep and a trial look like as MLflow runs: names, tags, parameters, metrics, statuses.

Pure: from a ledger's picture to plain facts. Knows the names that a person will see, and nothing of how they are sent.

A trial that was pruned ends as FINISHED with the tag `status=pruned`: it did what was asked of it, and MLflow paints
KILLED like a failure. What is not ended when the driver ends is KILLED with `status=interrupted`; it runs on as the
same run when the study is taken up again.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal, TypeGuard

from tissueclock.learning.hyperparameters import ROWS
from tissueclock.storage.ledger import TrialEntry
from tissueclock.tracking.picture import SweepPicture

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


def study_run(*, study: str, tags: Mapping[str, str], start_s: float, status: StudyStatus) -> RunFacts:
    """The run of a whole study, the root of all others."""
    return RunFacts(
        key=("", ""),
        name=study,
        start_ms=_ms(start_s),
        tags={**{_fit(name): value for name, value in tags.items()}, "status": status},
        status=MLFLOW_STATUS[status],
    )


def sweep_run(picture: SweepPicture, *, live: bool) -> RunFacts:
    """The run of a sweep: lineage as tags, a point for each trial that ended.

    Args:
        picture: The sweep's ledger.
        live: Whether somebody is at work on it; an open sweep that nobody works on is interrupted.
    """
    facts = picture.state.facts
    status = "finished" if picture.state.closed else "running" if live else _unfinished(picture)
    arms = ", ".join(facts.get("arms", ()))
    return RunFacts(
        key=(picture.name, ""),
        name=f"{facts.get('phase', picture.name)} ({arms})" if arms else picture.name,
        start_ms=_ms(picture.opened_s),
        tags={
            **_lineage_tags(facts),
            "phase": str(facts.get("phase", "")),
            "arms": arms,
            "status": status,
            "inputs": str(facts.get("inputs", "")),
            "spec": json.dumps(facts.get("spec", {}), sort_keys=True),
        },
        steps=list(picture.summaries),
        point_at=partial(_summary_point, picture),
        marker="n_ended",
        status=MLFLOW_STATUS[status],
        end_ms=_ms(picture.last_s) if status != "running" else None,
    )


def trial_run(picture: SweepPicture, trial: TrialEntry, *, live: bool) -> RunFacts:
    """The run of a trial: hyperparameters, a point for each epoch, how it ended.

    Args:
        picture: The ledger of its sweep.
        trial: The trial.
        live: Whether somebody is at work on its sweep.
    """
    facts = picture.state.facts
    status = trial.status or ("running" if live else "interrupted")
    tags = {
        "phase": str(facts.get("phase", "")),
        "arms": ", ".join(facts.get("arms", ())),
        "seed": str(trial.seed),
        "status": status,
        "node": picture.nodes.get(trial.name, ""),
        "error": trial.error or "",
        "recovered": "; ".join(trial.recovered),
    }
    return RunFacts(
        key=(picture.name, trial.name),
        name=f"{facts.get('phase', picture.name)} {trial.name}",
        start_ms=_ms(trial.asked_s),
        tags={name: value for name, value in tags.items() if value or name in ("error", "recovered")},
        params=parameters(picture.asked[trial.name]),
        steps=sorted(trial.metrics),
        point_at=partial(_trial_point, picture, trial),
        status=MLFLOW_STATUS[status],
        end_ms=_ms(trial.ended_s or picture.last_s) if status != "running" else None,
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


def _unfinished(picture: SweepPicture) -> str:
    statuses = {trial.status for trial in picture.state.trials.values()}
    return "failed" if statuses == {"failed"} else "interrupted"


def _trial_point(picture: SweepPicture, trial: TrialEntry, epoch: int) -> Point:
    metrics = {_fit(name): float(value) for name, value in trial.metrics[epoch].items()}
    for changed_at, _, hyperparameters in picture.changes.get(trial.name, ()):
        if changed_at < epoch:
            metrics.update({f"now_{_fit(n)}": float(v) for n, v in hyperparameters.items() if _is_number(v)})
    return Point(_ms(picture.reported_s[trial.name, epoch]), {**metrics, "epoch": float(epoch)})


def _summary_point(picture: SweepPicture, step: int) -> Point:
    summary = picture.summaries[step]
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
