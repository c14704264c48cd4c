"""Which trials are stopped early: Tune's ASHA, told what the ledger knows.

No scheduler that pauses trials is offered. HyperBand compares the trials of a bracket, and population-based training
those of a population, only where all of them have a slot at once; and Tune's population-based training copies weights
without the metrics, threshold and configuration that belong to them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from tissueclock.errors import StudyError
from tissueclock.records import SweepSpec
from tissueclock.settings import REMOVED_SCHEDULERS
from tissueclock.storage.ledger import TrialEntry
from tissueclock.sweeping.searcher import METRIC


def make_scheduler(
    spec: SweepSpec, *, past: Iterable[TrialEntry] = (), names: Mapping[str, str] = MappingProxyType({})
) -> TrialScheduler:
    """The scheduler that the spec names; its clock is the epoch, so that a resumed trial keeps its age.

    Args:
        spec: The sweep.
        past: The trials of its ledger.
        names: Ledger names by Tune's trial ids; the searcher fills it.

    Raises:
        StudyError: It is one that 0.1 had.
    """
    chosen = spec.inputs.scheduler
    if (why := REMOVED_SCHEDULERS.get(chosen.name)) is not None:
        raise StudyError(f"phase {spec.phase}: scheduler {chosen.name} was removed: {why}; take asha or none")
    return FIFOScheduler() if chosen.name == "none" else LedgerAsha(spec, past=past, names=names)


@dataclass(frozen=True, slots=True)
class _PastTrial:
    trial_id: str


class LedgerAsha(AsyncHyperBandScheduler):  # type: ignore[misc, unused-ignore]
    """ASHA whose rungs are those of a sweep that was never interrupted.

    Args:
        spec: The sweep.
        past: The trials of its ledger; those that have not ended are told when Tune adds them.
        names: Ledger names by Tune's trial ids.
    """

    def __init__(self, spec: SweepSpec, *, past: Iterable[TrialEntry], names: Mapping[str, str]) -> None:
        chosen = spec.inputs.scheduler
        super().__init__(
            time_attr="epoch",
            metric=METRIC,
            mode="max",
            max_t=spec.inputs.epochs,
            grace_period=min(chosen.grace_epochs, spec.inputs.epochs),
            reduction_factor=chosen.reduction_factor,
        )
        self._names = names
        self._interrupted: dict[str, dict[int, float]] = {}
        for trial in past:
            values = {epoch: trial.metrics[epoch][METRIC] for epoch in sorted(trial.metrics)}
            if trial.status is None:
                values.pop(trial.last_epoch, None)  # it is reported again, and judged then
                self._interrupted[trial.name] = values
            else:
                ended = _PastTrial(trial.name)
                super().on_trial_add(None, ended)
                self._tell(ended, values)
                super().on_trial_remove(None, ended)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Tells what a trial reported before it was interrupted: later epochs must not stand for its first rungs."""
        super().on_trial_add(tune_controller, trial)
        self._tell(trial, self._interrupted.pop(self._names.get(trial.trial_id, ""), {}))

    def _tell(self, trial: Any, values: Mapping[int, float]) -> None:
        for epoch, value in values.items():
            super().on_trial_result(None, trial, {"epoch": epoch, METRIC: value})
