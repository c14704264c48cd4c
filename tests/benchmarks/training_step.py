"""One side by side measurement for `test_training_step.py`; prints a JSON line.

Usage: python -m tests.benchmarks.training_step SLICES HEIGHT WIDTH_VOXELS CHANNELS BATCH N_SAMPLES AUGMENTATION EPOCHS
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tests.benchmarks.measuring import answer, interleaved
from tissueclock.cohort.augmentation import augment
from tissueclock.learning.adabound import AdaBound
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions
from tissueclock.learning.precision import autocast
from tissueclock.learning.samples import Samples, even_batches
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.seeds import derive_seed

SEED = 7
CPU = torch.device("cpu")


class Mapped:
    """Hemispheres in a memory map, as in a cohort."""

    def __init__(self, path: Path) -> None:
        self.hemispheres = torch.from_numpy(np.load(path, mmap_mode="c"))

    def read(self, rows: np.ndarray | Tensor) -> Tensor:
        return self.hemispheres.index_select(0, torch.as_tensor(rows))


def make_network(n_slices: int, channels: int) -> SliceNetwork:
    network = SliceNetwork(n_slices=n_slices, width=channels)
    network.reset_parameters(torch.Generator().manual_seed(SEED))
    return network


class BareLoop:
    """PyTorch as in its tutorial: float32 tensors in memory, indexed by a batch's rows."""

    def __init__(self, network: SliceNetwork, images: Tensor, labels: Tensor, *, batch: int, strength: float) -> None:
        self.network, self.images, self.labels = network.train(), images, labels
        self.batch, self.strength, self.epoch, self.loss = batch, strength, 0, 0.0
        matrices = [p for name, p in network.named_parameters() if p.ndim > 1 and not name.endswith("theta")]
        vectors = [p for name, p in network.named_parameters() if p.ndim == 1 and not name.endswith("theta")]
        positions = [p for name, p in network.named_parameters() if name.endswith("theta")]
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": vectors, "weight_decay": 0.0},
            {"params": positions, "weight_decay": 0.0, "lr": 5e-3, "final_lr": 0.5},
        ]
        self.optimiser = AdaBound(
            groups,
            lr=1e-3,
            final_lr=0.1,
            gamma=1e-3,
            weight_decay=1e-5,
        )

    def run_epoch(self) -> float:
        """Seconds."""
        order = np.random.default_rng(derive_seed(SEED, "order", self.epoch)).permutation(len(self.images))
        batches = [torch.from_numpy(rows) for rows in even_batches(order, batch_size=self.batch)]
        generator = torch.Generator().manual_seed(derive_seed(SEED, "augmentation", self.epoch))
        total = 0.0
        started = time.perf_counter()
        for rows in batches:
            image = augment(self.images[rows], strength=self.strength, generator=generator)
            self.optimiser.zero_grad(set_to_none=True)
            with autocast("auto", device=CPU):
                logit = self.network(image)
            loss = functional.binary_cross_entropy_with_logits(logit.float(), self.labels[rows])
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(rows)
        seconds = time.perf_counter() - started
        self.epoch, self.loss = self.epoch + 1, total / len(self.images)
        return seconds


class OurLoop:
    """The learner; what it says of its training, validation left out."""

    def __init__(self, learner: Classifier, n: int) -> None:
        self.learner, self.n, self.loss = learner, n, 0.0

    def run_epoch(self) -> float:
        """Seconds."""
        metrics = self.learner.run_epoch()
        self.loss = metrics["train_loss"]
        return self.n / metrics["train_samples_per_s"]


def main(shape: tuple[int, int, int], *, channels: int, batch: int, n: int, strength: float, epochs: int) -> None:
    torch.set_num_threads(1)
    hemispheres = np.random.default_rng(SEED).standard_normal((n + 4, 3, *shape), dtype=np.float32).astype(np.float16)
    labels = (np.arange(n + 4) % 2).astype(float)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hemispheres.npy"
        np.save(path, hemispheres)
        view = Mapped(path)
        ours = OurLoop(
            Classifier(
                network=make_network(shape[0], channels),
                train=Samples(view=view, rows=np.arange(n), labels=labels[:n]),
                validation=Samples(view=view, rows=np.arange(n, n + 4), labels=labels[n:]),
                hyperparameters={"batch_size": batch, "augmentation": strength},
                conditions=Conditions(epochs=epochs + 1, patience=epochs + 1, seed=SEED, device=CPU),
            ),
            n,
        )
        bare = BareLoop(
            make_network(shape[0], channels),
            torch.from_numpy(hemispheres[:n]).float(),
            torch.from_numpy(labels[:n]).float(),
            batch=batch,
            strength=strength,
        )
        ours.run_epoch(), bare.run_epoch()
        seconds = interleaved({"bare": bare.run_epoch, "ours": ours.run_epoch}, rounds=epochs)
    steps = -(-n // batch)
    milliseconds = {side: [1e3 * value / steps for value in values] for side, values in seconds.items()}
    answer(milliseconds=milliseconds, losses={"bare": bare.loss, "ours": ours.loss}, steps=steps * epochs)


if __name__ == "__main__":
    *grid, channels, batch, n = map(int, sys.argv[1:7])
    main(
        (grid[0], grid[1], grid[2]),
        channels=channels,
        batch=batch,
        n=n,
        strength=float(sys.argv[7]),
        epochs=int(sys.argv[8]),
    )
