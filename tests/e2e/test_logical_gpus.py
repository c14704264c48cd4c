"""Half a device, one, two: how many trials run at once, and which logical GPU each sees; nothing is computed on it."""

from collections import Counter
from typing import Any

import pytest

from tests.e2e.commands import run_script
from tissueclock.cohort.store import Cohort

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


@pytest.fixture(scope="module")
def found(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpus")
    return run_script("logical_gpus.py", toy_cohort.folder, folder, home=folder)


def devices(told: dict[str, Any]) -> Counter[tuple[str, str]]:
    """How many processes were given each device of each node; each was given one."""
    assert told["error"] is None
    assert all(len(seen["devices"]) == 1 for seen in told["seen"]), told
    return Counter((seen["node"], *seen["devices"]) for seen in told["seen"])


def test_two_trials_share_a_device(found: dict[str, Any]) -> None:
    assert found["0.5"]["slots"] == 4
    assert sorted(devices(found["0.5"]).values()) == [2, 2]


def test_a_device_each(found: dict[str, Any]) -> None:
    assert found["1"]["slots"] == 2
    assert sorted(devices(found["1"]).values()) == [1, 1]


def test_a_trial_that_no_node_holds_whole_is_spread_over_two(found: dict[str, Any]) -> None:
    """And its checkpoint is scored by one process, for which there is room."""
    assert found["2"]["slots"] == 1
    assert sorted(devices(found["2"]).values()) == [1, 1]
