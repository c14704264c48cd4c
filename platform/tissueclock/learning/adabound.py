"""The `adabound` package's optimiser with its faults mended: Adam whose rates close in on those of SGD.

The package (0.0.5) keeps each group's first learning rate in a list beside the groups. That list is lost by pickle and
deepcopy and does not grow with new groups, whose parameters are then never updated. Here it is part of each group.

References:
    Luo et al. 2019, Adaptive Gradient Methods with Dynamic Bound of Learning Rate, ICLR.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import adabound
import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

_CACHED_ELEMENTS = 1 << 18
"""So many parameters, with gradients and averages (16 bytes each), stay in a core's cache over the passes of a step.
One thread takes 0.85 ms for a ResNet-18 of width 8 (a tensor at a time: 1.6) and 22 ms at width 64 (all at once: 46,
the package: 55)."""


@dataclass(frozen=True, slots=True)
class RateBounds:
    """What bounds the rates of all parameters at one step: eta = clip(step_size / (sqrt(v) + eps), lower, upper)."""

    step_size: float
    lower: float
    upper: float


class AdaBound(adabound.AdaBound):
    """AdaBound and AMSBound.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2 (AMSBound: its running maximum);
    eta = clip(lr sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + eps), f (1 - 1 / (gamma t + 1)), f (1 + 1 / (gamma t)));
    p = p - eta m, with f = final_lr lr / base_lr, and base_lr the group's learning rate at its construction.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate of the first steps, at least 0. A base_lr of 0 leaves final_lr unscaled once lr is raised.
        betas: Decay of the averages of the gradient and of its square, each in [0, 1).
        final_lr: The rate that the bounds close in on, at least 0.
        gamma: How fast they do, in [0, 1); 0 is Adam.
        eps: Added to the denominator, at least 0.
        weight_decay: At least 0; added to the gradient, or, `decoupled`, taken from the parameter times lr.
        amsbound: Whether v is replaced by its running maximum.
        decoupled: How weight decay acts.
        foreach: Whether to update all tensors of a group together, or each alone. None, the fastest, does so but for
            the CPU, where as many go together as stay in its cache.

    Raises:
        ValueError: A value is outside its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        final_lr: float = 0.1,
        gamma: float = 1e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsbound: bool = False,
        *,
        decoupled: bool = False,
        foreach: bool | None = None,
    ) -> None:
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay: {weight_decay}, but it must be at least 0")
        self._added_defaults = {"decoupled": decoupled, "foreach": foreach}
        super().__init__(params, lr, betas, final_lr, gamma, eps, weight_decay, amsbound)
        self.defaults.update(self._added_defaults)

    @property
    def base_lrs(self) -> list[float]:
        """Each group's learning rate at its construction."""
        return [group["base_lr"] for group in self.param_groups]

    @base_lrs.setter
    def base_lrs(self, base_lrs: Sequence[float]) -> None:
        for group, base_lr in zip(self.param_groups, base_lrs, strict=True):
            group["base_lr"] = base_lr

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, which learns from the next step on; its base_lr is its own lr."""
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        added.setdefault("base_lr", added["lr"])
        for name, value in self._added_defaults.items():
            added.setdefault(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._added_defaults = {name: self.defaults.get(name) for name in ("decoupled", "foreach")}
        for group in self.param_groups:  # a state of the package has none of these
            group.setdefault("base_lr", group.get("initial_lr", group["lr"]))
            group.setdefault("decoupled", False)
            group.setdefault("foreach", None)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient.

        Args:
            closure: Computes the loss again, if given.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: A gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for bounds, parameters in self._by_bounds(group):
                for together in _batches(parameters, foreach=group["foreach"]):
                    _update(together, [self.state[parameter] for parameter in together], group=group, bounds=bounds)
        return loss

    def _by_bounds(self, group: dict[str, Any]) -> Iterable[tuple[RateBounds, list[Tensor]]]:
        """The group's parameters with a gradient, those together that are at the same step, device and type."""
        alike: dict[tuple[int, torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError("AdaBound: a gradient is sparse, but only dense ones are supported")
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            if group["amsbound"] and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = torch.zeros_like(parameter)
            state["step"] += 1
            alike[int(state["step"]), parameter.device, parameter.dtype].append(parameter)
        return [(rate_bounds(group, step=key[0]), parameters) for key, parameters in alike.items()]


def rate_bounds(group: dict[str, Any], *, step: int) -> RateBounds:
    """The bounds of a group's rates at step `step`, counted from 1."""
    lr, base_lr, gamma = group["lr"], group["base_lr"], group["gamma"]
    beta1, beta2 = group["betas"]
    final_lr = group["final_lr"] * (lr / base_lr if base_lr else float(lr > 0))
    return RateBounds(
        step_size=lr * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step),
        lower=final_lr * (1.0 - 1.0 / (gamma * step + 1.0)),
        upper=final_lr * (1.0 + 1.0 / (gamma * step)) if gamma else math.inf,
    )


def _batches(parameters: list[Tensor], *, foreach: bool | None) -> list[list[Tensor]]:
    """The parameters, those together that are to be updated together."""
    if foreach or (foreach is None and parameters[0].device.type != "cpu"):
        return [parameters]
    batches: list[list[Tensor]] = [[]]
    n_elements = 0
    for parameter in parameters:
        if batches[-1] and (foreach is False or n_elements + parameter.numel() > _CACHED_ELEMENTS):
            batches.append([])
            n_elements = 0
        batches[-1].append(parameter)
        n_elements += parameter.numel()
    return batches


def _update(
    parameters: list[Tensor], states: list[dict[str, Any]], *, group: dict[str, Any], bounds: RateBounds
) -> None:
    """One step of tensors that share bounds, all operations in place but for one scratch copy of each."""
    beta1, beta2 = group["betas"]
    gradients = [cast("Tensor", parameter.grad) for parameter in parameters]
    means = [state["exp_avg"] for state in states]
    squares = [state["exp_avg_sq"] for state in states]
    if group["weight_decay"]:
        if group["decoupled"]:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        else:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
    torch._foreach_lerp_(means, gradients, 1.0 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1.0 - beta2)
    if group["amsbound"]:
        largest = [state["max_exp_avg_sq"] for state in states]
        torch._foreach_maximum_(largest, squares)
        squares = largest
    if bounds.upper == 0.0 or bounds.step_size == 0.0:
        return  # lr or final_lr is 0: nothing moves
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_add_(denominators, group["eps"])
    # clip(s / d, lower, upper) m = s m / clip(d, s / upper, s / lower): one division less
    torch._foreach_clamp_min_(denominators, bounds.step_size / bounds.upper)
    if bounds.lower > 0.0:
        torch._foreach_clamp_max_(denominators, bounds.step_size / bounds.lower)
    torch._foreach_addcdiv_(parameters, means, denominators, value=-bounds.step_size)
