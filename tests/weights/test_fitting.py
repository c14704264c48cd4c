import pytest
import torch

from tissueclock.errors import CheckpointError
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.weights.fitting import load_weights


def build(**options) -> SliceNetwork:
    return SliceNetwork(**{"n_slices": 5, "width": 2, **options})


def same(network: SliceNetwork, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_weights_that_fit_are_loaded_whole():
    parent, child = build(), build(attention="softmax")
    report = load_weights(child, parent.state_dict(), source="parent")
    assert same(child, parent.state_dict())
    assert set(report.matched) == set(child.state_dict())
    assert report.missing == report.unexpected == report.reshaped == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("trunk.bn1.weight"), r"^parent.safetensors: .*1 missing \(trunk.bn1.weight\)$"),
        (lambda w: w.update({"fc.weight": torch.ones(2)}), r"1 unexpected \(fc.weight\)$"),
        (lambda w: w.update({"slice_pooling.theta": torch.ones(7)}), r"reshaped \(slice_pooling.theta 7 for 5\)$"),
        (lambda w: w.clear(), r"0 of its \d+ keys match, \d+ missing \(.*, and \d+ more\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(change, message):
    network, weights = build(), dict(build().state_dict())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    change(weights)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(network, weights, source="parent.safetensors")
    assert "\n" not in str(caught.value)
    assert same(network, before)


def test_named_parts_may_differ():
    parent, child = build(slice_pooling="gated_mil"), build()
    report = load_weights(child, parent.state_dict(), source="parent", may_differ=["slice_pooling."])
    assert report.missing == ("slice_pooling.theta",)
    assert all(name.startswith("slice_pooling.") for name in report.unexpected)
    assert torch.equal(child.trunk.conv1.weight, parent.trunk.conv1.weight)


def test_nothing_to_load_is_an_error_even_where_all_may_differ():
    with pytest.raises(CheckpointError, match=r"0 of its .* nothing to load"):
        load_weights(build(), {}, source="parent", may_differ=[""])
