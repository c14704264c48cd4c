"""Networks beside the radiomics baseline, on the patients in whom it found a region of interest.

Lee et al. 2020 could use 221 of 422 patients: a model that answers for half of them is compared on that half, and on
everyone, where those without a region have the prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tissueclock.comparing.observers import OBSERVER
from tissueclock.comparing.results import ComparedQuestion, SweepResult, choose
from tissueclock.comparing.scores import NOBODY_CALLED, Confusion, Scores, count_calls
from tissueclock.comparing.statistics import AucEstimate, estimate_auc


@dataclass(frozen=True, slots=True, eq=False)
class OnRegions:
    """One answer to a question, on the units with a region.

    Attributes:
        who: A sweep's label, or the observer.
        n: Units with a region that it scored.
        n_positive: Positive ones among them.
        auc: None where there is one class only.
        confusion: At the threshold of validation; of nobody, for the observer.
    """

    who: str
    n: int
    n_positive: int
    auc: AucEstimate | None
    confusion: Confusion


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Where the radiomics baseline found a region, and what all are worth there.

    Attributes:
        sweep: Whose regions: the baseline that validation prefers.
        n: Units with a region.
        n_all: Units of the holdout.
        rows: The baseline, the networks, the observer.
    """

    sweep: str
    n: int
    n_all: int
    rows: tuple[OnRegions, ...]


def compare_on_regions(sweeps: Sequence[SweepResult]) -> dict[ComparedQuestion, Regions]:
    """By question, for those that a radiomics baseline answered."""
    found = {}
    for question in dict.fromkeys(sweep.question for sweep in sweeps):
        asked = [sweep for sweep in sweeps if sweep.question == question and sweep.holdout]
        baseline = choose(sweep for sweep in asked if sweep.is_radiomics)
        if baseline is None or baseline.holdout is None or baseline.holdout.with_region is None:
            continue
        within = baseline.holdout.with_region
        networks = [_of_network(sweep, within) for sweep in sorted(asked, key=lambda sweep: not sweep.is_radiomics)]
        observers = [_of_observer(sweep, within) for sweep in asked if sweep.observer][:1]
        rows = tuple(row for row in (*networks, *observers) if row is not None)
        found[question] = Regions(baseline.label, len(within), len(baseline.holdout.scores.units), rows)
    return found


def _of_network(sweep: SweepResult, within: frozenset[str]) -> OnRegions | None:
    if sweep.holdout is None:
        return None
    scores = _within(sweep.holdout.scores, within)
    return _row(sweep.label, scores, count_calls(scores.labels, scores.logits >= sweep.holdout.threshold))


def _of_observer(sweep: SweepResult, within: frozenset[str]) -> OnRegions | None:
    return _row(OBSERVER, _within(sweep.observer.scores, within), NOBODY_CALLED) if sweep.observer else None


def _row(who: str, scores: Scores, confusion: Confusion) -> OnRegions:
    auc = estimate_auc(scores.labels, scores.logits, patients=scores.patients) if scores.has_both else None
    return OnRegions(who, len(scores.units), scores.n_positive, auc, confusion)


def _within(scores: Scores, units: frozenset[str]) -> Scores:
    return scores.take(tuple(unit for unit in scores.units if unit in units))
