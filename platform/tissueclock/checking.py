"""The checks before anything starts: everything that can be wrong with a study, on this machine, today.

Knows no phase by name: it is handed a function that gives a phase.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, InputError, StorageError, StudyError
from tissueclock.learning.hyperparameters import check
from tissueclock.records import SweepSpec
from tissueclock.study import Study
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.scheduler import make_scheduler
from tissueclock.sweeping.space import Space, make_space

PhaseLoader = Callable[[SweepSpec], SweptPhase]


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
        space = check_space(study, spec, phase)
        _check_fixed(spec, space)
        make_scheduler(spec, space.domains)
        if phase.phase.needs_parent and spec.inputs.weights == "random":
            raise StudyError(f"{study.file}: phase {spec.phase} has weights 'random'; it needs 'previous'")
        if (kinds := phase.phase.kinds) and spec.inputs.network.kind not in kinds:
            raise StudyError(
                f"{study.file}: phase {spec.phase} has a network of kind {spec.inputs.network.kind!r}; allowed: "
                f"{', '.join(kinds)}"
            )
        phase.phase.task.check_network(spec, space.fixed)
        _check_classes(study, spec, phase)
    _check_writable(study.folder.path)
    check_tracker(study.tracking_uri)
    return study, cohort


def check_disk(study: Study, *, wanted_bytes: int) -> int:
    """Free bytes where the study lies.

    Raises:
        StorageError: There are fewer than wanted.
    """
    free_bytes = shutil.disk_usage(_existing(study.folder.path)).free
    if free_bytes < wanted_bytes:
        raise StorageError(
            f"{study.folder.path}: {free_bytes / 1e9:.1f} GB free; the study may need {wanted_bytes / 1e9:.1f} GB"
        )
    return free_bytes


def check_space(study: Study, spec: SweepSpec, phase: SweptPhase) -> Space:
    """The space of a sweep whose parents are not known yet, only how many there will be.

    Raises:
        StudyError: A name that the phase does not understand, a pin outside its bounds, a grid over a continuous space.
    """
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
