"""Tune's schedulers, told what the ledger knows."""

from dataclasses import dataclass

import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler

from tests.sweeping.specs import SPEC, vary
from tissueclock.errors import StudyError
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.ledger import TrialEntry
from tissueclock.sweeping.scheduler import make_scheduler, replay


@dataclass(frozen=True)
class Running:
    trial_id: str


def trial(name: str, values: list[float]) -> TrialEntry:
    metrics = {epoch: {"best_value": value} for epoch, value in enumerate(values, start=1)}
    return TrialEntry(name=name, hyperparameters={}, seed=0, asked_s=0, metrics=metrics, status="finished")


def verdict(scheduler: TrialScheduler, *, epoch: int, value: float) -> str:
    running = Running("new")
    scheduler.on_trial_add(None, running)  # type: ignore[arg-type]
    return str(scheduler.on_trial_result(None, running, {"epoch": epoch, "best_value": value}))  # type: ignore[arg-type]


def test_asha_stops_a_poor_trial_by_what_earlier_attempts_reported() -> None:
    good = [trial(f"t{i}", [0.8, 0.85, 0.9, 0.9]) for i in range(4)]
    fresh, told = make_scheduler(SPEC, {}), make_scheduler(SPEC, {})
    replay(told, good)

    assert verdict(fresh, epoch=1, value=0.5) == TrialScheduler.CONTINUE
    assert verdict(told, epoch=1, value=0.5) == TrialScheduler.STOP
    assert verdict(make_scheduler(SPEC, {}), epoch=1, value=0.95) == TrialScheduler.CONTINUE


def test_pbt_perturbs_what_may_change_while_a_network_learns_and_nothing_else() -> None:
    spec = vary(scheduler=SchedulerSettings(name="pbt"))

    scheduler = make_scheduler(spec, {"lr": tune.loguniform(1e-5, 1e-2), "freeze_depth": tune.choice([0, 1])})

    assert set(scheduler._hyperparam_mutations["hyperparameters"]) == {"lr"}


def test_pbt_without_anything_to_perturb_is_refused() -> None:
    spec = vary(scheduler=SchedulerSettings(name="pbt"))

    with pytest.raises(StudyError, match="scheduler is pbt, but none of lr, final_lr"):
        make_scheduler(spec, {"freeze_depth": tune.choice([0, 1])})
