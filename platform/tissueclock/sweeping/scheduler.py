"""Which trials are stopped early: Tune's schedulers by name, told what the ledger knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.sample import Domain

from tissueclock.errors import StudyError
from tissueclock.learning.hyperparameters import ROWS
from tissueclock.records import SweepSpec
from tissueclock.seeds import derive_seed
from tissueclock.storage.ledger import TrialEntry
from tissueclock.sweeping.searcher import METRIC

_PERTURBED = tuple(name for name, row in ROWS.items() if row.in_flight)


def make_scheduler(spec: SweepSpec, domains: Mapping[str, Domain]) -> TrialScheduler:
    """The scheduler that the spec names; its clock is the epoch, so that a resumed trial keeps its age.

    Raises:
        StudyError: `pbt` where nothing that may change in flight is tuned; `hyperband` or `pbt` for trials of several
            workers.
    """
    chosen = spec.inputs.scheduler
    shared = {"time_attr": "epoch", "metric": METRIC, "mode": "max"}
    grace = min(chosen.grace_epochs, spec.inputs.epochs)
    n_workers = spec.budget.resources.workers
    if n_workers > 1 and chosen.name in ("hyperband", "pbt"):
        raise StudyError(
            f"phase {spec.phase}: scheduler is {chosen.name}, which pauses trials, and one of {n_workers} "
            "workers cannot be; take asha or none"
        )
    match chosen.name:
        case "asha":
            return AsyncHyperBandScheduler(
                **shared, max_t=spec.inputs.epochs, grace_period=grace, reduction_factor=chosen.reduction_factor
            )
        case "hyperband":
            return HyperBandScheduler(**shared, max_t=spec.inputs.epochs, reduction_factor=chosen.reduction_factor)
        case "pbt":
            perturbed = {name: domains[name] for name in _PERTURBED if name in domains}
            if not perturbed:
                raise StudyError(
                    f"phase {spec.phase}: scheduler is pbt, but none of {', '.join(_PERTURBED)} is tuned; "
                    "take asha or hyperband"
                )
            return _LedgerPbt(
                **shared,
                perturbation_interval=chosen.perturb_epochs,
                burn_in_period=grace,
                hyperparam_mutations={"hyperparameters": perturbed},
                log_config=False,
            )
    return FIFOScheduler()


class _LedgerPbt(PopulationBasedTraining):
    """PBT beside a searcher of ours.

    Tune refuses PBT with any searcher, since one that learns would be told values of configurations that PBT changed
    meanwhile. `LedgerSearcher` draws a population at random and learns nothing from it.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(_WithoutSearcher(), trial)


@dataclass(frozen=True, slots=True)
class _WithoutSearcher:
    search_alg: None = None


@dataclass(frozen=True, slots=True)
class _PastTrial:
    trial_id: str


def replay(scheduler: TrialScheduler, trials: Iterable[TrialEntry]) -> None:
    """Tells ASHA what trials that have ended reported, so that its rungs are those of a sweep never interrupted.

    The other schedulers hold no memory of ended trials that matters: HyperBand fills new brackets, PBT clones only
    trials that are running.
    """
    if not isinstance(scheduler, AsyncHyperBandScheduler):
        return
    for trial in trials:
        past = _PastTrial(trial.name)
        scheduler.on_trial_add(None, past)
        for epoch in sorted(trial.metrics):
            result: dict[str, Any] = {"epoch": epoch, METRIC: trial.metrics[epoch][METRIC]}
            scheduler.on_trial_result(None, past, result)
        scheduler.on_trial_remove(None, past)


def scheduler_seed(spec: SweepSpec) -> int:
    """The seed of numpy's and Python's global generators, which PBT perturbs with."""
    return derive_seed(spec.inputs.seed, spec.key, "scheduler") % 2**32
