"""Everything that can be wrong, checked before anything starts; and the bill.

Knows no phase by name: it is handed a function that gives a phase.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, InputError, StorageError, StudyError
from tissueclock.learning.hyperparameters import Hyperparameters, check
from tissueclock.records import EpochBill, SweepSpec
from tissueclock.study import Study
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.scheduler import make_scheduler
from tissueclock.sweeping.space import Space, make_space

PhaseLoader = Callable[[SweepSpec], SweptPhase]


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one sweep costs at most: no trial stopped early, nothing frozen.

    Attributes:
        vertex: The sweep.
        arms: Who shares it.
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


def check_study(
    study: Study, load_phase: PhaseLoader, check_tracker: Callable[[str], None], *, verify: bool = True
) -> tuple[Study, Cohort]:
    """Checks files, columns, classes in each split, spaces against phases, schedulers, folder and tracker.

    Args:
        study: As read.
        load_phase: Gives the phase of a spec.
        check_tracker: Raises where the tracker at a URI cannot be used.
        verify: Whether to hash the whole cohort.

    Returns:
        The study with its cohort's identity known, and the cohort.

    Raises:
        InputError: The first thing that is wrong.
        StorageError: The study folder cannot be written.
    """
    cohort = Cohort.open(study.cohort, verify=verify)
    study = study.with_cohort(cohort.digest)
    for spec in study.vertices.values():
        phase = load_phase(spec)
        space = _check_space(study, spec, phase)
        _check_fixed(spec, space)
        make_scheduler(spec, space.domains)
        if phase.phase.needs_parent and spec.inputs.weights == "random":
            raise StudyError(f"{study.file}: phase {spec.phase} has weights 'random'; it needs 'previous'")
        if (kinds := phase.phase.kinds) and spec.inputs.network.kind not in kinds:
            raise StudyError(
                f"{study.file}: phase {spec.phase} has a network of kind {spec.inputs.network.kind!r}; allowed: "
                f"{', '.join(kinds)}"
            )
        phase.phase.task.check_weights(spec)
        _check_classes(study, spec, phase)
    _check_writable(study.folder.path)
    check_tracker(study.tracking_uri)
    return study, cohort


def bill(study: Study, load_phase: PhaseLoader) -> list[BillLine]:
    """What each sweep costs at most, from a few training steps measured on this machine."""
    lines = []
    for spec in study.vertices.values():
        phase = load_phase(spec)
        space = _check_space(study, spec, phase)
        grid = space.grid() if spec.inputs.searcher == "grid" else None
        n_trials = spec.budget.trials if grid is None else min(spec.budget.trials, len(grid))
        offered = space.offered()
        costs = phase.phase.task.epoch_bill(
            spec, {**{name: (value,) for name, value in phase.phase.defaults.items()}, **offered}
        )
        epoch_s, checkpoint_bytes = costs.epoch_s, costs.checkpoint_bytes
        saved_s, trunk_bytes = _sharing(spec, costs, offered, n_trials=n_trials)
        share = spec.budget.resources.gpus or spec.budget.resources.cpus
        n_at_once = spec.budget.max_concurrent or 2
        lines.append(
            BillLine(
                vertex=spec.vertex,
                arms=spec.arms,
                trials=n_trials,
                epochs=spec.inputs.epochs,
                epoch_s=epoch_s,
                hours=n_trials * spec.inputs.epochs * epoch_s * share / 3600,
                disk_bytes=checkpoint_bytes * (2 * n_at_once)
                + checkpoint_bytes * (n_trials + spec.budget.promote) // 4,
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
    share_of_trials = len(costs.trunks) / max(len(depths), len(costs.trunks))
    mean_s = sum(trunk.epoch_s for trunk in costs.trunks.values()) / len(costs.trunks)
    unshared_s = n_trials * share_of_trials * spec.inputs.epochs * mean_s
    built_s = n_sets * n_views * sum(trunk.epoch_s for trunk in costs.trunks.values())
    n_bytes = n_sets * (n_views + 0.25) * sum(trunk.view_bytes for trunk in costs.trunks.values())
    return max(0.0, unshared_s - built_s), min(int(n_bytes), int(spec.trunks.limit_gb * 1e9))


def check_disk(study: Study, lines: Sequence[BillLine]) -> int:
    """Free bytes where the study lies.

    Raises:
        StorageError: There are fewer than the bill says.
    """
    free = shutil.disk_usage(_existing(study.folder.path)).free
    wanted = sum(line.disk_bytes for line in lines)
    if free < wanted:
        raise StorageError(f"{study.folder.path}: {free / 1e9:.1f} GB free; the study may need {wanted / 1e9:.1f} GB")
    return free


def _check_space(study: Study, spec: SweepSpec, phase: SweptPhase) -> Space:
    n_parents = study.vertices[spec.inputs.upstream].budget.promote if spec.inputs.upstream else 0
    return make_space(phase.space, spec, accepted=phase.phase.task.accepted(), n_parents=n_parents)


def _check_fixed(spec: SweepSpec, space: Space) -> None:
    try:
        check(space.fixed)
    except InputError as error:
        hint = "; YAML reads a bare off as false: write 'off'" if ": False," in str(error) else ""
        raise StudyError(f"phase {spec.phase}: fix {error}{hint}") from error


def _check_classes(study: Study, spec: SweepSpec, phase: SweptPhase) -> None:
    for split, (n_negative, n_positive) in phase.phase.task.count_classes(study.cohort).items():
        if not (n_negative and n_positive):
            raise CohortError(
                f"{study.cohort}: phase {spec.phase} has {n_positive} positive and {n_negative} negative hemispheres "
                f"in {split}; both classes are needed in each split"
            )


def _check_writable(folder: Path) -> None:
    existing = _existing(folder)
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise StorageError(f"{existing}: cannot be written; name another folder in the study")


def _existing(folder: Path) -> Path:
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); name another folder") from error
    return folder
