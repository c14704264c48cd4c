import pytest
import torch

from tissueclock.learning.adabound import AdaBound
from tissueclock.learning.freezing import freeze
from tissueclock.learning.hyperparameters import HyperparameterError, Hyperparameters
from tissueclock.learning.optimiser import build_optimiser, learning_rate_bounds
from tissueclock.networks.slice_network import SliceNetwork


@pytest.fixture
def network() -> SliceNetwork:
    network = SliceNetwork(n_slices=4, width=4)
    freeze(network, depth=0)
    return network


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adabound", AdaBound), ("amsbound", AdaBound), ("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)],
)
def test_every_learning_parameter_is_in_one_group(network, name, kind):
    optimiser = build_optimiser(network, Hyperparameters(optimiser=name))
    assert type(optimiser) is kind
    grouped = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    if kind is AdaBound:
        assert optimiser.param_groups[0]["amsbound"] is (name == "amsbound")


@pytest.mark.parametrize("name", ["adabound", "amsbound", "sgd", "adamw"])
def test_slice_positions_learn_five_times_as_fast_without_decay(network, name):
    optimiser = build_optimiser(network, Hyperparameters(optimiser=name, lr=1e-3, final_lr=0.02, weight_decay=0.1))
    (group,) = [group for group in optimiser.param_groups if group["params"][0] is network.slice_pooling.theta]
    assert group["lr"] == pytest.approx(5e-3)
    assert group["weight_decay"] == 0.0
    assert group.get("final_lr", 0.1) == pytest.approx(0.1)


def test_weights_decay_and_vectors_do_not(network):
    optimiser = build_optimiser(network, Hyperparameters(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert decay[id(network.trunk.conv1.weight)] == 0.1
    assert decay[id(network.head.weight)] == 0.1
    assert decay[id(network.head.bias)] == decay[id(network.trunk.bn1.weight)] == 0.0


def test_hyperparameters_reach_the_optimiser(network):
    given = Hyperparameters(lr=2e-3, final_lr=0.03, gamma=0.01, beta1=0.8, beta2=0.95)
    group = build_optimiser(network, given).param_groups[0]
    assert (group["lr"], group["final_lr"], group["gamma"]) == (2e-3, 0.03, 0.01)
    assert group["betas"] == (0.8, 0.95)
    assert build_optimiser(network, Hyperparameters(optimiser="sgd", beta1=0.7)).param_groups[0]["momentum"] == 0.7


def test_bounds_close_in_on_final_lr(network):
    optimiser = build_optimiser(network, Hyperparameters(final_lr=0.05, gamma=0.01))
    lower, upper = learning_rate_bounds(optimiser, step=340)
    assert (lower, upper) == (pytest.approx(0.05 * 3.4 / 4.4), pytest.approx(0.05 * 4.4 / 3.4))
    assert learning_rate_bounds(build_optimiser(network, Hyperparameters(optimiser="sgd", lr=0.3)), step=9) == (
        0.3,
        0.3,
    )


def test_unbounded_rates_are_still_json_numbers(network):
    optimiser = build_optimiser(network, Hyperparameters(gamma=0.0))
    assert learning_rate_bounds(optimiser, step=5)[1] < float("inf")


def test_nothing_to_learn_is_an_error(network):
    network.requires_grad_(False)
    with pytest.raises(HyperparameterError, match="leaves no parameter"):
        build_optimiser(network, Hyperparameters())
