"""What a sweep costs at most, by what an epoch costs and how many trials there is room for."""

from typing import Any

import pytest

from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.errors import InputError
from tissueclock.records import EpochBill, SweepBill
from tissueclock.sweeping.bill import bill_sweep, measure_on_cluster
from tissueclock.sweeping.space import make_space
from tissueclock.training.classification import Classification

EIGHT_CPUS = {"CPU": 8.0}


def bill(have: dict[str, float] = EIGHT_CPUS, *, epoch_s: float = 10.0, **changes: Any) -> SweepBill:
    spec = vary(**changes)
    phase = load_phase(spec)
    space = make_space(phase.space, spec, accepted=phase.phase.task.accepted())
    costs = EpochBill(epoch_s=epoch_s, checkpoint_bytes=1000, trunks={})
    return bill_sweep(spec, phase, space, measure=lambda *_: costs, nodes=[have])


@pytest.mark.parametrize(
    ("have", "changes", "at_once"),
    [
        ({"CPU": 8.0}, {}, 8),
        ({"CPU": 8.0}, {"trials": 3}, 3),
        ({"CPU": 8.0}, {"max_concurrent": 5}, 5),
        ({"CPU": 8.0}, {"cpus_per_trial": 3.0}, 2),
        ({"CPU": 64.0, "GPU": 2.0}, {"gpus_per_trial": 0.5}, 4),
        ({"CPU": 8.0}, {"max_concurrent": 50}, 8),
        ({"CPU": 8.0}, {"gpus_per_trial": 1.0}, 1),
    ],
)
def test_disk_is_for_the_trials_that_run_at_once(have: dict[str, float], changes: dict[str, Any], at_once: int) -> None:
    found = bill(have, **changes)

    assert found.at_once == at_once
    assert found.disk_bytes == 2 * 1000 * at_once + (found.trials + 2) * 250


def test_hours_are_of_the_devices_that_trials_take() -> None:
    assert bill().hours == pytest.approx(12 * 4 * 10 / 3600)
    assert bill(cpus_per_trial=4.0).hours == pytest.approx(4 * 12 * 4 * 10 / 3600)
    assert bill(gpus_per_trial=0.5).hours == pytest.approx(0.5 * 12 * 4 * 10 / 3600)
    assert bill(gpus_per_trial=2.0).hours == bill(gpus_per_trial=1.0).hours, "two workers share an epoch"


def test_a_time_budget_is_the_most_that_can_be_spent() -> None:
    assert bill(time_budget_min=1.0, max_concurrent=2).hours == pytest.approx(2 / 60)
    assert bill(time_budget_min=1000.0).hours == bill().hours


class CannotBeMeasured(Classification):
    """Stands for a task that finds its input wrong."""

    def epoch_bill(self, *_: Any) -> EpochBill:
        raise InputError("cohort: no such folder")


@pytest.mark.ray
def test_what_is_wrong_on_the_cluster_is_said_in_one_line(ray_here: None) -> None:
    with pytest.raises(InputError) as raised:
        measure_on_cluster(CannotBeMeasured(HoldsLesion()), vary(), {})

    assert str(raised.value) == "cohort: no such folder"
