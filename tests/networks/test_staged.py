import copy

import pytest
from torch import nn

from tissueclock.networks.staged import StagedNetwork


class TwoNorms(StagedNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.plain = nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.BatchNorm1d(2, affine=False)

    @property
    def description(self):
        return {}

    def stages(self):
        return ((self.first,), (self.second,))

    def parts(self):
        return {}


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
