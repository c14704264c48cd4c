"""An optimiser's state as named tensors and JSON facts, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tissueclock.errors import CheckpointError


def state_as_facts(optimiser: torch.optim.Optimizer, network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors, named `<parameter>/<quantity>`, and the rest as facts (`kind`, `numbers`, `params`)."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for parameter, state in optimiser.state.items():
        for quantity, value in state.items():
            key = f"{names[parameter]}/{quantity}"
            if isinstance(value, Tensor):
                tensors[key] = value
            elif value is not None:
                numbers[key] = value
    return tensors, {"kind": type(optimiser).__name__, "numbers": numbers, "params": _order(optimiser, network)}


def restore_state(
    optimiser: torch.optim.Optimizer, network: nn.Module, *, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Puts the state back into an optimiser that was built for the same parameters.

    Rates, decays and bounds stay those that the optimiser was built with.

    Raises:
        CheckpointError: It is of another kind of optimiser, or of other parameters.
    """
    if facts["kind"] != type(optimiser).__name__:
        raise CheckpointError(f"optimiser: its state is of {facts['kind']}, but this is {type(optimiser).__name__}")
    order = _order(optimiser, network)
    if facts["params"] != order:
        raise CheckpointError(
            f"optimiser: its state is of {len(facts['params'])} parameters, but {len(order)} learn now"
        )
    index = {name: i for i, name in enumerate(order)}
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **facts["numbers"]}.items():
        name, _, quantity = key.rpartition("/")
        state.setdefault(index[name], {})[quantity] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _order(optimiser: torch.optim.Optimizer, network: nn.Module) -> list[str]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    return [names[parameter] for group in optimiser.param_groups for parameter in group["params"]]
