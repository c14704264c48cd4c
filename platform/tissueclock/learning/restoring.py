"""Learning to restore distorted hemispheres: the self-supervised task of Models Genesis, judged by what is restored.

References:
    Zhou et al. 2019, Models Genesis, doi:10.1007/978-3-030-32251-9_42.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from tissueclock.cohort.distortion import FULL_SCALE, distort, to_unit
from tissueclock.learning.learner import Conditions, DivergedError, Learner
from tissueclock.learning.precision import autocast
from tissueclock.learning.samples import HemisphereReader, even_batches, read_batches
from tissueclock.networks.settings import Precision
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed

_VALIDATION_BATCH = 4
"""Fixed, as the distortions of a batch are drawn together: validation is then the same for every trial and epoch."""

_VALIDATION_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Volumes:
    """One split's hemispheres, without labels.

    Attributes:
        view: Gives the hemispheres.
        rows: Their rows in the view.
    """

    view: HemisphereReader
    rows: Int64[ndarray, " sample"]


class Restorer(Learner):
    """Learns to give hemispheres back from what is left of them.

    Args:
        network: Maps volumes to volumes in (0, 1); learns in place.
        train: What it learns from.
        validation: What epochs are judged by.
        hyperparameters: See `Learner`.
        conditions: See `Learner`.

    Raises:
        HyperparameterError: A hyperparameter is unknown or out of range.
    """

    objective = "val_restored"

    def __init__(
        self,
        *,
        network: StagedNetwork,
        train: Volumes,
        validation: Volumes,
        hyperparameters: Mapping[str, Any],
        conditions: Conditions,
    ) -> None:
        super().__init__(
            network=network, n_train=len(train.rows), hyperparameters=hyperparameters, conditions=conditions
        )
        self._train, self._validation = train, validation

    def _train_epoch(self, i_epoch: int) -> float:
        rng = np.random.default_rng(derive_seed(self._seed, "order", i_epoch))
        rows = rng.permutation(self._train.rows)
        batches = even_batches(rows, batch_size=self.hyperparameters.batch_size)
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._seed, "distortion", i_epoch))
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        self.network.train()
        for i_batch, image in enumerate(read_batches(self._train.view, batches, device=self._device)):
            target = to_unit(image)
            distorted = distort(target, generator=generator)
            self._set_rates(i_epoch * len(batches) + i_batch)
            self._optimiser.zero_grad(set_to_none=True)
            loss = functional.mse_loss(restore(self.network, distorted, precision=self._precision), target)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            total += loss.detach() * len(image)
        return float(total) / len(rows)

    def _validate(self) -> dict[str, float]:
        """`val_loss` (mean squared error) and `val_restored`; see `measure_restoration`."""
        metrics = measure_restoration(self.network, self._validation, device=self._device, precision=self._precision)
        if not np.isfinite(metrics["loss"]):
            raise DivergedError(f"epoch {self.epoch + 1}: a restored validation volume is not finite")
        return {f"val_{name}": value for name, value in metrics.items()}


def restore(network: StagedNetwork, distorted: Tensor, *, precision: Precision) -> Tensor:
    """The restored volumes, in (0, 1); the network reads the units that all phases' networks read."""
    with autocast(precision, device=distorted.device):
        restored: Tensor = network(distorted * FULL_SCALE)
    return restored


def measure_restoration(
    network: StagedNetwork, volumes: Volumes, *, device: torch.device, precision: Precision = "auto"
) -> dict[str, float]:
    """How much of what distortion destroyed a network gives back.

    The distortions are the same at every call; the network's mode is left as it was.

    Returns:
        `loss`, the mean squared error of restored volumes in 0 to 1, and `restored`, 1 - that error over the distorted
        volumes' own: 1 is all, 0 is nothing gained, below 0 is harm.
    """
    generator = torch.Generator(device).manual_seed(_VALIDATION_SEED)
    left, lost = 0.0, 0.0
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            batches = even_batches(volumes.rows, batch_size=_VALIDATION_BATCH)
            for image in read_batches(volumes.view, batches, device=device):
                target = to_unit(image)
                distorted = distort(target, generator=generator)
                restored = restore(network, distorted, precision=precision)
                left += float(functional.mse_loss(restored, target)) * len(image)
                lost += float(functional.mse_loss(distorted, target)) * len(image)
    finally:
        network.train(was_training)
    return {"loss": left / len(volumes.rows), "restored": 1.0 - left / lost}
