import pytest
import torch

from tissueclock.learning.freezing import freeze
from tissueclock.learning.hyperparameters import HyperparameterError
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.networks.trunk import STAGES


def build(**options) -> SliceNetwork:
    return SliceNetwork(**{"n_slices": 4, "width": 4, **options})


def stage_of(name: str) -> str:
    part = name.removeprefix("trunk.").split(".")[0]
    return "stem" if part in ("conv1", "bn1") else part


@pytest.mark.parametrize("depth", range(6))
def test_depth_counts_stages_from_the_input(depth):
    network = build()
    learned = freeze(network, depth=depth)
    stages = {stage_of(name) for name in learned if name.startswith("trunk.")}
    assert stages == set(STAGES[depth:])
    assert {name for name in learned if not name.startswith("trunk.")} == {
        "head.weight",
        "head.bias",
        "slice_pooling.theta",
    }


@pytest.mark.parametrize(
    ("learned", "parts"),
    [
        ("gates", {"gate", "attention_head"}),
        ("gates+slices", {"gate", "attention_head", "slice_pooling"}),
        ("gates+slices+head", {"gate", "attention_head", "slice_pooling", "head"}),
    ],
)
def test_the_attention_phase_learns_the_named_parts_alone(learned, parts):
    names = freeze(build(attention="mean_flow"), depth=0, learned=learned)
    assert {name.split(".")[0] for name in names} == parts


@pytest.mark.parametrize("depth", [0, 2, 5])
def test_frozen_stages_keep_parameters_and_statistics_to_the_bit(make_learner, depth):
    learner = make_learner(freeze_depth=depth, weight_decay=1e-2)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    for _ in range(2):
        learner.run_epoch()
    changed = {name for name, tensor in learner.network.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen = [name for name in before if name.startswith("trunk.") and stage_of(name) in STAGES[:depth]]
    assert not changed & set(frozen)
    assert {stage_of(name) for name in changed if name.startswith("trunk.")} == set(STAGES[depth:])


def test_gates_learn_while_everything_else_stands_still_to_the_bit(make_learner):
    learner = make_learner(learned="gates", network={"attention": "mean_flow"})
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    learner.run_epoch()
    changed = {name for name, tensor in learner.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"gate", "attention_head"}


def test_frozen_norms_stay_in_evaluation_mode():
    network = build()
    freeze(network, depth=2)
    network.train()
    modes = {stage_of(name): module.training for name, module in network.named_modules() if "bn" in name}
    assert modes == {"stem": False, "layer1": False, "layer2": True, "layer3": True, "layer4": True}
    network.eval()
    assert not any(module.training for module in network.modules())


def test_the_frozen_prefix_builds_no_graph():
    network = build()
    freeze(network, depth=3)
    network.train()
    x = torch.rand(2, 3, 64, 32)
    needs = []
    for i_stage in range(len(STAGES)):
        x = network.trunk.run_stage(i_stage, network.trunk.enter_stage(i_stage, x))
        needs.append(x.requires_grad)
    assert needs == [False, False, False, True, True]


def test_thawing_again_undoes_freezing():
    network = build(attention="softmax")
    freeze(network, depth=5)
    names = freeze(network, depth=0)
    assert set(names) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 6}, "freeze_depth: 6, but the network has 5 stages"),
        ({"depth": 0, "learned": "gates+slices"}, "computes no gates .attention is off."),
    ],
)
def test_what_cannot_be_frozen_is_said(options, message):
    with pytest.raises(HyperparameterError, match=message):
        freeze(build(), **options)
