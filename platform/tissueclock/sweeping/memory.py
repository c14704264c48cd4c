"""Out of memory, on a GPU or on the host: how it is told from other failures, and the larger slot after it."""

import math
from typing import Any

from ray.exceptions import OutOfMemoryError as KilledForMemoryError
from ray.exceptions import RayActorError

from tissueclock.settings import Resources
from tissueclock.sweeping.room import largest_node

_TELLTALES = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_RAY_TELLTALES = ("running low on memory", "memory pressure")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a trial failed for want of memory: CUDA's, the host's, or ended by Ray's memory monitor.

    A worker that the kernel killed without a word is not told apart from one that a person killed: it is not one.
    """
    if error is None:
        return False
    if isinstance(error, MemoryError | KilledForMemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    telltales = _RAY_TELLTALES if isinstance(error, RayActorError) else _TELLTALES
    return any(telltale in said for telltale in telltales)


def larger_slot(resources: Resources, devices: float, *, whole: float) -> float | None:
    """The next power of two of a trial's devices, up to `whole`: fewer trials share what there is.

    Args:
        resources: What the study gives a trial.
        devices: What it had: its share of a GPU, or its CPUs where it takes no GPU.
        whole: The most that helps: `whole_slot`.

    Returns:
        None where it had it all, or several processes train it.
    """
    if resources.workers > 1 or devices >= whole:
        return None
    doubled: float = 2.0 ** (math.floor(math.log2(devices)) + 1)
    return min(doubled, whole)


def whole_slot(resources: Resources) -> float:
    """The most devices that help a trial on the connected cluster: one GPU, or the CPUs of the largest node."""
    return 1.0 if resources.gpus else largest_node("CPU")


def slot(resources: Resources, devices: float) -> dict[str, float]:
    """What Tune reserves for a trial.

    Args:
        resources: What the study gives it.
        devices: What it needs of that in which its hours are counted; less than the study gives: as given.
    """
    if resources.gpus:
        return {"cpu": resources.cpus, "gpu": max(devices, resources.gpus)}
    return {"cpu": max(devices, resources.cpus), "gpu": 0.0}


def slot_devices(resources: Resources, required: dict[str, Any]) -> float:
    """The devices of a slot that Tune has reserved, by Ray's names."""
    return float(required["GPU" if resources.gpus else "CPU"])
