"""What the nodes of a cluster hold, counted node by node: what none of them holds would wait for ever.

A node is its resources by Ray's names: CPU, GPU, memory in bytes.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import torch

from tissueclock.settings import Resources

_UNITS_PER_ONE = 10_000
"""Ray counts shares of a CPU or GPU in ten-thousandths."""


Nodes = Sequence[Mapping[str, Any]]


def slots(resources: Resources, nodes: Nodes | None = None) -> int:
    """How many trials a cluster holds at once where nothing else runs on it; 0: none will ever start.

    The workers of one trial may be on different nodes; a worker is on one.

    Args:
        resources: What a trial takes.
        nodes: The cluster's; None: those of the connected one.
    """
    return n_held(_worker(resources), nodes) // resources.workers


def this_machine(n_cpus: int | None = None) -> Nodes:
    """The one node of a cluster that would be started here.

    Args:
        n_cpus: Its CPUs; None: all.
    """
    return [{"CPU": n_cpus or os.cpu_count() or 1, "GPU": torch.cuda.device_count()}]


def n_held(bundle: Mapping[str, float], nodes: Nodes | None = None) -> int:
    """How many such bundles all nodes hold at once, each on one node.

    Args:
        bundle: Resources by Ray's names.
        nodes: The cluster's; None: those of the connected one.
    """
    has_each = _nodes() if nodes is None else nodes
    wanted = {name: _units(share) for name, share in bundle.items() if share}
    return sum(min(_units(has.get(name, 0.0)) // units for name, units in wanted.items()) for has in has_each)


def lack_of_room(resources: Resources, nodes: Nodes | None = None) -> str | None:
    """Why no trial will ever start, with what the largest node has; None where one may.

    Args:
        resources: What a trial takes.
        nodes: The cluster's; None: those of the connected one.
    """
    nodes = _nodes() if nodes is None else nodes
    if slots(resources, nodes):
        return None
    worker = _worker(resources)
    wanted = _said({name: share for name, share in worker.items() if share})
    if resources.workers > 1:
        wanted = f"{resources.workers} workers with {wanted} each"
    order = ("GPU", "CPU") if resources.gpus else ("CPU", "GPU")
    largest = max(nodes, key=lambda has: [has.get(name, 0.0) for name in order], default={})
    has = _said({name: largest.get(name, 0.0) for name in worker})
    n = f"1 node, which has {has}" if len(nodes) == 1 else f"{len(nodes)} nodes, the largest of which has {has}"
    return f"no room for a trial of {wanted} (cpus_per_trial, gpus_per_trial) on {n}"


def largest_node(name: str) -> float:
    """The most that one node has of a resource."""
    return max((has.get(name, 0.0) for has in _nodes()), default=0.0)


def _worker(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus / resources.workers, "GPU": resources.gpus / resources.workers}


def _nodes() -> list[dict[str, Any]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _units(share: float) -> int:
    return round(share * _UNITS_PER_ONE)


def _said(bundle: Mapping[str, float]) -> str:
    return " and ".join(f"{share:g} {name}{'' if share == 1 else 's'}" for name, share in bundle.items())
