"""Learning a yes-or-no question about hemispheres: binary cross-entropy, judged by the validation AUC.

Refuses to know Ray, MLflow, phases, and where first weights come from.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from tissueclock.cohort.augmentation import augment
from tissueclock.learning.learner import DivergedError, Learner
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.precision import Precision, autocast
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import Samples, even_batches, read_batches
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed

_VALIDATION_BATCHES = 2
"""Validation keeps nothing for a backward pass: this many training batches fit at a time."""


class Classifier(Learner):
    """Learns labels of hemispheres.

    Args:
        network: Gives one logit a hemisphere; learns in place.
        train: What it learns from.
        validation: What epochs are judged by, and thresholds chosen on.
        hyperparameters: See `Learner`, as what follows.
        epochs: Most epochs to run.
        patience: Epochs without a better one after which to stop.
        seed: Of the order of samples, augmentation and dropout.
        device: Where the network runs.
        precision: In which number format.

    Raises:
        HyperparameterError: A hyperparameter is unknown or out of range.
    """

    objective = "val_auc"

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
        super().__init__(
            network=network,
            n_train=len(train),
            hyperparameters=hyperparameters,
            epochs=epochs,
            patience=patience,
            seed=seed,
            device=device,
            precision=precision,
        )
        self._train, self._validation = train, validation
        self._pos_weight = _pos_weight(train, device=device) if self.hyperparameters.pos_weight == "balanced" else None

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

    def _train_epoch(self, i_epoch: int) -> float:
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
        return float(total) / len(self._train)

    def _step(self, image: Tensor, label: Tensor) -> Tensor:
        self._optimiser.zero_grad(set_to_none=True)
        with autocast(self._precision, device=self._device):
            logit = self.network(image)
        loss = functional.binary_cross_entropy_with_logits(logit.float(), label, pos_weight=self._pos_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.detach()

    def _validate(self) -> dict[str, float]:
        """Loss (unweighted, by sample), metrics (by group, where there are groups), and the `threshold` they choose."""
        logits = self.validation_logits()
        if not np.isfinite(logits).all():
            raise DivergedError(f"epoch {self.epoch + 1}: a validation logit is not finite")
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


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
