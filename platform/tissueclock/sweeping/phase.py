"""A phase as a sweep runs it: its trainable, and the space that its hyperparameters are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


@dataclass(frozen=True, slots=True)
class SweptPhase:
    """A phase and its space.

    Attributes:
        trainable: The Ray Tune class trainable.
        space: Ray Tune domains by hyperparameter.
    """

    trainable: type[PhaseTrainable]
    space: Mapping[str, Any]

    @property
    def phase(self) -> Phase:
        """What is learned."""
        return self.trainable.phase
