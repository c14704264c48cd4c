"""The bill: what each sweep of a study costs at most, from an epoch measured on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tissueclock.checking import PhaseLoader, check_space
from tissueclock.learning.hyperparameters import Hyperparameters
from tissueclock.records import EpochBill, SweepSpec
from tissueclock.study import Study


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one sweep costs at most: no trial stopped early, nothing frozen.

    Attributes:
        vertex: The sweep's name in the graph.
        arms: The arms that share it.
        trials: Trials asked for; a grid may have fewer points.
        epochs: Most epochs of a trial.
        epoch_s: Seconds of one epoch on this machine's device.
        hours: Hours of device time: trials * epochs * seconds, times the fraction of a device that a trial takes.
        disk_bytes: Checkpoints of running trials, and the best weights of every trial.
        saved_hours: Hours of these that sharing frozen trunks is expected to save, freeze depths drawn evenly.
        trunk_bytes: Disk that the shared trunks take on each node, at most.
    """

    vertex: str
    arms: tuple[str, ...]
    trials: int
    epochs: int
    epoch_s: float
    hours: float
    disk_bytes: int
    saved_hours: float
    trunk_bytes: int


def bill_study(study: Study, load_phase: PhaseLoader) -> list[BillLine]:
    """What each sweep costs at most, from a few training steps measured on this machine."""
    lines = []
    for spec in study.vertices.values():
        phase = load_phase(spec)
        space = check_space(study, spec, phase)
        grid = space.grid() if spec.inputs.searcher == "grid" else None
        n_trials = spec.budget.trials if grid is None else min(spec.budget.trials, len(grid))
        offered = space.offered()
        defaults = {name: (value,) for name, value in phase.phase.defaults.items()}
        costs = phase.phase.task.epoch_bill(spec, {**defaults, **offered})
        epoch_s, checkpoint_bytes = costs.epoch_s, costs.checkpoint_bytes
        saved_s, trunk_bytes = _sharing(spec, costs, offered, n_trials=n_trials)
        share = spec.budget.resources.gpus or spec.budget.resources.cpus
        n_at_once = spec.budget.max_concurrent or 2
        best_bytes = checkpoint_bytes * (n_trials + spec.budget.promote) // 4
        lines.append(
            BillLine(
                vertex=spec.vertex,
                arms=spec.arms,
                trials=n_trials,
                epochs=spec.inputs.epochs,
                epoch_s=epoch_s,
                hours=n_trials * spec.inputs.epochs * epoch_s * share / 3600,
                disk_bytes=checkpoint_bytes * 2 * n_at_once + best_bytes,
                saved_hours=saved_s * share / 3600,
                trunk_bytes=trunk_bytes,
            )
        )
    return lines


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
