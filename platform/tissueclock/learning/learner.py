"""What every kind of learning shares: a network, its optimiser, and an epoch of it.

All chance is derived from the seed and the epoch's number, so no random state needs to be kept.
"""

import abc
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tissueclock.errors import TissueclockError
from tissueclock.learning.course import Course, LearningState
from tissueclock.learning.freezing import freeze
from tissueclock.learning.hyperparameters import Hyperparameters
from tissueclock.learning.optimiser import build_optimiser, learning_rate_bounds
from tissueclock.learning.optimiser_state import restore_state, state_as_facts
from tissueclock.learning.schedule import rate_factor
from tissueclock.networks.settings import Precision
from tissueclock.networks.staged import StagedNetwork
from tissueclock.weights.fitting import load_weights


class DivergedError(TissueclockError, ArithmeticError):
    """The loss is no finite number any more."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions a network learns, whatever it learns.

    Attributes:
        epochs: Most epochs to run, at least 1.
        patience: Epochs without a better one after which to stop, at least 1.
        seed: Of the order of samples, augmentation or distortion, and dropout.
        device: Where the network runs.
        precision: In which number format.
        smooth: Epochs that the objective is averaged over before it judges one, at least 1.
    """

    epochs: int
    patience: int
    seed: int
    device: torch.device
    precision: Precision = "auto"
    smooth: int = 1


class Learner(Course):
    """One network, one task, one configuration: learns an epoch at a time.

    Args:
        network: Learns in place; it is moved to the device.
        n_train: Samples that it learns from, at least 1.
        hyperparameters: Names and values of `Hyperparameters`; what is left out has its default.
        conditions: Epochs, patience, seed, device, precision.

    Attributes:
        network: The network, as of the last epoch.
        hyperparameters: The whole configuration.
        learned: The names of the parameters that learn.

    Raises:
        HyperparameterError: A hyperparameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        network: StagedNetwork,
        n_train: int,
        hyperparameters: Mapping[str, Any],
        conditions: Conditions,
    ) -> None:
        super().__init__(
            epochs=conditions.epochs,
            patience=conditions.patience,
            objective=self.objective,
            smooth=conditions.smooth,
        )
        self.hyperparameters = Hyperparameters.from_mapping(hyperparameters)
        self.network = network.to(conditions.device)
        self._n_train = n_train
        self._seed, self._device, self._precision = conditions.seed, conditions.device, conditions.precision
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.hyperparameters.dropout
        self.learned = freeze(network, depth=self.hyperparameters.freeze_depth, learned=self.hyperparameters.learned)
        self._optimiser = build_optimiser(network, self.hyperparameters)
        self._lrs = [float(group["lr"]) for group in self._optimiser.param_groups]
        self._best_weights = _copy(network)

    @abc.abstractmethod
    def _train_epoch(self, i_epoch: int) -> float:
        """Trains on every sample once; the mean loss over them."""

    @abc.abstractmethod
    def _validate(self) -> dict[str, float]:
        """The epoch's validation metrics, `val_loss` and the objective among them.

        Raises:
            DivergedError: An output is not finite.
        """

    def learn_epoch(self) -> dict[str, float]:
        """Trains one epoch and validates, and judges nothing.

        Returns:
            Finite numbers: `epoch` (from 1), `train_loss` (while learning: augmented, weighted), `val_loss` and the
            other validation metrics of the task, `lr`, `lr_lower` and `lr_upper` (between what AdaBound's rates lie),
            `grad_norm` (of the last step), `n_steps` (so far), `train_samples_per_s` and `epoch_s`.

        Raises:
            DivergedError: A loss or an output is not finite.
        """
        started = time.perf_counter()
        train_loss = self._train_epoch(self.epoch)
        grad_norm = float(self._grad_norm())
        trained_s = time.perf_counter() - started
        if not (math.isfinite(train_loss) and math.isfinite(grad_norm)):
            raise DivergedError(f"epoch {self.epoch + 1}: the loss is {train_loss} and the gradient's norm {grad_norm}")
        validation = self._validate()
        self.epoch += 1
        lower, upper = learning_rate_bounds(self._optimiser, step=self._n_steps)
        return {
            "epoch": float(self.epoch),
            "train_loss": train_loss,
            **validation,
            "lr": float(self._optimiser.param_groups[0]["lr"]),
            "lr_lower": lower,
            "lr_upper": upper,
            "grad_norm": grad_norm,
            "n_steps": float(self._n_steps),
            "train_samples_per_s": self._n_train / trained_s,
            "epoch_s": time.perf_counter() - started,
        }

    def keep(self) -> None:
        """Keeps the weights as those of the best epoch."""
        self._best_weights = _copy(self.network)

    def state(self) -> LearningState:
        """What `load` goes on from."""
        tensors, facts = state_as_facts(self._optimiser, self.network)
        return LearningState(
            weights=self.network.state_dict(),
            best=self._best_weights,
            optimiser=tensors,
            facts={
                "epoch": self.epoch,
                "seed": self._seed,
                "network": self.network.description,
                "hyperparameters": self.hyperparameters.as_facts(),
                "optimiser": facts,
            },
        )

    def load(self, state: LearningState) -> None:
        """Goes on from a state; rates and decays stay those of this learner.

        Raises:
            CheckpointError: It is of another network or of other parameters.
        """
        optimiser_facts = {name: state.facts["optimiser"][name] for name in ("kind", "numbers", "params")}
        load_weights(self.network, state.weights, source="checkpoint")
        restore_state(self._optimiser, self.network, tensors=state.optimiser, facts=optimiser_facts)
        self._best_weights = {name: tensor.to(self._device) for name, tensor in state.best.items()}
        self.epoch = int(state.facts["epoch"])

    def _set_rates(self, i_step: int) -> None:
        """Sets the learning rates of step `i_step`, counted from 0 over all epochs."""
        factor = rate_factor(
            self.hyperparameters.schedule, i_step=i_step, n_steps=self._epochs * self._batches_per_epoch
        )
        for group, lr in zip(self._optimiser.param_groups, self._lrs, strict=True):
            group["lr"] = lr * factor

    @property
    def _batches_per_epoch(self) -> int:
        return -(-self._n_train // self.hyperparameters.batch_size)

    @property
    def _n_steps(self) -> int:
        return self.epoch * self._batches_per_epoch

    def _grad_norm(self) -> Tensor:
        """Of the last step."""
        return torch.nn.utils.get_total_norm(
            [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        )


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
