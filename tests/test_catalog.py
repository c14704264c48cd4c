"""What of a lab's phase and space a sweep is named by: all that a result depends on, and nothing else."""

import importlib
import py_compile
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

import search_spaces
import trainables
from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.questions import OnsetBefore
from tissueclock.storage.files import digest_facts
from tissueclock.sweeping.space import make_space
from tissueclock.sweeping.sweep import inputs_digest
from tissueclock.training.classification import Classification

PHASE = '''"""A lab's phase."""

from trainables.lab_window import Window
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Lab(PhaseTrainable):
    """Learns it."""

    phase = Phase(
        name="lab",
        title="onset < 6 h",
        task=Classification(Window(360.0, rule=lambda hemisphere: hemisphere.lesion)),
        defaults={"dropout": 0.1},
    )
'''
WINDOW = '''"""A lab's question."""

from dataclasses import dataclass

from lab_code.tools import older


@dataclass(frozen=True)
class Window:
    onset_before_min: float
    rule: object = None
    unit: str = "patient"

    def label(self, hemisphere):
        # those with a lesion
        return None if not hemisphere.lesion else not older(hemisphere, self.onset_before_min)


def unused():
    from . import lab_late
'''
TOOLS = """older = lambda hemisphere, cut: hemisphere.onset_to_mri_min >= cut
"""
SPACE = '''"""A lab's space."""

from ray import tune

SPACE = {"lr": tune.loguniform(1e-4, 1e-2), "batch_size": tune.choice([8, 16]), "beta1": 0.9}
REASONS = {"lr": "Usual.", "batch_size": "Usual.", "beta1": "Usual."}
'''
P, W, T, L, S = (
    "trainables/lab.py", "trainables/lab_window.py", "lab_code/tools.py", "trainables/lab_late.py",
    "search_spaces/lab.py",
)  # fmt: skip
FILES = {P: PHASE, W: WINDOW, T: TOOLS, L: "X = 1\n", S: SPACE, "trainables/lab_other.py": "Y = 1\n"}
SPEC = vary(phase="lab", space="lab")


class NameSweep(Protocol):
    """Gives the digest that names the sweep of a lab's files, imported afresh; one may be compiled, without source."""

    def __call__(self, files: dict[str, str], *, compiled: str | None = None) -> str: ...


@pytest.fixture
def sweep_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NameSweep]:
    """See `NameSweep`."""

    def name(files: dict[str, str], *, compiled: str | None = None) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, newline="")
        if compiled:
            source = folder / compiled
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(source), str(source.with_suffix(".pyc")), dfile="x", invalidation_mode=unchecked)
            source.unlink()
        with monkeypatch.context() as patched:
            for package in (trainables, search_spaces):
                patched.setattr(package, "__path__", [package.__path__[0], str(folder / package.__name__)])
            patched.setattr(sys, "path", [*sys.path, str(folder)])
            patched.setattr(Classification, "objective", "val_auc")
            importlib.invalidate_caches()
            loaded = load_phase(SPEC)
            space = make_space(loaded.space, SPEC, accepted=loaded.phase.task.accepted())
            digest = inputs_digest(SPEC, loaded, space, ())
        _forget()
        return digest

    yield name
    _forget()


def _forget() -> None:
    for module in [
        name for name in sys.modules if name.startswith(("trainables.lab", "search_spaces.lab", "lab_code"))
    ]:
        del sys.modules[module]


def edited(path: str, *pairs: tuple[str, str]) -> dict[str, str]:
    text = FILES[path]
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return {path: text}


OTHER_RESULTS = {
    "the question's cut": edited(P, ("360.0", "200.0")),
    "what the question's label does": edited(W, ("None if not hemisphere.lesion else not", "not")),
    "its unit": edited(W, ('"patient"', '"hemisphere"')),
    "a lambda": edited(P, ("hemisphere.lesion", "not hemisphere.lesion")),
    "a function of a helper outside trainables": edited(T, (">=", ">")),
    "a module imported where it is needed": {L: "X = 2\n"},
    "a default": edited(P, ("0.1", "0.2")),
    "the objective": edited(P, ("\n\nclass Lab", "\n\nClassification.objective = 'val_loss'\n\n\nclass Lab")),
    "a method of the trainable": edited(P, ("    phase =", "    def step(self):\n        return {}\n\n    phase =")),
    "the trainable's name": edited(P, ("class Lab(", "class LabSixHours(")),
    "a function moved to another module": {
        **edited(W, ("lab_code.tools", "lab_code.moved")),
        "lab_code/moved.py": TOOLS,
    },
    "a bound": edited(S, ("1e-2", "1e-1")),
    "a choice": edited(S, ("[8, 16]", "[8]")),
    "a scale": edited(S, ("loguniform", "uniform")),
    "a constant of the space": edited(S, ('"beta1": 0.9', '"beta1": 0.8')),
}
SAME_RESULTS: dict[str, dict[str, str]] = {
    "nothing": {},
    "comments and layout": edited(
        W, ("        # those with a lesion\n", ""), ("return None", "return (None"), ("_min)\n", "_min\n        ))\n")
    ),
    "docstrings": edited(P, ('"""A lab\'s phase."""', ""), ("Learns it.", "Learns that.")),
    "the title": edited(P, ("onset < 6 h", "within six hours")),
    "line ends of Windows": {path: text.replace("\n", "\r\n") for path, text in FILES.items()},
    "a module that the phase does not import": {"trainables/lab_other.py": "Y = 2\n"},
    "reasons": edited(S, ("Usual", "As in the paper")),
    "the spelling of a number": edited(P, ("360.0", "3.6e2")),
}


@pytest.mark.parametrize("files", OTHER_RESULTS.values(), ids=OTHER_RESULTS)
def test_what_may_change_a_result_makes_another_sweep(sweep_of: NameSweep, files: dict[str, str]) -> None:
    assert sweep_of(FILES | files) != sweep_of(FILES)


@pytest.mark.parametrize("files", SAME_RESULTS.values(), ids=SAME_RESULTS)
def test_what_changes_no_result_goes_on_with_the_sweep(sweep_of: NameSweep, files: dict[str, str]) -> None:
    assert sweep_of(FILES | files) == sweep_of(FILES)


def test_a_value_read_from_a_file_counts_where_it_ends_in_the_question(sweep_of: NameSweep) -> None:
    read = edited(
        P,
        ("360.0", "float(Path(__file__).with_suffix('.txt').read_text())"),
        ("from tissueclock.training.phase", "from pathlib import Path\n\nfrom tissueclock.training.phase"),
    )

    six, also_six, three = (sweep_of({**FILES, **read, "trainables/lab.txt": text}) for text in ("360", "360.0", "180"))

    assert six == also_six != three


def test_a_module_without_source_counts_by_its_bytes(sweep_of: NameSweep) -> None:
    older, newer = FILES, FILES | edited(T, (">=", ">"))

    assert sweep_of(older, compiled=T) == sweep_of(older, compiled=T) != sweep_of(newer, compiled=T)


@pytest.mark.parametrize("phase", ["genesis", "detection", "tss_3h", "tss_4h5", "attention"])
def test_a_phase_of_0_1_keeps_the_names_of_its_sweeps(phase: str) -> None:
    spec = vary(phase=phase, space=phase)
    loaded = load_phase(spec)
    space = make_space(loaded.space, spec, accepted=loaded.phase.task.accepted())

    facts_of_0_1 = {"key": spec.key, "space": space.digest, "parents": []}
    assert inputs_digest(spec, loaded, space, ()) == digest_facts(facts_of_0_1), "catalog._IN_0_1 says what to do"


def test_a_phase_of_ours_that_asks_something_else_makes_another_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = vary(phase="tss_4h5", space="tss_4h5")
    before = load_phase(spec)
    edited_phase = replace(before.phase, task=Classification(OnsetBefore(200.0)))
    monkeypatch.setattr(before.trainable, "phase", edited_phase)

    assert not load_phase(spec).as_in_0_1
