"""A made-up cohort: half of the hemispheres hold a bright spot in b1000, anywhere in the brain."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions
from tissueclock.learning.samples import Samples
from tissueclock.networks.building import build_network


@dataclass(frozen=True)
class FakeView:
    """Answers like a cohort's view: float16 hemispheres by row, from a memory map on disk."""

    hemispheres: np.memmap

    def read(self, rows: np.ndarray | Tensor) -> Tensor:
        return torch.from_numpy(self.hemispheres).index_select(0, torch.as_tensor(rows))


@pytest.fixture(scope="session")
def fake_view(tmp_path_factory: pytest.TempPathFactory) -> FakeView:
    rng = np.random.default_rng(7)
    n, n_slices, height, width = 120, 4, 32, 16
    volumes = 1.0 + 0.1 * rng.standard_normal((n, 3, n_slices, height, width))
    for i in range(0, n, 2):
        i_slice, row, column = rng.integers(0, n_slices), rng.integers(6, 20), rng.integers(4, 8)
        volumes[i, 1, i_slice, row : row + 6, column : column + 5] += 1.5
    volumes[..., :3, :] = volumes[..., -3:, :] = 0.0
    volumes[:, :, -1] *= np.arange(n)[:, None, None, None] % 3 != 0  # a third have an empty last slice
    path = tmp_path_factory.mktemp("cohort") / "hemispheres.npy"
    np.save(path, volumes.astype(np.float16))
    return FakeView(np.load(path, mmap_mode="c"))


@pytest.fixture
def samples(fake_view: FakeView) -> tuple[Samples, Samples]:
    """Training and validation samples; even rows are positive."""
    rows = np.arange(120)
    labels = (rows % 2 == 0).astype(np.float64)
    groups = tuple(f"sub-{row // 4:03d}-{row % 2}" for row in rows)
    return (
        Samples(view=fake_view, rows=rows[:80], labels=labels[:80]),
        Samples(view=fake_view, rows=rows[80:], labels=labels[80:], groups=groups[80:]),
    )


@pytest.fixture
def make_learner(samples):
    """Builds a learner on the made-up cohort; its network is the same for the same seed."""

    def make(
        *,
        epochs: int = 4,
        patience: int = 10,
        seed: int = 3,
        network: dict | None = None,
        sharing=None,
        **hyperparameters,
    ):
        net = build_network({"kind": "slice", "n_slices": 4, "width": 4, **(network or {})})
        net.reset_parameters(torch.Generator().manual_seed(seed))
        return Classifier(
            network=net,
            train=samples[0],
            validation=samples[1],
            hyperparameters={"batch_size": 16, **hyperparameters},
            conditions=Conditions(epochs=epochs, patience=patience, seed=seed, device=torch.device("cpu")),
            sharing=sharing,
        )

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"
