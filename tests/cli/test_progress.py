"""How much time a study has left, from the epochs that its ledgers tell of."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sweeping.specs import vary
from tissueclock.cli.progress import SweepProgress, most_urgent, study_left_s, sweep_progress
from tissueclock.networks.settings import SliceSettings
from tissueclock.storage.ledger import LedgerState
from tissueclock.study_run import StudyRun

WIDE, NARROW = SliceSettings(width=64), SliceSettings(width=4)


def ledger(*, ended: int = 0, running: int = 0, epoch_s: float = 10.0) -> LedgerState:
    """Trials of two epochs that ended, and ones with an epoch behind them."""
    state = LedgerState()
    lines: list[dict[str, Any]] = []
    for i in range(1, ended + running + 1):
        name = f"t{i:04d}"
        lines += [
            {"kind": "asked", "trial": name, "hyperparameters": {}, "seed": i},
            {"kind": "started", "trial": name},
        ]
        for epoch in range(1, 3 if i <= ended else 2):
            lines.append({"kind": "reported", "trial": name, "epoch": epoch, "metrics": {"epoch_s": epoch_s}})
        if i <= ended:
            lines.append({"kind": "ended", "trial": name, "status": "finished"})
    for line in lines:
        state.apply({"time_s": 0.0, **line})
    return state


def left_s(*sweeps: tuple[str, LedgerState, dict[str, Any]]) -> float | None:
    vertices = {
        str(i): SimpleNamespace(state=state, spec=vary(**changes), poll=lambda found=found: found)
        for i, (state, found, changes) in enumerate(sweeps)
    }
    return study_left_s(cast("StudyRun", SimpleNamespace(vertices=vertices)))


def test_nothing_is_said_before_a_trial_ended() -> None:
    assert left_s(("running", ledger(running=2), {"trials": 4})) is None


def test_what_is_left_is_shared_by_the_trials_that_run_now() -> None:
    assert left_s(("running", ledger(ended=1, running=2), {"trials": 4})) == pytest.approx((3 * 20 - 2 * 10) / 2)


def test_runs_that_confirm_are_counted() -> None:
    asked = {"trials": 4, "confirm": 2, "confirm_seeds": 3}
    assert left_s(("running", ledger(ended=3, running=1), asked)) == pytest.approx((1 + 6) * 20 - 10)


def test_a_sweep_that_waits_is_like_those_of_its_network() -> None:
    narrow = ("complete", ledger(ended=4), {"trials": 4, "network": NARROW})
    wide = ("running", ledger(ended=3, running=1, epoch_s=100.0), {"trials": 4, "network": WIDE})
    for network, each_s in ((NARROW, 20), (WIDE, 200), (SliceSettings(width=8), 110)):
        waiting = ("waiting", LedgerState(), {"trials": 5, "network": network})
        assert left_s(narrow, wide, waiting) == pytest.approx(200 - 100 + 5 * each_s)


def test_a_study_that_is_complete_has_none_left() -> None:
    assert left_s(("complete", ledger(ended=4), {"trials": 4})) == 0


def row(name: str, state: str) -> SweepProgress:
    return sweep_progress(name=name, objective="val_auc", arms=["a"], state=state, wanted=2, ledger=LedgerState())


def test_a_screen_shows_what_runs_then_what_waits_then_what_is_done() -> None:
    states = ["complete"] * 20 + ["running", "waiting", "failed"] + ["waiting"] * 25
    rows = [row(f"s{i:02d}", state) for i, state in enumerate(states)]

    shown, left_out = most_urgent(rows, room=10)

    assert [each.state for each in shown] == ["running", "failed", *["waiting"] * 8]
    assert left_out == "not shown: 18 waiting, 20 complete"


def test_a_study_that_fits_is_shown_whole() -> None:
    rows = [row("s1", "complete"), row("s2", "running")]

    shown, left_out = most_urgent(rows, room=10)

    assert ([each.name for each in shown], left_out) == (["s2", "s1"], "")
