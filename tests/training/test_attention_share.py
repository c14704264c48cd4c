"""Where a network looks and what it sees there, on the toy cohort, whose lesions are a square, and on a phantom."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.wrong_places import promoted_folder
from tests.toy import SHAPE
from tissueclock.cohort.pairs import BothHalves, other_halves
from tissueclock.cohort.questions import HoldsLesion, OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.learning.samples import Samples
from tissueclock.networks.attended_network import AttendedNetwork, side_ratios
from tissueclock.phantom.features import measure_lesion
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows
from tissueclock.training.attention_share import look, look_with_all
from tissueclock.training.prediction import predict
from tissueclock.training.scoring import samples_of, score

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

    share = look(network, samples.view, samples.rows, masks=masks, device=CPU)["attention_in_lesion"]

    assert np.isnan(share).tolist() == (samples.labels == 0).tolist(), "without a lesion there is no share in it"
    np.testing.assert_allclose(share[samples.labels == 1], 2 * 8 * 6 / n_brain, rtol=1e-4)


def test_attention_that_follows_the_lesion_lies_inside(samples: Samples, masks: np.ndarray) -> None:
    network = AttendedNetwork(n_slices=SHAPE[0], cell=1, inputs=["b1000"], width=4).eval()
    with torch.no_grad():  # the brighter on b1000, the higher the score
        for parameter in network.trunk.parameters():
            parameter.fill_(1.0 if parameter.ndim > 1 else 0.0)
        network.readout.score.weight.fill_(10.0)

    share = look(network, samples.view, samples.rows, masks=masks, device=CPU)["attention_in_lesion"]
    assert np.nanmean(share) > 0.95


def test_a_cohort_without_truth_has_no_masks(toy_cohort: Cohort) -> None:
    assert toy_cohort.lesion_masks is None


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    make_phantom(folder, preset="easy", n_patients=20, shape=(8, 48, 24), seed=3)
    return Cohort.open(folder)


def test_on_a_phantoms_lesion_the_ratios_are_those_that_its_observer_measures(phantom: Cohort) -> None:
    masks, halves = phantom.lesion_masks, np.asarray(phantom.hemispheres, dtype=np.float32)
    assert masks is not None
    other = other_halves(phantom.table)
    lesions = [i for i in np.flatnonzero(masks.any(axis=(1, 2, 3))) if (halves[other[i], 0][masks[i]] > 0).all()]
    assert len(lesions) > 5
    for i in lesions:
        both = np.stack([halves[i], halves[other[i]]])
        measured = measure_lesion(both, np.stack([masks[i], np.zeros_like(masks[i])]), voxel_ml=1.0)
        attention = torch.from_numpy(masks[i] / masks[i].sum()).float()[None]
        seen = side_ratios(torch.from_numpy(both.reshape(1, 6, *both.shape[2:])), attention)
        assert seen["rDWI"].item() == pytest.approx(measured["ratio_b1000"], rel=1e-4)
        assert seen["dADC"].item() == pytest.approx(measured["log_adc_ratio"], rel=1e-3)
        assert seen["rFLAIR"].item() == pytest.approx(measured["ratio_flair"], rel=1e-4)


def test_what_was_seen_is_in_the_tables_of_holdout_and_predictions(phantom: Cohort, tmp_path: Path) -> None:
    network = AttendedNetwork(n_slices=8, cell=1, inputs=["b1000", "mirror"], readout="soft_maximum", width=4)  # even
    promoted = PromotedFolder(promoted_folder(tmp_path / "promoted", network=network))

    score(promoted, OnsetBefore(270.0), phantom)
    predicted = predict(promoted, phantom).figures

    names = ("rDWI", "dADC", "rFLAIR")
    said = {row.cells["patient"]: row.cells for row in read_rows(promoted.holdout_scores, required=names)}
    alone = [i for i, half in enumerate(phantom.table) if half.patient in said and half.lesion]
    for name in names:
        means = {p: [predicted[name][i] for i in alone if phantom.table[i].patient == p] for p in said}
        assert {p: float(cells[name]) for p, cells in said.items()} == pytest.approx(
            {p: np.mean(values) for p, values in means.items()}, rel=2e-3, abs=1e-5
        )
    held_out = np.array([i for i in alone if phantom.table[i].split == "holdout"], dtype=np.int64)
    view = BothHalves(phantom.holdout_view(), other_halves(phantom.table))
    inside = look_with_all([network.eval()], view, held_out, masks=phantom.lesion_masks)["attention_in_lesion"]
    assert promoted.read_holdout()["metrics"]["attention_in_lesion"] == pytest.approx(np.mean(inside), rel=1e-3)
