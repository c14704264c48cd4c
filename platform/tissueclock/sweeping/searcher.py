"""The searchers that Tune asks: Optuna's suggestions, and what confirms them; remembered in the ledger alone.

Optuna keeps no storage of its own. A fresh study is told the ledger's trials each time the sweep is taken up, so there
is nothing that could disagree with the ledger; trials in flight are handed out first, under the name they had.
"""

from collections import deque
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from tissueclock.records import SweepSpec
from tissueclock.seeds import derive_seed
from tissueclock.storage.ledger import LedgerWriter, TrialEntry
from tissueclock.sweeping.space import Space

METRIC = "best_value"
SLOT = "slot"
"""Where a configuration tells Tune the devices that trials of the sweep are known to need; 0: as the study says."""
_N_RANDOM_FIRST = 10
_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.COMPLETE, "failed": TrialState.FAIL}


class LedgerSearcher(Searcher):
    """Suggests what the study still asks for.

    A pruned trial reaches Optuna with its best value, as a complete one: leaving it out would let the sampler return to
    where it was.

    Args:
        writer: The sweep's ledger.
        space: What is tuned.
        spec: The sweep.

    Attributes:
        names: Ledger names by Tune's trial ids.
        n_wanted: Trials that the study asks for.
    """

    def __init__(self, *, writer: LedgerWriter, space: Space, spec: SweepSpec) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.names: dict[str, str] = {}
        self._writer = writer
        self._space = space
        self._spec = spec
        self.n_wanted = wanted_trials(space, spec)
        self._in_flight = deque(writer.state.with_status(None))
        self._grid = _shuffled_grid(space, spec) if spec.inputs.searcher == "grid" else None
        self._asked: dict[str, optuna.trial.Trial] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=_sampler(spec, len(writer.state.trials)))
        for trial in writer.state.with_status("finished", "pruned", "failed"):
            self._tell_past(trial)

    @property
    def n_left(self) -> int:
        """Trials left to hand out: those in flight, also where fewer are asked for by now, and those not asked yet."""
        return len(self._in_flight) + max(0, self.n_wanted - len(self._writer.state.trials))

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial's configuration, or FINISHED where nothing is left to ask."""
        if self._in_flight:
            trial = self._in_flight.popleft()
            self._study.enqueue_trial(self._tuned(trial))
            self._asked[trial.name] = self._study.ask(dict(self._space.distributions))
        elif len(self._writer.state.trials) < self.n_wanted:
            trial = self._ask()
        else:
            return str(Searcher.FINISHED)
        self.names[trial_id] = trial.name
        return _config(trial, self._writer)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells Optuna the trial's best value, from the ledger."""
        name = self.names[trial_id]
        value = self._writer.state.trials[name].best_value
        asked = self._asked.pop(name, None)
        if asked is None:
            return
        if error or value is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, value)

    def _ask(self) -> TrialEntry:
        name = f"t{len(self._writer.state.trials) + 1:04d}"
        if self._grid is not None:
            self._study.enqueue_trial(self._grid[len(self._writer.state.trials)])
        self._asked[name] = self._study.ask(dict(self._space.distributions))
        self._writer.append(
            "asked",
            trial=name,
            hyperparameters={**self._space.fixed, **self._asked[name].params},
            seed=derive_seed(self._spec.inputs.seed, self._spec.key, name),
        )
        return self._writer.state.trials[name]

    def _tell_past(self, trial: TrialEntry) -> None:
        state = _STATES[trial.status or "failed"] if trial.best_value is not None else TrialState.FAIL
        self._study.add_trial(
            create_trial(
                params=self._tuned(trial),
                distributions=dict(self._space.distributions),
                value=trial.best_value if state is TrialState.COMPLETE else None,
                state=state,
            )
        )

    def _tuned(self, trial: TrialEntry) -> dict[str, Any]:
        return {name: trial.hyperparameters[name] for name in self._space.distributions}

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the ledger is what is saved."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: a sweep is taken up from its ledger, never by `Tuner.restore`."""


class ConfirmingSearcher(Searcher):
    """Hands out the runs that confirm trials, as the ledger has them, those in flight included.

    Args:
        writer: The sweep's ledger, in which they were asked.

    Attributes:
        names: Ledger names by Tune's trial ids.
    """

    def __init__(self, writer: LedgerWriter) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.names: dict[str, str] = {}
        self._writer = writer
        self._open = deque(entry for entry in writer.state.confirmations.values() if entry.status is None)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next run's configuration, or FINISHED where none is left."""
        if not self._open:
            return str(Searcher.FINISHED)
        trial = self._open.popleft()
        self.names[trial_id] = trial.name
        return _config(trial, self._writer)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: nobody learns from it."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the ledger is what is saved."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing, likewise."""


def _config(trial: TrialEntry, writer: LedgerWriter) -> dict[str, Any]:
    """What a worker is handed of a trial."""
    asked: dict[str, Any] = {"hyperparameters": trial.hyperparameters, "seed": trial.seed}
    asked[SLOT] = writer.state.slot
    return asked | {name: value for name, value in writer.state.facts.items() if name == "inputs"}


def wanted_trials(space: Space, spec: SweepSpec) -> int:
    """Trials that the study asks for; a grid ends with its last point."""
    grid = space.grid() if spec.inputs.searcher == "grid" else None
    return spec.budget.trials if grid is None else min(spec.budget.trials, len(grid))


def _sampler(spec: SweepSpec, n_asked: int) -> optuna.samplers.BaseSampler:
    # The same seed on a study that has trials would repeat its points, so the seed counts them in.
    seed = derive_seed(spec.inputs.seed, spec.key, "searcher", n_asked) % 2**32
    if spec.inputs.searcher == "tpe":
        n_first = min(_N_RANDOM_FIRST, max(2, spec.budget.trials // 3))
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_first)
    return optuna.samplers.RandomSampler(seed=seed)


def _shuffled_grid(space: Space, spec: SweepSpec) -> list[dict[str, Any]]:
    points = space.grid() or []
    return sorted(points, key=lambda point: derive_seed(spec.inputs.seed, spec.key, str(sorted(point.items()))))
