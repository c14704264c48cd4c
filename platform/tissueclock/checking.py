"""The checks before anything starts: everything that can be wrong with a study, on this machine, today.

Knows no phase by name: it is handed a function that gives a phase.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, InputError, StorageError, StudyError
from tissueclock.learning.hyperparameters import check
from tissueclock.lineage import code_facts, describe_code
from tissueclock.networks.settings import PRESENCE
from tissueclock.records import SweepSpec
from tissueclock.settings import Budget
from tissueclock.storage.files import read_json
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import read_ledger
from tissueclock.study import Study
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.scheduler import make_scheduler
from tissueclock.sweeping.space import Space, make_space
from tissueclock.sweeping.sweep import has_trials_asked_for, recorded_facts

_NAMES_NO_SWEEP = {*Budget.model_fields, "cohort", "arms", "extensions", "trunks", "upstream"}

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
    if study.folder.path == study.cohort:
        raise StudyError(
            f"{study.file}: folder is the cohort's ({study.cohort}); name another folder, or another study"
        )
    cohort = Cohort.open(study.cohort, verify=verify)
    study = study.with_cohort(cohort.digest)
    tuned: set[str] = set()
    for spec in study.vertices.values():
        phase = load_phase(spec)
        space = check_space(study, spec, phase)
        tuned |= set(space.distributions)
        _check_fixed(spec, space)
        make_scheduler(spec)
        if phase.phase.needs_parent and spec.inputs.weights == "random":
            raise StudyError(f"{study.file}: phase {spec.phase} has weights 'random'; it needs 'previous'")
        if spec.inputs.network.kind not in phase.phase.kinds:
            raise StudyError(
                f"{study.file}: phase {spec.phase} has a network of kind {spec.inputs.network.kind!r}; allowed: "
                f"{', '.join(phase.phase.kinds)}"
            )
        phase.phase.task.check_network(spec, space.fixed)
        _check_flair(study, spec, cohort, space)
        _check_classes(study, spec, phase)
    _check_contrasts(study, tuned)
    _check_writable(study.folder.path)
    check_tracker(study.tracking_uri)
    return study, cohort


def promoted_faults(study: Study) -> list[str]:
    """What is wrong with checkpoints that were promoted before, a line each."""
    faults = []
    for folder in study.folder.sweeps():
        for rank, line in sorted(read_ledger(folder.ledger).promoted.items()):
            if (fault := folder.promoted(rank).fault(line["digest"])) is not None:
                faults.append(f"{fault}; tissueclock sweep mends it where the trial's own folder is whole")
    return faults


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


def describe_changes(study: Study, load_phase: PhaseLoader) -> list[str]:
    """What a person may not expect of the sweeps to come, a line each.

    A sweep is to stand beside one that an arm of it has had (told: the inputs that differ; what follows from the sweep
    before is left to that sweep's line), or it goes on under other code than it was begun with.
    """
    there = {folder.path.name: facts for folder in study.folder.sweeps() if (facts := _recorded(folder))}
    lines: list[str] = []
    kept: set[str] = set()
    to_begin: list[tuple[SweepSpec, dict[str, list[str]]]] = []
    for spec in study.vertices.values():
        phase = load_phase(spec)
        space = check_space(study, spec, phase)
        facts = recorded_facts(spec, phase, space)
        same_phase = {name: old for name, old in there.items() if old["phase"] == spec.phase}
        found = {name: list(_changes(old, facts, phase, name)) for name, old in same_phase.items()}
        own = [name for name, changed in found.items() if not changed]
        lines += [_describe_code(study.folder.sweep(name), spec, space) for name in own if name not in kept]
        kept |= set(own)
        if not own:
            to_begin.append((spec, found))
    for spec, found in to_begin:
        left = [name for name in found if name not in kept and set(there[name]["arms"]) & set(spec.arms)]
        if left:
            first, *others = found[min(left, key=lambda name: (len(found[name]), name))]
            more = f" (and {len(others)} more)" if others else ""
            lines.append(f"{spec.phase} of {', '.join(spec.arms)}: {first}{more}; that sweep stays, this is another")
    return [line for line in lines if line]


def _recorded(folder: SweepFolder) -> dict[str, Any]:
    """What a sweep was opened for; nothing where that cannot be read, since nothing else needs it."""
    try:
        return read_json(folder.spec, needed=("phase", "arms"))
    except InputError:
        return {}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], phase: SweptPhase, name: str) -> Iterator[str]:
    """Each input that differs from a recorded sweep's, in words."""
    now = json.loads(json.dumps({key: new[key] for key in new if key not in _NAMES_NO_SWEEP}))
    was = {key: value for key, value in old.items() if key in now}
    was.setdefault("bounds", now["bounds"])  # 0.1 recorded neither
    was.setdefault("asks", now["asks"] if phase.as_in_0_1 else None)
    for key, before, after in _differences(was, now):
        if key == "asks":
            yield f"what the phase asks was not recorded in sweeps/{name}"
        elif key.startswith("asks.code."):
            if not phase.as_in_0_1:  # theirs is known to give the same
                yield f"the code of {key.removeprefix('asks.code.')} is not that of sweeps/{name}"
        elif key != "bounds.parent":
            shown = key.removeprefix("asks.").removeprefix("task.")
            yield f"{shown} is {json.dumps(after)} where sweeps/{name} has {json.dumps(before)}"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in {**new, **old}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{above}{key}.")
        elif before != after:
            yield f"{above}{key}", before, after


def _describe_code(folder: SweepFolder, spec: SweepSpec, space: Space) -> str:
    """That a sweep goes on under other code than it was begun with; nothing where it does not, or need not go on."""
    state = read_ledger(folder.ledger)
    begun, now = state.facts.get("lineage", {}).get("code"), code_facts()
    if not begun or begun == now or has_trials_asked_for(state, spec, space):
        return ""
    return f"{folder.path.name}: begun with {describe_code(begun)}; goes on with {describe_code(now)}"


def _check_fixed(spec: SweepSpec, space: Space) -> None:
    try:
        check(space.fixed)
    except InputError as error:
        hint = "; YAML reads a bare off as false: write 'off'" if ": False," in str(error) else ""
        raise StudyError(f"phase {spec.phase}: fix {error}{hint}") from error


def _check_flair(study: Study, spec: SweepSpec, cohort: Cohort, space: Space) -> None:
    network = spec.inputs.network
    if "flair_dropout" in space.distributions and PRESENCE not in network.inputs_read:
        raise StudyError(
            f"{study.file}: phase {spec.phase} tunes flair_dropout; {PRESENCE} is not among its network's inputs"
        )
    without = [patient.participant_id for patient in cohort.patients if not patient.has_flair]
    if without and not network.takes_missing_flair:
        raise StudyError(
            f"{study.file}: phase {spec.phase} of {', '.join(spec.arms)} reads FLAIR, which {len(without)} patients "
            f"have not (first {without[0]}); allowed: a network whose inputs have flair_present, or a cohort packed "
            "without --allow-missing"
        )


def _check_contrasts(study: Study, tuned: set[str]) -> None:
    asked = dict.fromkeys(knob for spec in study.vertices.values() for knob in spec.budget.contrast)
    for knob in asked:
        if knob not in tuned:
            raise StudyError(f"{study.file}: contrast {knob}: no sweep tunes it; tuned are {', '.join(sorted(tuned))}")


def _check_classes(study: Study, spec: SweepSpec, phase: SweptPhase) -> None:
    for split, (n_negative, n_positive) in phase.phase.task.count_classes(spec).items():
        if not (n_negative and n_positive):
            raise CohortError(
                f"{study.cohort}: phase {spec.phase} has {n_positive} positive and {n_negative} negative hemispheres "
                f"in {split}; both classes are needed in each split and fold"
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
