"""Several learners of one configuration in step: judged by their mean, kept and taken up together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tissueclock.errors import CheckpointError
from tissueclock.learning.checkpoint import read_checkpoint
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.replicas import Replicas
from tissueclock.weights.tensors import replica_tensors

MakeLearner = Callable[..., Classifier]


def make_replicas(make_learner: MakeLearner, *, n: int = 2, n_seeds: int = 1, epochs: int = 4) -> Replicas:
    learners = [make_learner(seed=seed, epochs=epochs, lr=0.01) for seed in range(3, 3 + n)]
    return Replicas(learners, n_seeds=n_seeds, epochs=epochs, patience=10, seed=11)


def test_taken_up_again_they_go_on_as_if_never_interrupted(make_learner: MakeLearner, folder: Path) -> None:
    whole = make_replicas(make_learner)
    wanted = [whole.run_epoch()["val_loss"] for _ in range(3)]
    cut = make_replicas(make_learner)
    cut.run_epoch()
    cut.save(folder, inputs="i")

    again = make_replicas(make_learner)
    again.restore(folder, belongs_to={"inputs": "i", "seed": 11})

    assert [again.run_epoch()["val_loss"] for _ in range(2)] == wanted[1:]


def test_an_epoch_is_the_mean_of_the_folds_and_its_error_is_said(make_learner: MakeLearner) -> None:
    replicas = make_replicas(make_learner, n=4, n_seeds=2)
    metrics = replicas.run_epoch()
    alone = [make_learner(seed=seed, lr=0.01).run_epoch()["val_auc"] for seed in range(3, 7)]

    folds = [np.mean(alone[:2]), np.mean(alone[2:])]
    assert [metrics["val_auc_fold1"], metrics["val_auc_fold2"]] == pytest.approx(folds)
    assert metrics["val_auc"] == metrics["best_value"] == pytest.approx(np.mean(folds))
    assert metrics["val_auc_se"] == pytest.approx(np.std(folds, ddof=1) / np.sqrt(2))


def test_the_best_epoch_is_that_of_the_mean_and_the_same_for_all(make_learner: MakeLearner, folder: Path) -> None:
    replicas = make_replicas(make_learner, epochs=5)
    states, means = [], []
    while not replicas.finished:
        means.append(replicas.run_epoch()["val_auc"])
        states.append([{n: t.clone() for n, t in one.network.state_dict().items()} for one in replicas.learners])
    replicas.save(folder)

    best = read_checkpoint(folder).best_weights()
    for i, state in enumerate(states[int(np.argmax(means))]):
        kept = replica_tensors(best, i)
        assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())


def test_another_number_of_replicas_is_refused(make_learner: MakeLearner, folder: Path) -> None:
    make_replicas(make_learner).save(folder)
    with pytest.raises(CheckpointError, match="2 replicas found; this trial has 3"):
        make_replicas(make_learner, n=3).restore(folder)
