"""Learning a yes-or-no question about hemispheres: binary cross-entropy, judged by the validation AUC."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from tissueclock.learning.course import Course
from tissueclock.learning.freezing import frozen_depth
from tissueclock.learning.frozen_features import FrozenFeatures, Sharing
from tissueclock.learning.learner import Conditions, DivergedError, Learner
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.pooling import pool_validation
from tissueclock.learning.precision import autocast
from tissueclock.learning.samples import Samples, even_batches
from tissueclock.learning.shard import Shard
from tissueclock.learning.trunk_store import Maps
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
        hyperparameters: See `Learner`.
        conditions: See `Learner`.
        sharing: How frozen stages are shared with other trials; None: not at all, each epoch augments afresh.
        shard: This process's part, where several train together.

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
        conditions: Conditions,
        sharing: Sharing | None = None,
        shard: Shard = Shard(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(network=network, n_train=len(train), hyperparameters=hyperparameters, conditions=conditions)
        self._train, self._validation, self._shard = train, validation, shard
        self._validated = np.zeros(len(validation), dtype=np.float32)
        self._features = FrozenFeatures(
            network=self.network,
            depth=frozen_depth(network, depth=self.hyperparameters.freeze_depth, learned=self.hyperparameters.learned),
            augmentation=self.hyperparameters.augmentation,
            views=self.hyperparameters.views,
            sharing=sharing,
            device=self._device,
            flair_dropout=self.hyperparameters.flair_dropout,
            precision=self._precision,
        )
        self._pos_weight = (
            _pos_weight(train, device=self._device) if self.hyperparameters.pos_weight == "balanced" else None
        )

    def validation_logits(self) -> Float32[ndarray, " sample"]:
        """The logits of the validation samples, in their order, as of the last epoch."""
        positions = self._shard.of(np.arange(len(self._validation)))
        batches = even_batches(positions, batch_size=_VALIDATION_BATCHES * self.hyperparameters.batch_size)
        self.network.eval()
        with torch.inference_mode():
            mine = torch.cat([self._logit(maps) for maps in self._features.validation(self._validation, batches)])
            logits = torch.zeros(len(self._validation), device=self._device)
            logits[torch.as_tensor(positions)] = mine
            self._shard.total(logits)
        self.network.train()
        return logits.cpu().numpy()

    @classmethod
    def pooled(cls, learners: Sequence[Course]) -> dict[str, float]:
        """See `pool_validation`."""
        return pool_validation(
            [(part._validation, part._validated) for part in learners if isinstance(part, Classifier)]
        )

    def _train_epoch(self, i_epoch: int) -> float:
        order = np.random.default_rng(derive_seed(self._seed, "order", i_epoch)).permutation(len(self._train))
        batches = even_batches(order, batch_size=self.hyperparameters.batch_size)
        mine = [self._shard.of(batch) for batch in batches]
        labels = torch.as_tensor(self._train.labels, dtype=torch.float32, device=self._device)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        self.network.train()
        with torch.random.fork_rng(devices=_cuda_devices(self._device)):
            torch.manual_seed(derive_seed(self._seed, "dropout", i_epoch, *self._own_stream))
            seed = derive_seed(self._seed, "augmentation", i_epoch, *self._own_stream)
            fed = self._features.training(self._train, mine, i_epoch=i_epoch, seed=seed)
            for i_batch, (batch, positions, maps) in enumerate(zip(batches, mine, fed, strict=True)):
                self._set_rates(i_epoch * len(batches) + i_batch)
                total += self._step(maps, labels[torch.as_tensor(positions)], n=len(batch))
        self._shard.share_buffers(self.network)
        return float(self._shard.total(total)) / len(self._train)

    @property
    def _own_stream(self) -> tuple[int, ...]:
        """Names this process's chance, where there are several."""
        return (self._shard.rank,) if self._shard.size > 1 else ()

    def _step(self, maps: Maps, label: Tensor, *, n: int) -> Tensor:
        """One step on this process's part of a batch of `n`; the sum of its losses."""
        self._optimiser.zero_grad(set_to_none=True)
        loss = functional.binary_cross_entropy_with_logits(
            self._logit(maps), label, pos_weight=self._pos_weight, reduction="sum"
        )
        (loss / n).backward()  # type: ignore[no-untyped-call]
        self._shard.sum_gradients(self.network.parameters())
        self._optimiser.step()
        return loss.detach()

    def _logit(self, maps: Maps) -> Tensor:
        with autocast(self._precision, device=self._device):
            return self.network.after(maps, self._features.depth).float()

    def _validate(self) -> dict[str, float]:
        """Loss (unweighted, by sample), metrics (by group, where there are groups), and the `threshold` they choose."""
        self._validated = logits = self.validation_logits()
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
            **self._features.facts(),
        }


def _pos_weight(train: Samples, *, device: torch.device) -> Tensor:
    n_positive = float(train.labels.sum())
    return torch.tensor((len(train) - n_positive) / n_positive, dtype=torch.float32, device=device)


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
