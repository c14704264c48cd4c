"""What one knob was worth: the winner's configuration learned again with that knob alone changed, same folds and seeds.

How trials of a search differ in a knob is no comparison: the searcher chose where to look. These runs are one, paired
by seed with the runs that confirmed the winner.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from tissueclock.settings import Budget
from tissueclock.storage.ledger import LedgerState, TrialEntry
from tissueclock.sweeping.space import Space

_OFF = "off"
_STEP = 3.0
"""By how much a number on a logarithmic scale is changed: a third of it, or three times."""


@dataclass(frozen=True, slots=True)
class ContrastRun:
    """A run to be asked.

    Attributes:
        name: In the ledger.
        confirms: The winner's name.
        changed: The knob.
        hyperparameters: The winner's, with the knob changed.
        seed: That of the run that confirmed the winner, to be paired with.
    """

    name: str
    confirms: str
    changed: str
    hyperparameters: dict[str, Any]
    seed: int


def contrasts_to_ask(state: LedgerState, budget: Budget, space: Space) -> list[ContrastRun]:
    """Which runs of the winner with one knob changed have not been asked; needs all confirmations at their end.

    A knob that the sweep does not tune, or that can take no other value, is left out.
    """
    again = [entry for entry in state.confirmations.values() if entry.changed is None and entry.best_value is not None]
    means = {name: fmean(values) for name in state.trials if (values := state.confirmed(name))}
    if not budget.contrast or not means:
        return []
    winner = state.trials[max(means, key=lambda name: means[name])]
    runs = []
    for knob in budget.contrast:
        distribution = space.distributions.get(knob)
        if distribution is None or knob not in winner.hyperparameters:
            continue
        value = other_value(winner.hyperparameters[knob], distribution)
        if value is None:
            continue
        runs += [
            ContrastRun(f"{entry.name}-{knob}", winner.name, knob, {**winner.hyperparameters, knob: value}, entry.seed)
            for entry in again
            if entry.confirms == winner.name
        ]
    return [run for run in runs if run.name not in state.confirmations]


def other_value(value: Any, distribution: BaseDistribution) -> Any:
    """What a knob is changed to; None where it can take no other value.

    A choice: off, or the first other one. A whole number: the lowest, or the highest where it is that. Any other: a
    third of it, or three times where that is out of bounds.
    """
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return _OFF if _OFF in others else next(iter(others), None)
    low, high = distribution.low, distribution.high
    if isinstance(value, int):
        other = low if value != low else high
        return None if other == value else other
    lower, higher = value / _STEP, value * _STEP
    return lower if lower >= low else higher if higher <= high else None


def unfinished(state: LedgerState) -> list[TrialEntry]:
    """Confirming and contrasting runs that have not ended."""
    return [entry for entry in state.confirmations.values() if entry.status is None]
