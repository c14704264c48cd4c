"""A phase: what is learned, how that is called, and from what a trial of it may begin."""

import abc
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tissueclock.cohort.store import Cohort
from tissueclock.errors import StudyError
from tissueclock.learning.course import Course
from tissueclock.learning.learner import Conditions
from tissueclock.learning.shard import Shard
from tissueclock.networks.settings import NETWORK_KINDS, NetworkSettings
from tissueclock.records import EpochBill, SweepJob, SweepSpec
from tissueclock.storage.folders import PromotedFolder


@runtime_checkable
class Material(Protocol):
    """What all trials of an actor learn from, opened once."""

    def make_learner(
        self, hyperparameters: dict[str, Any], *, conditions: Conditions, shard: Shard, i_replica: int
    ) -> tuple[Course, Mapping[str, Any] | None]:
        """A learner of one trial, and what its first weights were, as JSON facts; None where they were drawn.

        Args:
            hyperparameters: The trial's.
            conditions: Of this learner; the seed is its own.
            shard: This process's part.
            i_replica: Which of the trial's replicas it is: the fold, and the parent's replica that it starts from.
        """


class LearningTask(abc.ABC):
    """What a network learns in a phase, and how that is judged: a question's answers, or lost volumes.

    Attributes:
        objective: The validation metric by which trials are ranked; larger is better.
        unit: What is scored: `hemisphere`, `patient` or `volume`.
        onset_before_min: The cut of an onset question, minutes; None for any other task.
    """

    objective: str
    unit: str
    onset_before_min: float | None

    @abc.abstractmethod
    def accepted(self) -> frozenset[str]:
        """The hyperparameters that a trial understands."""

    @abc.abstractmethod
    def open(self, cohort: Cohort, job: SweepJob) -> Material:
        """What trials of a sweep learn from."""

    @abc.abstractmethod
    def check_network(self, spec: SweepSpec, pinned: Mapping[str, Any]) -> None:
        """Raises InputError where no trial can learn what is pinned, or start from the sweep's first weights.

        Args:
            spec: The sweep.
            pinned: The hyperparameters that all its trials share.
        """

    @abc.abstractmethod
    def count_classes(self, spec: SweepSpec) -> Mapping[str, tuple[int, int]]:
        """Hemispheres that answer no and yes, by split or fold; nothing where there are no classes.

        Raises:
            InputError: The cohort cannot be opened, or a part of it has nothing to learn from.
        """

    @abc.abstractmethod
    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs here, measured over a few steps, given the values on offer for each hyperparameter."""

    @abc.abstractmethod
    def score_holdout(self, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
        """Scores promoted checkpoints on the holdout, beside the weights; what has been scored stays as it is."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One learning task of the chain, under a name.

    Attributes:
        name: The module's name in `trainables`, and the phase's everywhere.
        title: What it asks, for tables and figures.
        task: What is learned.
        defaults: Hyperparameters that differ from their own defaults.
        needs_parent: Whether random first weights make no sense.
        kinds: The kinds of network that can learn it.
    """

    name: str
    title: str
    task: LearningTask
    defaults: Mapping[str, Any] = field(default_factory=dict)
    needs_parent: bool = False
    kinds: tuple[str, ...] = NETWORK_KINDS

    def as_facts(self) -> dict[str, Any]:
        """What it declares and a result depends on, as JSON facts: not the title, nor what merely may learn it."""
        return {
            "task": _declared(self.task),
            "objective": self.task.objective,
            "defaults": _declared(self.defaults),
        }


def network_settings(spec: SweepSpec) -> NetworkSettings:
    """The network of a sweep that learns by gradients.

    Raises:
        StudyError: It is the radiomics baseline.
    """
    settings = spec.inputs.network
    if not isinstance(settings, NetworkSettings):
        raise StudyError(
            f"phase {spec.phase} has a network of kind {settings.kind!r}; allowed: {', '.join(NETWORK_KINDS)}"
        )
    return settings


def _declared(value: Any) -> Any:
    """A declared value as JSON facts that are the same in every process.

    A dataclass's field counts where it is not the default, so that one that is added later renames no sweep. Functions
    and other objects are told by their `repr`: what they do is their module's code.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else repr(value)
        case Mapping():
            return {str(key): _declared(each) for key, each in value.items()}
        case Set():
            return sorted((_declared(each) for each in value), key=repr)
        case list() | tuple():
            return [_declared(each) for each in value]
    if not is_dataclass(value) or isinstance(value, type):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    said = {f.name: _declared(getattr(value, f.name)) for f in fields(value) if f.compare}
    default = {f.name: _declared(f.default) for f in fields(value) if f.default is not MISSING}
    return {"is": type(value).__qualname__} | {
        name: each for name, each in said.items() if name not in default or each != default[name]
    }
