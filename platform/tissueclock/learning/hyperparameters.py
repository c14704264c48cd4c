"""Every hyperparameter, a row each: default, range, scale, its meaning.

Search, MLflow's columns, the report and the reference table read these rows. Imports no torch.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from tissueclock.errors import InputError
from tissueclock.learning.schedule import Schedule
from tissueclock.networks.settings import Attention, RadiomicsModel

OptimiserName = Literal["adabound", "amsbound", "sgd", "adamw"]
Learned = Literal["network", "gates", "gates+slices", "gates+slices+head", "head"]
PosWeight = Literal["off", "balanced"]

_BELOW_ONE = math.nextafter(1.0, 0.0)
_ROW = "row"


class HyperparameterError(InputError):
    """A hyperparameter is unknown, or its value is out of range."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a hyperparameter.

    Attributes:
        meaning: One sentence, with its unit.
        least: The smallest number allowed.
        most: The largest.
        choices: The words allowed, where it is no number.
        log: Whether it spans decades: searched, drawn and compared by its logarithm.
        told: Whether a configuration in a few words names it.
    """

    meaning: str
    least: float = 0.0
    most: float = math.inf
    choices: tuple[str, ...] = ()
    log: bool = False
    told: bool = False


def _row(default: Any, meaning: str, **facts: Any) -> Any:
    return dataclasses.field(default=default, metadata={_ROW: Row(meaning, **facts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One configuration of a trial.

    Values from outside come through `from_mapping`, which checks them.
    """

    parent: int = _row(
        1, "Which promoted checkpoint of the phase before gives the first weights; 1 is the best.", least=1.0, told=True
    )
    learned: Learned = _row(
        "network",
        "`network` is what freeze depth leaves; the others learn no stage, but the named parts alone.",
        choices=get_args(Learned),
        told=True,
    )
    freeze_depth: int = _row(0, "Stages that do not learn, counted from the input.", most=5.0, told=True)
    attention: Attention = _row(
        "off",
        "Whether attention is computed, and under which norm; softmax unless said, where voxels are attended.",
        choices=get_args(Attention),
        told=True,
    )
    sharpness: float = _row(
        1.0, "Of the softmax, and of the soft maximum, over voxels that are attended.", least=1e-3, most=1e3, log=True
    )
    optimiser: OptimiserName = _row(
        "adabound",
        "AdaBound, AMSBound (its maximum over past gradients), SGD with momentum, or AdamW.",
        choices=get_args(OptimiserName),
        told=True,
    )
    lr: float = _row(1e-3, "Learning rate of the first steps.", most=1e6, log=True, told=True)
    final_lr: float = _row(0.1, "The rate that AdaBound's bounds close in on.", most=1e6, log=True)
    gamma: float = _row(1e-3, "How fast AdaBound's bounds close in, by step.", most=_BELOW_ONE, log=True)
    schedule: Schedule = _row(
        "constant",
        "`cosine`: rates and bounds fall to a hundredth over the epochs that were asked for.",
        choices=get_args(Schedule),
    )
    beta1: float = _row(0.9, "Decay of the gradient's average; SGD: the momentum.", most=_BELOW_ONE)
    beta2: float = _row(0.999, "Decay of the squared gradient's average.", most=_BELOW_ONE)
    weight_decay: float = _row(
        1e-5,
        "Of weights, not of biases, norms and slice positions; added to the gradient, decoupled for adamw.",
        most=1e6,
        log=True,
    )
    slice_lr_factor: float = _row(5.0, "Learning rate of the slice positions over `lr`.", most=1e6)
    batch_size: int = _row(8, "Hemispheres in a step.", least=1.0)
    dropout: float = _row(0.0, "Of the network's pooled features.", most=_BELOW_ONE)
    pos_weight: PosWeight = _row(
        "off",
        "`balanced` weighs positives by negatives / positives of the training samples.",
        choices=get_args(PosWeight),
    )
    augmentation: float = _row(
        1.0,
        "Strength; 0 is none, 1 is +-10 degrees, scale 0.9 to 1.1 and +-10 % intensity.",
        most=10.0,
    )
    views: int = _row(
        4,
        "Augmented views of a hemisphere where stages are frozen, each seen again every so many epochs, so that trials "
        "share what the stages make of them; 0: a new one each epoch, shared with nobody.",
        most=10_000.0,
    )
    flair_dropout: float = _row(
        0.0,
        "How often FLAIR is taken from a hemisphere that is learned from, so that patients without it can be answered "
        "for; needs the input `flair_present`.",
        most=0.9,
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """The defaults, with `values` in their place.

        Raises:
            HyperparameterError: A name is unknown, or a value is out of its range.
        """
        check(values, rows=NETWORK_ROWS)
        return cls(**values)

    def as_facts(self) -> dict[str, Any]:
        """All names and values, as JSON facts."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiomicsHyperparameters:
    """One configuration of a trial of the radiomics baseline.

    Values from outside come through `from_mapping`, which checks them.
    """

    model: RadiomicsModel = _row(
        "logistic",
        "Radiomics: logistic regression, linear support vector machine, or random forest of 500 trees.",
        choices=get_args(RadiomicsModel),
        told=True,
    )
    c: float = _row(
        1.0,
        "Radiomics: inverse strength of regularisation; of logistic and svm.",
        least=1e-6,
        most=1e6,
        log=True,
        told=True,
    )
    tree_depth: int = _row(6, "Radiomics: most splits from root to leaf; of forest.", least=1.0, most=8.0)
    leaf: int = _row(3, "Radiomics: fewest training hemispheres in a leaf; of forest.", least=1.0)
    alpha: float = _row(
        0.2,
        "Radiomics: features stay whose t-test has p below it, divided by their number.",
        least=1e-12,
        most=1e6,
        log=True,
    )
    least_features: int = _row(
        5, "Radiomics: of the smallest p, so many features stay in any case.", least=1.0, most=265.0
    )
    adc_factor: float = _row(
        0.835,
        "Radiomics: ADC below this fraction of where the brain's begins to be normal is restricted.",
        least=0.1,
        most=1.5,
    )
    b1000_sd: float = _row(
        1.5, "Radiomics: b1000 above the tissue's mean by so many standard deviations is bright.", most=10.0
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "RadiomicsHyperparameters":
        """The defaults, with `values` in their place.

        Raises:
            HyperparameterError: A name is unknown, or a value is out of its range.
        """
        check(values, rows=RADIOMICS_ROWS)
        return cls(**values)

    def as_facts(self) -> dict[str, Any]:
        """All names and values, as JSON facts."""
        return asdict(self)


NETWORK_ROWS: Mapping[str, Row] = {field.name: field.metadata[_ROW] for field in fields(Hyperparameters)}
"""Of networks, by name, in the order in which a person wants to be told."""

RADIOMICS_ROWS: Mapping[str, Row] = {field.name: field.metadata[_ROW] for field in fields(RadiomicsHyperparameters)}
"""Of the radiomics baseline, likewise."""

ROWS: Mapping[str, Row] = {**NETWORK_ROWS, **RADIOMICS_ROWS}
"""All: no name means two things."""

_INTEGERS = frozenset(
    field.name for kind in (Hyperparameters, RadiomicsHyperparameters) for field in fields(kind) if field.type is int
)


def check(values: Mapping[str, Any], *, rows: Mapping[str, Row] = ROWS) -> None:
    """Raises HyperparameterError where a name is not among `rows`, or a value is out of its range."""
    if unknown := sorted(set(values) - set(rows)):
        raise HyperparameterError(f"{unknown[0]}: not a hyperparameter; these are {', '.join(rows)}")
    for name, value in values.items():
        row = rows[name]
        if row.choices and value not in row.choices:
            raise HyperparameterError(f"{name}: {value!r}, but it must be one of {', '.join(row.choices)}")
        if not row.choices:
            _check_range(name, value, row)


def _check_range(name: str, value: Any, row: Row) -> None:
    is_whole = name in _INTEGERS
    is_number = isinstance(value, int if is_whole else (int, float)) and not isinstance(value, bool)
    if not (is_number and row.least <= value <= row.most):
        allowed = f"at least {row.least:g}" if row.most == math.inf else f"from {row.least:g} to {row.most:.6g}"
        noun = "a whole number" if is_whole else "a number"
        raise HyperparameterError(f"{name}: {value!r}, but it must be {noun} {allowed}")
