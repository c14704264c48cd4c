import json
import math

import numpy as np
import pytest
import torch

from tissueclock.errors import CheckpointError
from tissueclock.learning.course import MetricError
from tissueclock.learning.hyperparameters import HyperparameterError
from tissueclock.learning.learner import DivergedError


def test_a_tiny_network_learns_an_easy_task(make_learner):
    learner = make_learner(epochs=12, lr=3e-3, final_lr=0.1, dropout=0.1)
    while not learner.finished:
        metrics = learner.run_epoch()
    assert metrics["best_value"] > 0.9
    assert learner.epoch == 12


@pytest.mark.parametrize("optimiser", ["adabound", "amsbound", "sgd", "adamw"])
def test_two_epochs_restored_and_two_more_are_four_epochs_to_the_bit(make_learner, folder, optimiser):
    options = {"optimiser": optimiser, "dropout": 0.3, "network": {"attention": "softmax"}}
    whole, first, second = (make_learner(**options) for _ in range(3))
    wanted = [whole.run_epoch() for _ in range(4)]
    for _ in range(2):
        first.run_epoch()
    first.save(folder)
    second.network.reset_parameters(torch.Generator().manual_seed(99))
    second.restore(folder)
    found = [second.run_epoch() for _ in range(2)]

    timings = {"train_samples_per_s", "epoch_s"}
    for ours, theirs in zip(found, wanted[2:], strict=True):
        assert {k: v for k, v in ours.items() if k not in timings} == {
            k: v for k, v in theirs.items() if k not in timings
        }
    weights = second.network.state_dict()
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_another_seed_is_another_course(make_learner):
    first, second = make_learner(seed=3), make_learner(seed=3)
    second._seed = 4
    assert first.run_epoch()["train_loss"] != second.run_epoch()["train_loss"]


def test_training_leaves_the_global_random_state_alone(make_learner):
    learner = make_learner(dropout=0.5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    learner.run_epoch()
    assert torch.equal(torch.get_rng_state(), before)


def test_metrics_are_finite_json_numbers(make_learner):
    metrics = make_learner().run_epoch()
    assert 15 <= len(metrics) <= 22
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values()), metrics
    json.dumps(metrics, allow_nan=False)


def test_patience_ends_learning_that_does_not_get_better(make_learner):
    learner = make_learner(epochs=50, patience=2, lr=0.0)
    while not learner.finished:
        metrics = learner.run_epoch()
    assert learner.epoch == 3
    assert metrics["best_epoch"] == 1.0


def test_a_checkpoint_holds_the_best_epochs_weights(make_learner, folder):
    from tissueclock.learning.checkpoint import read_checkpoint

    learner = make_learner(epochs=6, lr=1e-2)
    states, aucs = [], []
    while not learner.finished:
        metrics = learner.run_epoch()
        aucs.append(metrics["val_auc"])
        states.append({name: tensor.clone() for name, tensor in learner.network.state_dict().items()})
    learner.save(folder)
    best = read_checkpoint(folder).best_weights()
    i_best = int(metrics["best_epoch"]) - 1
    assert aucs[i_best] == max(aucs)
    assert all(torch.equal(best[name], tensor) for name, tensor in states[i_best].items())


def test_a_loss_that_is_no_number_ends_the_trial_with_a_reason(make_learner):
    learner = make_learner()
    with torch.no_grad():
        learner.network.head.bias.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"epoch 1: the loss is nan"):
        learner.run_epoch()


def test_unknown_hyperparameters_are_named(make_learner):
    with pytest.raises(HyperparameterError, match=r"learning_rate: not a hyperparameter.*lr, final_lr"):
        make_learner(learning_rate=1e-3)


def test_balanced_positive_weight_is_negatives_over_positives(make_learner, samples):
    learner = make_learner(pos_weight="balanced")
    assert float(learner._pos_weight) == pytest.approx(1.0)
    assert make_learner()._pos_weight is None


def test_a_checkpoint_of_another_network_is_refused(make_learner, folder):
    make_learner().save(folder)
    with pytest.raises(
        CheckpointError, match=r"checkpoint: does not fit the network: .* reshaped \(trunk.conv1.weight"
    ):
        make_learner(network={"width": 8}).restore(folder)


def test_a_checkpoint_of_another_optimiser_is_refused(make_learner, folder):
    learner = make_learner(optimiser="sgd")
    learner.run_epoch()
    learner.save(folder)
    with pytest.raises(CheckpointError, match="its state is of SGD, but this is AdaBound"):
        make_learner().restore(folder)


def test_a_restored_learner_keeps_its_own_rates(make_learner, folder):
    parent = make_learner(lr=1e-3)
    parent.run_epoch()
    parent.save(folder)
    child = make_learner(lr=1e-4)
    child.restore(folder)
    assert child.run_epoch()["lr"] == 1e-4
    assert child._optimiser.base_lrs[0] == 1e-4


def test_predicted_logits_do_not_depend_on_the_batch_size(make_learner, samples):
    from tissueclock.learning.prediction import predict_logits

    network = make_learner().network
    one, all_at_once = (
        predict_logits(network, samples[1].view, samples[1].rows, device=torch.device("cpu"), batch_size=size)
        for size in (1, 64)
    )
    np.testing.assert_allclose(one, all_at_once, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), "good", None, True])
def test_a_metric_that_is_no_finite_number_is_named(make_learner, monkeypatch, value):
    learner = make_learner()
    validate = learner._validate
    monkeypatch.setattr(learner, "_validate", lambda: {**validate(), "of_a_lab": value})
    with pytest.raises(MetricError, match=f"epoch 1: metric of_a_lab is {value!r}; allowed: a finite number"):
        learner.run_epoch()
