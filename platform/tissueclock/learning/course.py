"""A course of epochs: judged one by one, ended by patience, kept in checkpoints from which it goes on unchanged."""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from tissueclock.errors import CheckpointError, TissueclockError
from tissueclock.learning.checkpoint import read_checkpoint, write_checkpoint
from tissueclock.learning.early_stopping import EarlyStopping


class ForeignCheckpointError(TissueclockError, PermissionError):
    """A trial was about to go on from another trial's checkpoint."""


class MetricError(TissueclockError, ValueError):
    """A phase gave a metric that is no finite number, so that epochs cannot be compared."""


@dataclass(frozen=True, slots=True)
class LearningState:
    """All that it takes to go on learning, but for what early stopping has seen.

    Attributes:
        weights: After the last epoch.
        best: After the best one.
        optimiser: The tensors of the optimiser's state.
        facts: JSON facts: epoch, seed, network, hyperparameters, the rest of the optimiser's state.
    """

    weights: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Course(abc.ABC):
    """What learns an epoch at a time, whoever learns: one network, or several in step.

    Args:
        epochs: Most epochs to run, at least 1.
        patience: Epochs without a better one after which to stop, at least 1.
        smooth: Epochs that the objective is averaged over before it judges one; see `EarlyStopping`.

    Attributes:
        objective: The validation metric by which epochs are judged; larger is better.
        epoch: Epochs run.
    """

    objective: ClassVar[str]

    def __init__(self, *, epochs: int, patience: int, objective: str, smooth: int = 1) -> None:
        self.epoch = 0
        self._epochs = epochs
        self._stopping = EarlyStopping(patience=patience, objective=objective, smooth=smooth)

    @abc.abstractmethod
    def learn_epoch(self) -> dict[str, float]:
        """Trains one epoch and validates, and judges nothing."""

    @classmethod
    def pooled(cls, learners: "Sequence[Course]") -> dict[str, float]:  # noqa: ARG003 (a task may have something to say)
        """What the validation of several learners of one task says together, after an epoch of each; here nothing."""
        return {}

    @abc.abstractmethod
    def keep(self) -> None:
        """Keeps the weights as those of the best epoch."""

    @abc.abstractmethod
    def state(self) -> LearningState:
        """What `load` goes on from."""

    @abc.abstractmethod
    def load(self, state: LearningState) -> None:
        """Goes on from a state.

        Raises:
            CheckpointError: It is of another network or of other parameters.
        """

    @property
    def finished(self) -> bool:
        """Whether all epochs were run, or patience is at an end."""
        return self.epoch >= self._epochs or self._stopping.exhausted

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch, validates, and keeps the weights if no epoch was better.

        Returns:
            What `learn_epoch` gives, with `best_value` (of the objective so far), `best_epoch` and `epochs_since_best`.

        Raises:
            DivergedError: A loss or an output is not finite.
            MetricError: A metric is no finite number.
        """
        metrics = self.learn_epoch()
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise MetricError(f"epoch {self.epoch}: metric {name} is {value!r}; allowed: a finite number")
        if self._stopping.observe(metrics):
            self.keep()
        return {**metrics, **self._stopping.report()}

    def save(self, folder: Path, *, inputs: str | None = None) -> None:
        """Writes a checkpoint of the last epoch, with the best epoch's weights beside it.

        Args:
            folder: Made where it is missing.
            inputs: Digest of all that was learned from, kept so that nobody else goes on from here.

        Raises:
            StorageError: The folder cannot be written, or the disk is full.
        """
        state = self.state()
        own = {} if inputs is None else {"inputs": inputs}
        write_checkpoint(
            folder,
            weights=state.weights,
            best=state.best,
            optimiser=state.optimiser,
            facts={**state.facts, **own, "stopping": self._stopping.as_facts()},
        )

    def restore(self, folder: Path, *, belongs_to: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Goes on from a checkpoint of a course with the same network and the same learning parameters.

        Seed and hyperparameters stay this course's own.

        Args:
            folder: The checkpoint's.
            belongs_to: Facts that the checkpoint must have been written with, where it has them: `seed`, `inputs`.

        Raises:
            CheckpointError: The checkpoint is damaged, or of another network or other parameters.
            ForeignCheckpointError: It is whole, but of another trial.
        """
        checkpoint = read_checkpoint(folder)
        for name, own in belongs_to.items():
            if (found := checkpoint.facts.get(name, own)) != own:
                raise ForeignCheckpointError(f"{folder}: {name} is {found}, but this trial's is {own}; it is another's")
        try:
            epoch = int(checkpoint.facts["epoch"])
            stopping = self._stopping.from_facts(checkpoint.facts["stopping"])
            state = LearningState(
                weights=checkpoint.weights(),
                best=checkpoint.best_weights(),
                optimiser=checkpoint.optimiser(),
                facts=checkpoint.facts,
            )
            self.load(state)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder}: facts.json lacks or misspells {error}") from error
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        self._stopping, self.epoch = stopping, epoch
