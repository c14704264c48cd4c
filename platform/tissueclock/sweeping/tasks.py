"""Independent pieces of work as Ray tasks, on this machine or on a cluster.

Knows not what the work is: it is handed a function, and tells how each call ended.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from tissueclock.errors import InputError, TissueclockError
from tissueclock.settings import Resources
from tissueclock.sweeping.head import Head
from tissueclock.sweeping.room import largest_node, n_held

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_ITK_THREADS = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
_RETRIES = 1
_POLL_S = 1.0

Job = TypeVar("Job")
Result = TypeVar("Result")


class TaskError(TissueclockError, RuntimeError):
    """A task ended in a way that nobody foresaw: its process died, or it raised what is no error of ours."""


def run_tasks(
    function: Callable[[Job], None], jobs: Sequence[Job], *, memory_mb: int, head: Head
) -> Iterator[tuple[int, TissueclockError | None]]:
    """Calls `function` once with each job, as many at a time as the cluster has CPUs and memory for; one thread each.

    Args:
        function: Of a module that workers can import; what it returns is dropped.
        jobs: What it is called with; can be pickled.
        memory_mb: Reserved for each call; Ray starts no more calls on a node than its memory holds.
        head: The cluster's head node.

    Yields:
        As each ends: its place in `jobs`, and how it failed, or None.

    Raises:
        InputError: No node has so much memory: the calls would wait for ever.
        SweepError: The head node is gone.
    """
    if not n_held({"CPU": 1, "memory": memory_mb * 1_000_000}):
        raise InputError(
            f"memory_mb is {memory_mb}, but the largest node has {largest_node('memory') / 1e6:.0f} MB for tasks, "
            f"and {largest_node('CPU'):g} CPUs"
        )
    remote = ray.remote(
        num_cpus=1,
        memory=memory_mb * 1_000_000,
        max_retries=_RETRIES,
        runtime_env={"env_vars": {**_ONE_THREAD, **_ITK_THREADS}},
    )(function)
    places = {remote.remote(job): i for i, job in enumerate(jobs)}
    while places:
        head.check()
        for ended in ray.wait(list(places), num_returns=1, timeout=_POLL_S)[0]:
            yield places.pop(ended), _failure(ended)


def run_task(function: Callable[..., Result], *arguments: Any, resources: Resources) -> Result:
    """Calls `function` once, as a Ray task with what one of a trial's processes takes.

    Args:
        function: Of a module that workers can import.
        arguments: What it is called with; can be pickled.
        resources: The trial's.

    Raises:
        TissueclockError: What it raised; a `TaskError` where that is none of ours, or its process died.
    """
    remote = ray.remote(
        num_cpus=resources.cpus / resources.workers,
        num_gpus=resources.gpus / resources.workers,
        max_retries=_RETRIES,
    )(function)
    called = remote.remote(*arguments)
    if (failure := _failure(called)) is not None:
        raise failure
    result: Result = ray.get(called)
    return result


def _failure(ended: Any) -> TissueclockError | None:
    try:
        ray.get(ended)
    except RayTaskError as error:
        if isinstance(error.cause, TissueclockError):
            return error.cause
        said = str(error.cause).strip().splitlines()
        return TaskError(f"{type(error.cause).__name__}: {said[0] if said else 'no message'}")
    except RayError as error:
        return TaskError(f"its process was lost ({str(error).strip().splitlines()[0]})")
    return None
