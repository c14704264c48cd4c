"""The optimiser that a configuration asks for, over the parameters that learn."""

from typing import Any

import torch
from torch import nn

from tissueclock.learning.adabound import AdaBound, rate_bounds
from tissueclock.learning.hyperparameters import HyperparameterError, Hyperparameters


def build_optimiser(network: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """The optimiser over the parameters of `network` that require a gradient, in at most three groups.

    Weights of convolutions and layers decay. Vectors (biases, norms) do not: decay would pull a norm's scale to zero.
    Slice positions (`theta`) do not either, and learn `slice_lr_factor` times as fast: each sees one slice only.

    Raises:
        HyperparameterError: Nothing learns.
    """
    weights, vectors, positions = [], [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.rpartition(".")[2] == "theta":
            positions.append(parameter)
        elif parameter.ndim > 1:
            weights.append(parameter)
        else:
            vectors.append(parameter)
    slice_lr = hyperparameters.lr * hyperparameters.slice_lr_factor
    groups: list[dict[str, Any]] = [
        {"params": weights},
        {"params": vectors, "weight_decay": 0.0},
        {"params": positions, "weight_decay": 0.0, "lr": slice_lr, "final_lr": _scaled_final_lr(hyperparameters)},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise HyperparameterError(
            f"learned: {hyperparameters.learned!r} with freeze_depth {hyperparameters.freeze_depth} leaves no parameter"
        )
    return _build(groups, hyperparameters)


def learning_rate_bounds(optimiser: torch.optim.Optimizer, *, step: int) -> tuple[float, float]:
    """Between what the rates of the first group lie after `step` steps; (lr, lr) for optimisers without bounds."""
    group = optimiser.param_groups[0]
    if not isinstance(optimiser, AdaBound):
        return group["lr"], group["lr"]
    bounds = rate_bounds(group, step=max(step, 1))
    return bounds.lower, min(bounds.upper, torch.finfo(torch.float32).max)


def _scaled_final_lr(hyperparameters: Hyperparameters) -> float:
    return hyperparameters.final_lr * hyperparameters.slice_lr_factor


def _build(groups: list[dict[str, Any]], hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    lr, weight_decay = hyperparameters.lr, hyperparameters.weight_decay
    betas = (hyperparameters.beta1, hyperparameters.beta2)
    if hyperparameters.optimiser == "sgd":
        for group in groups:
            group.pop("final_lr", None)
        return torch.optim.SGD(groups, lr=lr, momentum=hyperparameters.beta1, weight_decay=weight_decay)
    if hyperparameters.optimiser == "adamw":
        for group in groups:
            group.pop("final_lr", None)
        return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    return AdaBound(
        groups,
        lr=lr,
        betas=betas,
        final_lr=hyperparameters.final_lr,
        gamma=hyperparameters.gamma,
        weight_decay=weight_decay,
        amsbound=hyperparameters.optimiser == "amsbound",
    )
