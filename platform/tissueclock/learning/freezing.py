"""What of a network learns."""

from collections.abc import Iterable

from torch import nn

from tissueclock.learning.hyperparameters import HyperparameterError, Learned
from tissueclock.networks.staged import StagedNetwork


def freeze(network: StagedNetwork, *, depth: int, learned: Learned = "network") -> tuple[str, ...]:
    """Sets `requires_grad` of every parameter, so that only what is to be learned is.

    A frozen stage keeps its batch normalisation statistics: see `StagedNetwork.train`. As the frozen stages are a
    prefix, they run without building a graph.

    Args:
        network: What learns.
        depth: Stages that do not, counted from the input; read only where `learned` is `network`.
        learned: `network` is all stages after the first `depth`, and every part that is computed. The others learn no
            stage, and of the parts only those named: `gates` (attention gate and its head), `slices` (slice
            pooling), `head` (alone: where a parent looks is kept, and what it sees there is read anew).

    Returns:
        The names of the parameters that learn.

    Raises:
        HyperparameterError: More stages than there are, or gates that are not computed as attention is off.
    """
    stages, parts = network.stages(), network.parts()
    if not 0 <= depth <= len(stages):
        raise HyperparameterError(f"freeze_depth: {depth}, but the network has {len(stages)} stages")
    named = list(parts) if learned == "network" else learned.split("+")
    if absent := [name for name in named if name not in parts]:
        raise HyperparameterError(f"learned: {learned!r}, but the network computes no {absent[0]} (attention is off)")
    network.requires_grad_(False)
    if learned == "network":
        _thaw(module for stage in stages[depth:] for module in stage)
    _thaw(module for name in named for module in parts[name])
    network.train(network.training)
    return tuple(name for name, parameter in network.named_parameters() if parameter.requires_grad)


def frozen_depth(network: StagedNetwork, *, depth: int, learned: Learned = "network") -> int:
    """How many stages, from the input, do not learn after `freeze` with the same arguments."""
    return depth if learned == "network" else len(network.stages())


def _thaw(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.requires_grad_(True)
