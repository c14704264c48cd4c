"""Phases and spaces by name: a phase is a module of `trainables`, a space one of `search_spaces`, ours or a lab's."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import search_spaces
import trainables
from tissueclock.errors import StudyError
from tissueclock.records import SweepSpec
from tissueclock.storage.files import digest_facts
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.space import told_bounds
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable

_IN_0_1: Mapping[str, str] = {
    "genesis": "42bf982b0ae6572e89fe793a364d01ebfd595f994413a2ad7c1588d2065cbb9f",
    "detection": "28d8b63b33db4afa7f1b98b6812c747de3bfda2b12e2af24ec7b299fff6c6272",
    "tss_3h": "28ef012906aa5a2bae202757b2adb3edff0af2ff8a70d5e76bb6aa9ddaddab2b",
    "tss_4h5": "813e849b9357b6ab0366ddbfd20f28a57f602e8f853f51755739697238caff29",
    "attention": "eaa50cc25bcc576d632291863e0ca4b8d62a4819ed28dbf0c260ea2f21113c6b",
}
"""The facts of the phases that 0.1 had, digested: while they are these, sweeps keep the names that 0.1 gave. Who edits
one of the modules so that no result changes writes the new digest here; where results change, the old one stays."""


@dataclass(frozen=True, slots=True)
class ToldSpace:
    """A search space, as people are told of it.

    Attributes:
        name: The module's.
        meaning: What its module says of it.
        knobs: What is tuned: the hyperparameter, within which bounds, and why.
    """

    name: str
    meaning: str
    knobs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class ToldPhase:
    """A phase, as people are told of it.

    Attributes:
        phase: What is learned.
        meaning: What its module says of it.
    """

    phase: Phase
    meaning: str


def phase_names() -> list[str]:
    """The phases that there are, ours and a lab's."""
    return _names(trainables)


def space_names() -> list[str]:
    """The search spaces that there are, ours and a lab's."""
    return _names(search_spaces)


def tell_phase(name: str) -> ToldPhase:
    """What is known of a phase.

    Raises:
        StudyError: See `load_phase`.
    """
    trainable = _trainable(name)
    return ToldPhase(trainable.phase, _said(inspect.getmodule(trainable)))


def tell_space(name: str) -> ToldSpace:
    """What is known of a space.

    Raises:
        StudyError: See `load_phase`.
    """
    space, module = _space(name), _module(search_spaces, name, what="space")
    knobs = ((knob, told_bounds(domain), module.REASONS[knob]) for knob, domain in space.items())
    return ToldSpace(name, _said(module), tuple(knobs))


def _said(module: ModuleType | None) -> str:
    return " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split())


def use_extensions(folder: Path | None) -> None:
    """Puts a lab's folder on the import path, so that its `trainables/` and `search_spaces/` are found after ours.

    Raises:
        StudyError: The folder has neither, or an `__init__.py` that would hide ours on the workers.
    """
    if folder is None:
        return
    rooms = [folder / package.__name__ for package in (trainables, search_spaces)]
    if not any(room.is_dir() for room in rooms):
        raise StudyError(f"{folder}: extensions has no trainables/ and no search_spaces/ in it; one of them is needed")
    for room in rooms:
        if (room / "__init__.py").exists():
            raise StudyError(f"{room}/__init__.py: hides the package {room.name} that is installed; remove the file")
    if str(folder) in sys.path:
        return
    sys.path.append(str(folder))
    for package in (trainables, search_spaces):
        package.__path__ = pkgutil.extend_path(package.__path__, package.__name__)
    importlib.invalidate_caches()


def load_phase(spec: SweepSpec) -> SweptPhase:
    """The phase and the space that a sweep names.

    Raises:
        StudyError: A module is missing or cannot be imported, or lacks the trainable, the space or a bound's reason.
    """
    trainable = _trainable(spec.phase)
    facts = trainable.as_facts()
    return SweptPhase(
        trainable=trainable,
        space=_space(spec.inputs.space),
        facts=facts,
        as_in_0_1=digest_facts(facts) == _IN_0_1.get(spec.phase),
    )


def _trainable(name: str) -> type[PhaseTrainable]:
    module = _module(trainables, name, what="phase")
    found = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, PhaseTrainable) and value.__module__ == module.__name__
    ]
    phase = getattr(found[0], "phase", None) if len(found) == 1 else None
    if not (isinstance(phase, Phase) and phase.name == name):
        raise StudyError(f"trainables/{name}.py: has no PhaseTrainable whose phase is called {name!r}")
    return found[0]


def _space(name: str) -> dict[str, object]:
    module = _module(search_spaces, name, what="space")
    space, reasons = getattr(module, "SPACE", None), getattr(module, "REASONS", None)
    if not isinstance(space, dict) or not isinstance(reasons, dict):
        raise StudyError(f"search_spaces/{name}.py: has no SPACE and REASONS")
    if without := sorted(space.keys() - reasons.keys()):
        raise StudyError(f"search_spaces/{name}.py: {without[0]} has bounds but no reason in REASONS")
    if unsaid := sorted(name for name, reason in reasons.items() if not isinstance(reason, str)):
        raise StudyError(f"search_spaces/{name}.py: REASONS of {unsaid[0]} is {reasons[unsaid[0]]!r}; allowed: a text")
    return space


def _module(package: ModuleType, name: str, *, what: str) -> ModuleType:
    try:
        return importlib.import_module(f"{package.__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{package.__name__}.{name}":
            raise StudyError(f"{what} {name}: cannot be imported ({error})") from error
        known = ", ".join(_names(package))
        raise StudyError(f"{what} {name}: no module {package.__name__}/{name}.py; known: {known}") from error
    except Exception as error:
        raise StudyError(f"{what} {name}: cannot be imported ({type(error).__name__}: {error})") from error


def _names(package: ModuleType) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))
