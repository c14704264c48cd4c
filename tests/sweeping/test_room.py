"""What nodes hold, counted node by node."""

import re
from typing import Any

import pytest
import ray

from tissueclock.errors import InputError
from tissueclock.settings import Resources
from tissueclock.sweeping.head import Head
from tissueclock.sweeping.room import lack_of_room, slots
from tissueclock.sweeping.tasks import run_tasks

CLUSTER = [(1.0, 0.0), (4.0, 0.0), (1.5, 2.0), (1.5, 2.0)]
"""CPUs and GPUs of a node each."""


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 4e9}} for cpus, gpus in CLUSTER]
    lost: dict[str, Any] = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}}
    monkeypatch.setattr(ray, "nodes", lambda: [*alive, lost])


@pytest.mark.parametrize(
    ("trial", "n"),
    [
        (Resources(cpus=1.0), 7),
        (Resources(cpus=0.1), 80),
        (Resources(cpus=1.5), 4),
        (Resources(cpus=2.0), 2),
        (Resources(cpus=0.5, gpus=0.5), 6),
        (Resources(cpus=1.0, gpus=2.0, workers=2), 2),
        (Resources(cpus=1.0, gpus=4.0, workers=4), 1),
        (Resources(cpus=0.3, gpus=0.9, workers=3), 4),
    ],
)
def test_trials_are_counted_node_by_node(trial: Resources, n: int) -> None:
    assert slots(trial) == n
    assert lack_of_room(trial) is None


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (Resources(cpus=5.0), r"a trial of 5 CPUs \(.*\) on 4 nodes, the largest of which has 4 CPUs and 0 GPUs$"),
        (Resources(cpus=2.0, gpus=1.0), r"a trial of 2 CPUs and 1 GPU \(.*\) on .* has 1\.5 CPUs and 2 GPUs$"),
        (Resources(gpus=6.0, workers=6), r"a trial of 6 workers with 0\.166667 CPUs and 1 GPU each \(.*\) on 4 nodes"),
    ],
)
def test_a_trial_that_no_node_holds_has_no_slot_whatever_the_sum_of_nodes_is(trial: Resources, message: str) -> None:
    assert slots(trial) == 0
    assert re.search(message, lack_of_room(trial) or "")


def test_tasks_of_more_memory_than_any_node_has_would_wait_for_ever() -> None:
    with pytest.raises(InputError, match=r"memory_mb is 4001, but the largest node has 4000 MB for tasks, and 4 CPUs"):
        next(run_tasks(print, [1], memory_mb=4001, head=Head("127.0.0.1:9")))
