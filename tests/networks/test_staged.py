import copy

import pytest
import torch
from torch import nn

from tissueclock.networks.staged import StagedNetwork


class TwoNorms(StagedNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.plain = nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.BatchNorm1d(2, affine=False)

    @property
    def description(self):
        return {}

    def reset_parameters(self, generator=None):
        pass

    def stages(self):
        return ((self.first,), (self.second,))

    def parts(self):
        return {}

    def frozen_facts(self, depth):
        return {}

    def before(self, x, depth):
        for (norm,) in self.stages()[:depth]:
            x = norm(x)
        return (x,)

    def after(self, maps, depth):
        (x,) = maps
        for (norm,) in self.stages()[depth:]:
            x = norm(x)
        return x


@pytest.fixture
def network() -> TwoNorms:
    network = TwoNorms()
    network.first.requires_grad_(False)
    return network


def test_only_norms_whose_parameters_are_frozen_keep_their_statistics(network):
    network.train()
    assert (network.first.training, network.second.training, network.plain.training) == (False, True, True)


def test_freezing_survives_copying(network):
    assert not copy.deepcopy(network).train().first.training


def test_evaluation_mode_is_for_all(network):
    assert not any(module.training for module in network.eval().modules())


def test_forward_is_before_and_after(network):
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(network(x), network.second(network.first(x)))


def test_the_frozen_state_is_the_first_stages_without_their_count_of_batches(network):
    names = [set(network.frozen_state(depth)) for depth in range(3)]
    of = {
        name: {f"{name}.{tensor}" for tensor in ("weight", "bias", "running_mean", "running_var")}
        for name in ("first", "second")
    }
    assert names == [set(), of["first"], of["first"] | of["second"]]
