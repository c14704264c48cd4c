"""Learning to restore: what the objective means, and that a checkpoint goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.learning.conftest import FakeView
from tissueclock.cohort.distortion import FULL_SCALE, distort, to_unit
from tissueclock.learning.learner import Conditions
from tissueclock.learning.restoring import Restorer, Volumes, measure_restoration
from tissueclock.networks.restoration_network import RestorationNetwork


class Untouched(RestorationNetwork):
    """Gives back what it got, in the range of restored volumes."""

    def forward(self, x: Tensor) -> Tensor:
        return x / FULL_SCALE


@pytest.fixture
def volumes(fake_view: FakeView) -> tuple[Volumes, Volumes]:
    return Volumes(fake_view, np.arange(40)), Volumes(fake_view, np.arange(40, 60))


def make(volumes: tuple[Volumes, Volumes], **hyperparameters: object) -> Restorer:
    network = RestorationNetwork(n_slices=4, width=4)
    network.reset_parameters(torch.Generator().manual_seed(1))
    return Restorer(
        network=network,
        train=volumes[0],
        validation=volumes[1],
        hyperparameters={"batch_size": 8, "lr": 3e-3, "optimiser": "adamw", **hyperparameters},
        conditions=Conditions(epochs=5, patience=5, seed=2, device=torch.device("cpu")),
    )


def test_who_gives_back_what_he_got_has_restored_nothing(volumes: tuple[Volumes, Volumes]) -> None:
    measured = measure_restoration(Untouched(n_slices=4, width=4), volumes[1], device=torch.device("cpu"))

    assert measured["restored"] == pytest.approx(0.0, abs=1e-6)


def test_the_loss_is_the_squared_error_in_units_of_the_full_scale(volumes: tuple[Volumes, Volumes]) -> None:
    one_batch = Volumes(volumes[1].view, volumes[1].rows[:4])
    target = to_unit(one_batch.view.read(one_batch.rows).float())
    expected = (distort(target, generator=torch.Generator().manual_seed(0)) - target).square().mean()

    measured = measure_restoration(Untouched(n_slices=4, width=4), one_batch, device=torch.device("cpu"))

    assert measured["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_restoring_is_learned(volumes: tuple[Volumes, Volumes]) -> None:
    learner = make(volumes)

    first, *_, last = [learner.run_epoch() for _ in range(5)]

    assert last["val_restored"] > max(0.0, first["val_restored"])
    assert last["best_value"] == pytest.approx(max(first["val_restored"], last["val_restored"]), abs=0.2)


def test_a_restored_restorer_goes_on_as_if_never_stopped(volumes: tuple[Volumes, Volumes], tmp_path: Path) -> None:
    whole = make(volumes)
    losses = [whole.run_epoch()["val_loss"] for _ in range(3)]
    cut = make(volumes)
    cut.run_epoch()
    cut.save(tmp_path / "checkpoint")

    again = make(volumes)
    again.restore(tmp_path / "checkpoint")

    assert [again.run_epoch()["val_loss"] for _ in range(2)] == losses[1:]
