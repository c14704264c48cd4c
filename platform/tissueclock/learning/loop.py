"""The loop: an epoch of training, validation, and a checkpoint from which it goes on as if it had never stopped.

All chance is derived from the seed and the epoch's number, so no random state needs to be kept. Refuses to know Ray,
MLflow, phases, and where first weights come from.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.cohort.augmentation import augment
from tissueclock.errors import CheckpointError, TissueclockError
from tissueclock.learning.checkpoint import read_checkpoint, write_checkpoint
from tissueclock.learning.early_stopping import EarlyStopping
from tissueclock.learning.freezing import freeze
from tissueclock.learning.hyperparameters import Hyperparameters
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.optimiser import build_optimiser, learning_rate_bounds
from tissueclock.learning.optimiser_state import restore_state, state_as_facts
from tissueclock.learning.precision import Precision, autocast
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import Samples, even_batches, read_batches
from tissueclock.networks.first_weights import load_weights
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed

_VALIDATION_BATCHES = 2
"""Validation keeps nothing for a backward pass: this many training batches fit at a time."""


class DivergedError(TissueclockError, ArithmeticError):
    """The loss is no finite number any more."""


class Learner:
    """One network, one task, one configuration: learns an epoch at a time.

    Args:
        network: Learns in place; it is moved to `device`.
        train: What it learns from.
        validation: What epochs are judged by, and thresholds chosen on.
        hyperparameters: Names and values of `Hyperparameters`; what is left out has its default.
        epochs: Most epochs to run, at least 1.
        patience: Epochs without a better one after which to stop, at least 1.
        seed: Of the order of samples, augmentation and dropout.
        device: Where the network runs.
        precision: In which number format.

    Attributes:
        network: The network, as of the last epoch.
        hyperparameters: The whole configuration.
        epoch: Epochs run.

    Raises:
        HyperparameterError: A hyperparameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        network: StagedNetwork,
        train: Samples,
        validation: Samples,
        hyperparameters: Mapping[str, Any],
        epochs: int,
        patience: int,
        seed: int,
        device: torch.device,
        precision: Precision = "auto",
    ) -> None:
        self.hyperparameters = Hyperparameters.from_mapping(hyperparameters)
        self.network = network.to(device)
        self.epoch = 0
        self._train, self._validation = train, validation
        self._epochs, self._seed, self._device, self._precision = epochs, seed, device, precision
        self._stopping = EarlyStopping(patience=patience)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.hyperparameters.dropout
        self.learned = freeze(network, depth=self.hyperparameters.freeze_depth, learned=self.hyperparameters.learned)
        self._optimiser = build_optimiser(network, self.hyperparameters)
        self._pos_weight = _pos_weight(train, device=device) if self.hyperparameters.pos_weight == "balanced" else None
        self._best_weights = _copy(network)

    @property
    def finished(self) -> bool:
        """Whether all epochs were run, or patience is at an end."""
        return self.epoch >= self._epochs or self._stopping.exhausted

    @property
    def best_metrics(self) -> dict[str, float]:
        """All metrics of the best epoch so far; empty before the first."""
        return dict(self._stopping.best)

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch and validates.

        Returns:
            Finite numbers: `epoch` (from 1), `train_loss` (while learning, augmented, weighted), `val_loss`, `val_auc`,
            `val_auprc`, `val_sensitivity`, `val_specificity`, `val_accuracy`, `val_youden`, `threshold` (a logit,
            chosen on validation), `best_val_auc`, `best_epoch`, `epochs_since_best`, `lr`, `lr_lower` and `lr_upper`
            (between what AdaBound's rates lie), `grad_norm` (of the last step), `n_steps` (so far),
            `train_samples_per_s` and `epoch_s`.

        Raises:
            DivergedError: A loss or a logit is not finite.
        """
        started = time.perf_counter()
        train_loss, grad_norm = self._train_epoch(self.epoch)
        trained_s = time.perf_counter() - started
        if not (math.isfinite(train_loss) and math.isfinite(grad_norm)):
            raise DivergedError(f"epoch {self.epoch + 1}: the loss is {train_loss} and the gradient's norm {grad_norm}")
        logits = self.validation_logits()
        if not np.isfinite(logits).all():
            raise DivergedError(f"epoch {self.epoch + 1}: a validation logit is not finite")
        self.epoch += 1
        lower, upper = learning_rate_bounds(self._optimiser, step=self._n_steps)
        metrics = {
            "epoch": float(self.epoch),
            "train_loss": train_loss,
            **self._judge(logits),
            "lr": float(self._optimiser.param_groups[0]["lr"]),
            "lr_lower": lower,
            "lr_upper": upper,
            "grad_norm": grad_norm,
            "n_steps": float(self._n_steps),
            "train_samples_per_s": len(self._train) / trained_s,
        }
        if self._stopping.observe(metrics):
            self._best_weights = _copy(self.network)
        metrics |= {
            "best_val_auc": self._stopping.best["val_auc"],
            "best_epoch": self._stopping.best["epoch"],
            "epochs_since_best": float(self._stopping.n_since),
            "epoch_s": time.perf_counter() - started,
        }
        return metrics

    def validation_logits(self) -> Float32[ndarray, " sample"]:
        """The logits of the validation samples, in their order, as of the last epoch."""
        return predict_logits(
            self.network,
            self._validation.view,
            self._validation.rows,
            device=self._device,
            precision=self._precision,
            batch_size=_VALIDATION_BATCHES * self.hyperparameters.batch_size,
        )

    def save(self, folder: Path) -> None:
        """Writes a checkpoint of the last epoch, with the best epoch's weights beside it.

        Raises:
            StorageError: The folder cannot be written, or the disk is full.
        """
        tensors, facts = state_as_facts(self._optimiser, self.network)
        write_checkpoint(
            folder,
            weights=self.network.state_dict(),
            best=self._best_weights,
            optimiser=tensors,
            facts={
                "epoch": self.epoch,
                "seed": self._seed,
                "network": self.network.description,
                "hyperparameters": self.hyperparameters.as_facts(),
                "optimiser": facts,
                "stopping": self._stopping.as_facts(),
            },
        )

    def restore(self, folder: Path) -> None:
        """Goes on from a checkpoint of a learner with the same network and the same learning parameters.

        Seed and hyperparameters stay this learner's own, so rates may differ from those of the checkpoint.

        Raises:
            CheckpointError: The checkpoint is damaged, or of another network or other parameters.
        """
        checkpoint = read_checkpoint(folder)
        facts = checkpoint.facts
        try:
            epoch, stopping = int(facts["epoch"]), facts["stopping"]
            stopping = EarlyStopping.from_facts(stopping, patience=self._stopping.patience)
            optimiser_facts = {name: facts["optimiser"][name] for name in ("kind", "numbers", "params")}
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder}: facts.json lacks or misspells {error}") from error
        load_weights(self.network, checkpoint.weights(), source=str(folder))
        restore_state(self._optimiser, self.network, tensors=checkpoint.optimiser(), facts=optimiser_facts)
        self._best_weights = {name: tensor.to(self._device) for name, tensor in checkpoint.best_weights().items()}
        self._stopping, self.epoch = stopping, epoch

    @property
    def _batches_per_epoch(self) -> int:
        return -(-len(self._train) // self.hyperparameters.batch_size)

    @property
    def _n_steps(self) -> int:
        return self.epoch * self._batches_per_epoch

    def _train_epoch(self, i_epoch: int) -> tuple[float, float]:
        """Mean loss over the samples, and the norm of the last step's gradient."""
        order = np.random.default_rng(derive_seed(self._seed, "order", i_epoch)).permutation(len(self._train))
        batches = even_batches(order, batch_size=self.hyperparameters.batch_size)
        labels = torch.as_tensor(self._train.labels[order], dtype=torch.float32, device=self._device)
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._seed, "augmentation", i_epoch))
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        self.network.train()
        with torch.random.fork_rng(devices=_cuda_devices(self._device)):
            torch.manual_seed(derive_seed(self._seed, "dropout", i_epoch))
            images = read_batches(self._train.view, [self._train.rows[batch] for batch in batches], device=self._device)
            i_first = 0
            for image in images:
                label = labels[i_first : i_first + len(image)]
                i_first += len(image)
                changed = augment(image, strength=self.hyperparameters.augmentation, generator=generator)
                total += self._step(changed, label) * len(label)
        grad_norm = torch.nn.utils.get_total_norm(
            [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        )
        return float(total) / len(self._train), float(grad_norm)

    def _step(self, image: Tensor, label: Tensor) -> Tensor:
        self._optimiser.zero_grad(set_to_none=True)
        with autocast(self._precision, device=self._device):
            logit = self.network(image)
        loss = functional.binary_cross_entropy_with_logits(logit.float(), label, pos_weight=self._pos_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.detach()

    def _judge(self, logits: Float32[ndarray, " sample"]) -> dict[str, float]:
        """Loss (unweighted, by sample) and metrics (by group, where there are groups) on validation."""
        labels = torch.as_tensor(self._validation.labels, dtype=torch.float32)
        loss = functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), labels)
        metrics = classification_metrics(self._validation.labels, logits, groups=self._validation.groups)
        shown = ("auc", "auprc", "sensitivity", "specificity", "accuracy", "youden")
        return {
            "val_loss": float(loss),
            **{f"val_{name}": metrics[name] for name in shown},
            "threshold": metrics["threshold"],
        }


def _pos_weight(train: Samples, *, device: torch.device) -> Tensor:
    n_positive = float(train.labels.sum())
    return torch.tensor((len(train) - n_positive) / n_positive, dtype=torch.float32, device=device)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
