"""A phase as a sweep runs it: its trainable, and the space that its hyperparameters are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


@dataclass(frozen=True, slots=True)
class SweptPhase:
    """A phase and its space.

    Attributes:
        trainable: The Ray Tune class trainable.
        space: Ray Tune domains by hyperparameter.
        facts: What it declares and its code, as JSON facts; digested into its sweeps' names.
        as_in_0_1: Whether it asks what it asked in 0.1, so that its sweeps keep the names that 0.1 gave.
    """

    trainable: type[PhaseTrainable]
    space: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    as_in_0_1: bool = False

    @property
    def phase(self) -> Phase:
        """What is learned."""
        return self.trainable.phase
