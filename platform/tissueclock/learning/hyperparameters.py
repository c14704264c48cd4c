"""What can be tuned of learning: names, defaults and ranges.

Refuses to know search spaces, and what the network's own arguments are.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from tissueclock.errors import InputError
from tissueclock.learning.schedule import Schedule

OptimiserName = Literal["adabound", "amsbound", "sgd", "adamw"]
Learned = Literal["network", "gates", "gates+slices", "gates+slices+head", "head"]
PosWeight = Literal["off", "balanced"]


class HyperparameterError(InputError):
    """A hyperparameter is unknown, or its value is out of range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One configuration of learning.

    Attributes:
        optimiser: `adabound`, `amsbound`, `sgd` (momentum) or `adamw`.
        lr: Learning rate, at least 0.
        final_lr: The rate that AdaBound's bounds close in on, at least 0.
        gamma: How fast they do, by step, in [0, 1).
        schedule: `constant`, or `cosine`: rates and bounds fall to a hundredth over the epochs that were asked for.
        beta1: Decay of the gradient's average (SGD: the momentum), in [0, 1).
        beta2: Decay of the squared gradient's average, in [0, 1).
        weight_decay: Of weights, not of biases, norms and slice positions; at least 0. Added to the gradient, but
            decoupled for `adamw`.
        slice_lr_factor: Learning rate of the slice positions over `lr`, at least 0.
        batch_size: Hemispheres in a step, at least 1.
        freeze_depth: Stages that do not learn, counted from the input, 0 to 5.
        learned: `network` is what freeze depth leaves; the others learn no stage, but the named parts alone.
        dropout: Of the network's pooled features, in [0, 1).
        pos_weight: `balanced` weighs positives by negatives / positives of the training samples.
        augmentation: Strength; 0 is none.
        views: Augmented views of a hemisphere where stages are frozen, each seen again every so many epochs, so that
            trials share what the stages make of them; 0: a new one each epoch, shared with nobody.

    Values from outside come through `from_mapping`, which checks them.
    """

    optimiser: OptimiserName = "adabound"
    lr: float = 1e-3
    final_lr: float = 0.1
    gamma: float = 1e-3
    schedule: Schedule = "constant"
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 1e-5
    slice_lr_factor: float = 5.0
    batch_size: int = 8
    freeze_depth: int = 0
    learned: Learned = "network"
    dropout: float = 0.0
    pos_weight: PosWeight = "off"
    augmentation: float = 1.0
    views: int = 4

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """The defaults, with `values` in their place.

        Raises:
            HyperparameterError: A name is unknown, or a value is out of its range.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise HyperparameterError(f"{unknown[0]}: not a hyperparameter of learning; these are {', '.join(known)}")
        _check_choices(values)
        _check_ranges(values)
        return cls(**values)

    def as_facts(self) -> dict[str, Any]:
        """All names and values, as JSON facts."""
        return asdict(self)


_CHOICES: dict[str, tuple[str, ...]] = {
    "optimiser": get_args(OptimiserName),
    "schedule": get_args(Schedule),
    "learned": get_args(Learned),
    "pos_weight": get_args(PosWeight),
}

_BELOW_ONE = math.nextafter(1.0, 0.0)

_RANGES: dict[str, tuple[float, float, type]] = {
    "lr": (0.0, 1e6, float),
    "final_lr": (0.0, 1e6, float),
    "gamma": (0.0, _BELOW_ONE, float),
    "beta1": (0.0, _BELOW_ONE, float),
    "beta2": (0.0, _BELOW_ONE, float),
    "weight_decay": (0.0, 1e6, float),
    "slice_lr_factor": (0.0, 1e6, float),
    "batch_size": (1, math.inf, int),
    "freeze_depth": (0, 5, int),
    "dropout": (0.0, _BELOW_ONE, float),
    "augmentation": (0.0, 10.0, float),
    "views": (0, 10_000, int),
}


def _check_choices(values: Mapping[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if name in values and values[name] not in choices:
            raise HyperparameterError(f"{name}: {values[name]!r}, but it must be one of {', '.join(choices)}")


def _check_ranges(values: Mapping[str, Any]) -> None:
    for name in _RANGES.keys() & values.keys():
        least, most, kind = _RANGES[name]
        value = values[name]
        is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
        if not (is_number and least <= value <= most):
            allowed = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:.6g}"
            noun = "a number" if kind is float else "a whole number"
            raise HyperparameterError(f"{name}: {value!r}, but it must be {noun} {allowed}")
