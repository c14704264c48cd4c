"""How much of a network's attention lies in the lesion, on the toy cohort, whose lesions are a square."""

import numpy as np
import pytest
import torch

from tests.toy import SHAPE
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.cohort.store import Cohort
from tissueclock.learning.samples import Samples
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.training.attention_share import attention_in_lesion
from tissueclock.training.scoring import samples_of

CPU = torch.device("cpu")


@pytest.fixture
def masks(toy_cohort: Cohort) -> np.ndarray:
    drawn = np.zeros((len(toy_cohort.table), *SHAPE), dtype=bool)
    drawn[[half.lesion for half in toy_cohort.table], 1:3, 10:18, 5:11] = True
    return drawn


@pytest.fixture
def samples(toy_cohort: Cohort) -> Samples:
    view = toy_cohort.holdout_view()
    return samples_of(HoldsLesion(), toy_cohort.table, view, view.rows("holdout"))


def test_even_attention_gives_the_lesion_its_share_of_the_brain(samples: Samples, masks: np.ndarray) -> None:
    network = AttendedNetwork(n_slices=SHAPE[0], cell=1).eval()  # scores start at zero: attention is even
    n_brain = SHAPE[0] * 24 * 14

    share = attention_in_lesion(network, samples, masks, device=CPU)

    assert share == pytest.approx(2 * 8 * 6 / n_brain, rel=1e-4)


def test_attention_that_follows_the_lesion_lies_inside(samples: Samples, masks: np.ndarray) -> None:
    network = AttendedNetwork(n_slices=SHAPE[0], cell=1, inputs=["b1000"], width=4).eval()
    with torch.no_grad():  # the brighter on b1000, the higher the score
        for parameter in network.trunk.parameters():
            parameter.fill_(1.0 if parameter.ndim > 1 else 0.0)
        network.readout.score.weight.fill_(10.0)

    assert attention_in_lesion(network, samples, masks, device=CPU) > 0.95


def test_a_cohort_without_truth_has_no_masks(toy_cohort: Cohort) -> None:
    assert toy_cohort.lesion_masks is None
