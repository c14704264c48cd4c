"""ASHA, told what the ledger knows, and the schedulers that were removed."""

from dataclasses import dataclass

import pytest
from ray.tune.schedulers import TrialScheduler

from tests.sweeping.specs import SPEC, vary
from tissueclock.errors import StudyError
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.ledger import Status, TrialEntry
from tissueclock.sweeping.scheduler import LedgerAsha, make_scheduler


@dataclass(frozen=True)
class Running:
    trial_id: str


def trial(name: str, values: list[float], *, status: Status | None = "finished") -> TrialEntry:
    metrics = {epoch: {"best_value": value} for epoch, value in enumerate(values, start=1)}
    return TrialEntry(name=name, hyperparameters={}, seed=0, asked_s=0, metrics=metrics, status=status)


def rungs(scheduler: TrialScheduler) -> list[list[float]]:
    """What each rung holds, the first rung first."""
    assert isinstance(scheduler, LedgerAsha)
    return [sorted(recorded.values()) for _, recorded in reversed(scheduler._brackets[0]._rungs)]


def add(scheduler: TrialScheduler, tune_id: str) -> Running:
    running = Running(tune_id)
    scheduler.on_trial_add(None, running)  # type: ignore[arg-type]
    return running


def verdict(scheduler: TrialScheduler, running: Running, *, epoch: int, value: float) -> str:
    return str(scheduler.on_trial_result(None, running, {"epoch": epoch, "best_value": value}))  # type: ignore[arg-type]


def test_asha_stops_a_poor_trial_by_what_earlier_attempts_reported() -> None:
    good = [trial(f"t{i}", [0.8, 0.85, 0.9, 0.9]) for i in range(4)]
    fresh, told = make_scheduler(SPEC), make_scheduler(SPEC, past=good)

    assert verdict(fresh, add(fresh, "new"), epoch=1, value=0.5) == TrialScheduler.CONTINUE
    assert verdict(told, add(told, "new"), epoch=1, value=0.5) == TrialScheduler.STOP


def test_a_sweep_that_is_gone_on_with_has_the_rungs_of_one_that_was_never_interrupted() -> None:
    curves = {"t1": [0.6, 0.7, 0.7, 0.7], "t2": [0.65, 0.7, 0.8], "t3": [0.62, 0.9]}
    whole = make_scheduler(SPEC)
    for name, values in curves.items():
        running = add(whole, name)
        for epoch, value in enumerate(values, start=1):
            verdict(whole, running, epoch=epoch, value=value)

    ended = [trial("t1", curves["t1"], status="failed")]
    interrupted = [trial(name, curves[name], status=None) for name in ("t2", "t3")]
    cut = make_scheduler(SPEC, past=[*ended, *interrupted], names={"a": "t2", "b": "t3"})
    for tune_id, name in (("a", "t2"), ("b", "t3")):
        last = len(curves[name])
        verdict(cut, add(cut, tune_id), epoch=last, value=curves[name][-1])  # reported again, as a trial does

    assert rungs(cut) == rungs(whole)


def test_a_trial_that_was_stopped_while_its_sweep_was_killed_is_stopped_again() -> None:
    good = [trial(f"t{i}", [0.8, 0.85, 0.9, 0.9]) for i in range(4)]
    told = make_scheduler(SPEC, past=[*good, trial("t9", [0.5], status=None)], names={"a": "t9"})

    assert verdict(told, add(told, "a"), epoch=1, value=0.5) == TrialScheduler.STOP


@pytest.mark.parametrize("name", ["hyperband", "pbt"])
def test_a_scheduler_that_was_removed_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(StudyError, match=f"scheduler {name} was removed: .*; take asha or none"):
        make_scheduler(vary(scheduler=SchedulerSettings(name=name)))
