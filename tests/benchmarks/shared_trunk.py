"""Frozen training with and without a shared trunk, on made-up hemispheres: a process of its own; see the test."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.measuring import answer
from tests.benchmarks.training_step import Mapped
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.frozen_features import Sharing
from tissueclock.learning.learner import Conditions
from tissueclock.learning.samples import Samples
from tissueclock.learning.trunk_store import TrunkStore
from tissueclock.networks.building import build_network

SHAPE, WIDTH = (12, 96, 48), 32
N_TRAIN, N_VALIDATION, N_VIEWS, N_TIMED = 32, 8, 2, 4


def make_learner(kind: str, setting: str, view: Mapped, store: TrunkStore | None) -> Classifier:
    in_attention = setting == "attention"
    network = build_network(
        {"kind": kind, "n_slices": SHAPE[0], "width": WIDTH, "attention": "mean_flow" if in_attention else "off"}
    )
    network.reset_parameters(torch.Generator().manual_seed(0))
    rows = np.arange(N_TRAIN + N_VALIDATION)
    labels = rows % 2
    return Classifier(
        network=network,
        train=Samples(view=view, rows=rows[:N_TRAIN], labels=labels[:N_TRAIN]),
        validation=Samples(view=view, rows=rows[N_TRAIN:], labels=labels[N_TRAIN:]),
        hyperparameters={
            "batch_size": 8,
            "views": N_VIEWS,
            **({"learned": "gates"} if in_attention else {"freeze_depth": int(setting)}),
        },
        conditions=Conditions(epochs=N_VIEWS + N_TIMED, patience=100, seed=0, device=torch.device("cpu")),
        sharing=Sharing(store=store, cohort="made-up", seed=1),
    )


def main(kind: str, setting: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    hemispheres = 1.0 + 0.1 * rng.standard_normal((N_TRAIN + N_VALIDATION, 3, *SHAPE), dtype=np.float32)
    np.save(folder / "hemispheres.npy", hemispheres.astype(np.float16))
    view = Mapped(folder / "hemispheres.npy")
    store = TrunkStore(folder / "trunks", limit_bytes=10**11)
    learners = {name: make_learner(kind, setting, view, each) for name, each in (("alone", None), ("shared", store))}
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    losses = {}
    for i_epoch in range(N_VIEWS + N_TIMED):
        for name, learner in learners.items():
            started = time.perf_counter()
            losses[name] = learner.run_epoch()["train_loss"]
            if i_epoch >= N_VIEWS:
                seconds[name].append(time.perf_counter() - started)
    answer(**seconds, losses=losses, gb=store.used_bytes() / 1e9)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
