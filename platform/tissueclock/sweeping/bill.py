"""What a sweep costs at most, from an epoch that is measured as a trial of it would run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tissueclock.learning.hyperparameters import Hyperparameters
from tissueclock.records import EpochBill, SweepBill, SweepSpec
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.room import Nodes, slots
from tissueclock.sweeping.searcher import wanted_trials
from tissueclock.sweeping.space import Space
from tissueclock.sweeping.tasks import run_task
from tissueclock.training.bill import measure_as_trial
from tissueclock.training.phase import LearningTask

Measure = Callable[[LearningTask, SweepSpec, Mapping[str, Sequence[Any]]], EpochBill]
"""Measures an epoch: `measure_as_trial` in this process, `measure_on_cluster` where the trials will run."""


def measure_on_cluster(task: LearningTask, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
    """What an epoch costs, as a Ray task with what one of a trial's processes takes.

    Raises:
        TissueclockError: What the measurement raised, or its process died.
    """
    return run_task(measure_as_trial, task, spec, offered, resources=spec.budget.resources)


def bill_sweep(
    spec: SweepSpec, phase: SweptPhase, space: Space, *, measure: Measure, nodes: Nodes | None = None
) -> SweepBill:
    """What a sweep costs at most.

    Args:
        spec: The sweep.
        phase: Its trainable and space.
        space: The space, as far as the parents are known.
        measure: How an epoch is measured.
        nodes: Where trials will run; None: on those of the connected cluster.
    """
    budget, resources = spec.budget, spec.budget.resources
    n_trials = wanted_trials(space, spec)
    offered = space.offered()
    defaults = {name: (value,) for name, value in phase.phase.defaults.items()}
    costs = measure(phase.phase.task, spec, {**defaults, **offered})
    at_once = max(1, min(n_trials, budget.max_concurrent or n_trials, slots(resources, nodes)))
    epoch_s = costs.epoch_s / resources.workers
    hours = n_trials * spec.inputs.epochs * epoch_s * resources.devices / 3600
    if budget.time_budget_min is not None:
        hours = min(hours, at_once * resources.devices * budget.time_budget_min / 60)
    confirming = budget.confirming_of(n_trials)
    hours += confirming * spec.inputs.epochs * epoch_s * resources.devices / 3600
    saved_s, trunk_bytes = _sharing(spec, costs, offered, n_trials=n_trials)
    best_bytes = costs.checkpoint_bytes * (n_trials + confirming + budget.promote) // 4
    return SweepBill(
        vertex=spec.vertex,
        arms=spec.arms,
        trials=n_trials,
        confirming=confirming,
        at_once=at_once,
        epochs=spec.inputs.epochs,
        epoch_s=epoch_s,
        hours=hours,
        disk_bytes=costs.checkpoint_bytes * 2 * at_once + best_bytes,
        saved_hours=min(hours, saved_s / resources.workers * resources.devices / 3600),
        trunk_bytes=trunk_bytes,
    )


def _sharing(
    spec: SweepSpec, costs: EpochBill, offered: Mapping[str, Sequence[Any]], *, n_trials: int
) -> tuple[float, int]:
    """Seconds that sharing trunks saves, and bytes that they take; nothing where every trial has views of its own."""
    default = Hyperparameters()
    strengths = offered.get("augmentation", (default.augmentation,))
    views = max(offered.get("views", (default.views,)), default=0)
    if not (spec.trunks.share and costs.trunks and strengths and views):
        return 0.0, 0
    n_sets = max(1, len(offered.get("parent", ())))
    n_views = sum(views if strength > 0 else 1 for strength in strengths)
    depths = [depth for depth in offered.get("freeze_depth", ()) if isinstance(depth, int)] or list(costs.trunks)
    learned = offered.get("learned", ())
    frozen = sum(which != "network" for which in learned) / len(learned) if learned and 5 in costs.trunks else 1.0
    share_of_trials = frozen * len(costs.trunks) / max(len(depths), len(costs.trunks))
    mean_s = sum(trunk.epoch_s for trunk in costs.trunks.values()) / len(costs.trunks)
    unshared_s = n_trials * share_of_trials * spec.inputs.epochs * mean_s
    built_s = n_sets * n_views * sum(trunk.epoch_s for trunk in costs.trunks.values())
    n_bytes = n_sets * (n_views + 0.25) * sum(trunk.view_bytes for trunk in costs.trunks.values())
    return max(0.0, unshared_s - built_s), min(int(n_bytes), int(spec.trunks.limit_gb * 1e9))
