"""A phase as the platform sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from tissueclock.records import EpochBill, SweepJob, SweepSpec


@runtime_checkable
class PhaseType(Protocol):
    """A phase's trainable, a class: what subclasses of `tissueclock.training.trial.Trial` offer the platform.

    Attributes:
        name: The phase's name, its module's too.
        title: What it asks, for tables and figures.
        objective: The validation metric by which trials are ranked; larger is better.
        needs_parent: Whether random first weights make no sense.
        kinds: The kinds of network that can learn it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    objective: ClassVar[str]
    needs_parent: ClassVar[bool]
    kinds: ClassVar[tuple[str, ...]]

    def accepted(self) -> frozenset[str]:
        """The hyperparameters that it understands."""

    def check_fixed(self, fixed: Mapping[str, Any]) -> None:
        """Raises InputError where a pinned value is not one that the phase can learn with."""

    def as_tunable(self, job: SweepJob) -> Any:
        """What Tune is handed for a job."""

    def check_weights(self, spec: SweepSpec, cohort: Path) -> None:
        """Raises InputError where the phase cannot start from the sweep's first weights."""

    def count_classes(self, cohort: Path) -> Mapping[str, tuple[int, int]]:
        """Hemispheres that answer no and yes, by split."""

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs, measured over a few steps, given the values on offer for each hyperparameter."""

    def score_holdout(self, promoted: Sequence[Path], cohort: Path) -> None:
        """Scores promoted checkpoints on the holdout patients, and writes the scores beside them."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase and the space that its hyperparameters are drawn from.

    Attributes:
        trainable: The Ray Tune class trainable.
        space: Ray Tune domains by hyperparameter.
    """

    trainable: PhaseType
    space: Mapping[str, Any]
