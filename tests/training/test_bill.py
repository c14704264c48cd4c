"""What an epoch costs: measured on a trial's threads, and not moved by one step that had to wait."""

from typing import Any

import pytest
import torch

from tests.sweeping.specs import vary
from tests.toy import SHAPE
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.cohort.store import Cohort
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.samples import Samples
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.records import EpochBill
from tissueclock.training.bill import measure_as_trial, measure_epoch
from tissueclock.training.classification import Classification
from tissueclock.training.scoring import samples_of


@pytest.fixture
def samples(toy_cohort: Cohort) -> Samples:
    view = toy_cohort.sweep_view()
    return samples_of(HoldsLesion(), toy_cohort.table, view, view.rows("train"))


class TellsThreads(Classification):
    """Stands for a task whose epoch costs as many seconds as there are threads."""

    def epoch_bill(self, *_: Any) -> EpochBill:
        return EpochBill(epoch_s=torch.get_num_threads(), checkpoint_bytes=0, trunks={})


@pytest.mark.parametrize(("cpus", "workers", "threads"), [(1, 1, 1), (0.5, 1, 1), (3, 1, 3), (4, 2, 2), (64, 1, 8)])
def test_an_epoch_is_measured_on_a_trial_s_threads(
    cpus: float, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        spec = vary(cpus_per_trial=cpus, workers_per_trial=workers)
        measured = measure_as_trial(TellsThreads(HoldsLesion()), spec, {}).epoch_s
        assert (measured, torch.get_num_threads()) == (threads, 7)
    finally:
        torch.set_num_threads(before)


def test_a_step_that_had_to_wait_does_not_count(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    training_s = iter([50.0, 2.0, 900.0, 2.0])  # the first allocates, one finds the core busy

    def step(learner: Classifier) -> dict[str, float]:
        s = next(training_s)
        return {"train_samples_per_s": 8 / s, "epoch_s": s + 0.4}

    monkeypatch.setattr(Classifier, "run_epoch", step)

    bill = measure_epoch(SliceNetwork(width=4, n_slices=SHAPE[0]), samples, vary(fix={"batch_size": 8}), depths=())

    assert bill.epoch_s == pytest.approx(len(samples) / 8 * (2.0 + 0.4 / 4))


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_any_batch_size_can_be_measured(toy_cohort: Cohort, batch_size: int) -> None:
    spec = vary(cohort=toy_cohort.folder, fix={"batch_size": batch_size})

    bill = measure_as_trial(Classification(HoldsLesion()), spec, {"freeze_depth": (0, 1, 5)})

    assert 0 < bill.epoch_s < 600
    assert set(bill.trunks) == {1, 5}
