"""One sweep, from wherever its ledger stands to its end."""

import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.execution.placement_groups import resource_dict_to_pg_factory
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tissueclock.errors import SweepError
from tissueclock.records import SweepJob, SweepSpec
from tissueclock.seeds import derive_seed
from tissueclock.settings import Resources
from tissueclock.storage.files import digest_facts, write_json
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.ledger import SCHEMA, LedgerState, LedgerWriter, read_ledger
from tissueclock.sweeping.bill import bill_sweep, measure_on_cluster
from tissueclock.sweeping.contrast import contrasts_to_ask, unfinished
from tissueclock.sweeping.limit import ShareStopper
from tissueclock.sweeping.memory import slot, whole_slot
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.promotion import confirmations_to_ask, promote, promotion_fault, settle_trial
from tissueclock.sweeping.recorder import Recorder
from tissueclock.sweeping.room import slots
from tissueclock.sweeping.scheduler import make_scheduler
from tissueclock.sweeping.searcher import SLOT, ConfirmingSearcher, LedgerSearcher, wanted_trials
from tissueclock.sweeping.space import Space, make_space
from tissueclock.sweeping.tasks import run_task
from tissueclock.training.bill import measure_as_trial
from tissueclock.training.phase import LearningTask

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger has it all; CSV, JSON and TensorBoard copies cost time
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own snapshot is never read
    "RAY_AIR_NEW_OUTPUT": "0",
}


_DRIVER = {"cpu": 0, "memory": 1}
"""Of a trial on several workers, for which Ray Train reserves: all CPUs may be theirs, and Tune wants something."""


def inputs_digest(spec: SweepSpec, phase: SweptPhase, space: Space, parents: tuple[str, ...]) -> str:
    """All that a trial of the sweep depends on, digested: its spec's key, phase, space, and parents' weights."""
    facts = {"key": spec.key, "space": space.digest, "parents": list(parents)}
    return digest_facts(facts if phase.as_in_0_1 else {**facts, "phase": dict(phase.facts)})


def recorded_facts(spec: SweepSpec, phase: SweptPhase, space: Space) -> dict[str, Any]:
    """What `sweep.json` tells of a sweep: the spec, what the phase `asks`, and within which `bounds`."""
    return {**spec.as_facts(), "asks": dict(phase.facts), "bounds": space.as_facts()}


def job_space(job: SweepJob, phase: SweptPhase) -> Space:
    """The space of a job whose parents are known."""
    return make_space(
        phase.space,
        job.spec,
        accepted=phase.phase.task.accepted(),
        n_parents=len(job.parents),
    )


def has_trials_asked_for(state: LedgerState, spec: SweepSpec, space: Space) -> bool:
    """Whether the ledger says that no trial of what is asked for is left to run."""
    enough = len(state.trials) >= wanted_trials(space, spec) or _is_spent(spec, state)
    is_confirmed = not confirmations_to_ask(state, spec.budget) and not contrasts_to_ask(state, spec.budget, space)
    return state.closed and enough and is_confirmed and all(trial.status for trial in state.entries())


def is_complete(job: SweepJob, phase: SweptPhase) -> bool:
    """Whether the ledger says that all that is asked for was done, and the promoted checkpoints are there, whole."""
    state = read_ledger(job.folder.ledger)
    return (
        has_trials_asked_for(state, job.spec, job_space(job, phase))
        and state.facts.get("arms") == list(job.spec.arms)
        and promotion_fault(job, state) is None
    )


def run_sweep(job: SweepJob, phase: SweptPhase, *, retry_failed: bool = False, share_h: float | None = None) -> None:
    """Runs what the ledger says is left of a sweep, promotes, and scores the holdout; needs a connected Ray.

    Run again after any interruption it goes on: trials that ended are not run again, trials in flight go on from their
    last checkpoint, and a complete sweep returns at once.

    Args:
        job: The sweep.
        phase: Its trainable and space.
        retry_failed: Whether trials that failed are taken up once more, if there is time left for them.
        share_h: Its share of the study's budget, device-hours, with all that it has cost before; None: no limit.

    Raises:
        SweepError: No trial left a checkpoint.
        BusyError: Another process is running this sweep.
    """
    os.environ.update(_QUIET)
    space = job_space(job, phase)
    with LedgerWriter(job.folder.ledger) as writer:
        _open(job, writer, recorded_facts(job.spec, phase, space))
        is_spent = _is_spent(job.spec, writer.state)
        if retry_failed and not is_spent:
            for trial in [trial for trial in writer.state.entries() if trial.status == "failed"]:
                # it begins anew: nothing of the attempt is kept
                shutil.rmtree(job.folder.trial(trial.name).path, ignore_errors=True)
                writer.append("retried", trial=trial.name)
        for trial in [trial for trial in writer.state.entries() if trial.status is not None]:
            settle_trial(job.folder.trial(trial.name))
        searcher = LedgerSearcher(writer=writer, space=space, spec=job.spec)
        n_left = 0 if is_spent else searcher.n_left
        if is_complete(job, phase):
            return
        if writer.state.closed:
            writer.append("reopened")
        if writer.state.facts.get("arms") != list(job.spec.arms):
            writer.append("shared", arms=list(job.spec.arms))
        _bill(job, phase, space=space, writer=writer)
        if n_left > 0:
            _search(job, phase, writer=writer, searcher=searcher, n_left=n_left, share_h=share_h)
        _confirm(job, phase, writer=writer)
        _contrast(job, phase, space=space, writer=writer)
        promoted = promote(job, writer)
        _score(job, phase, promoted)
        shutil.rmtree(job.folder.tune, ignore_errors=True)
        writer.append("closed")


def _open(job: SweepJob, writer: LedgerWriter, facts: dict[str, Any]) -> None:
    if not writer.state.facts:
        write_json(job.folder.spec, facts)
        writer.append(
            "opened",
            schema=SCHEMA,
            study=job.study,
            sweep=job.name,
            phase=job.spec.phase,
            arms=list(job.spec.arms),
            inputs=job.inputs,
            lineage=dict(job.lineage),
            spec=job.spec.as_facts(),
        )
    elif writer.state.facts["inputs"] != job.inputs:
        raise SweepError(f"{job.folder.ledger}: was opened for other inputs; move the folder away")


def _bill(job: SweepJob, phase: SweptPhase, *, space: Space, writer: LedgerWriter) -> None:
    """Writes to the ledger what the sweep costs at most, as asked for now, for the report to hold the cost against."""
    spec, resources = job.spec, job.spec.budget.resources
    asked = {
        "trials": wanted_trials(space, spec),
        "devices": resources.devices,
        "unit": resources.unit,
        "time_budget_min": spec.budget.time_budget_min,
        "confirming": spec.budget.confirming,
    }
    if asked.items() <= writer.state.bill.items():
        return
    try:
        measure = measure_as_trial if _is_small(resources) else measure_on_cluster
        bill = bill_sweep(spec, phase, space, measure=measure)
    except Exception:  # of a phase that cannot be measured the trials tell what is wrong
        return
    writer.append("billed", **asked, epochs=bill.epochs, epoch_s=bill.epoch_s, hours=bill.hours)


def _is_small(resources: Resources) -> bool:
    """Whether a process would take longer to start than what is done in it."""
    return resources.cpus <= 1 and not resources.gpus


def _search(
    job: SweepJob,
    phase: SweptPhase,
    *,
    writer: LedgerWriter,
    searcher: LedgerSearcher,
    n_left: int,
    share_h: float | None,
) -> None:
    """Runs what is left of the search, within the time budget and its part of the share of the study's."""
    spec, n_wanted = job.spec, searcher.n_wanted
    stopper: ShareStopper | None = None
    if share_h is not None:
        own_h = share_h * n_wanted / (n_wanted + spec.budget.confirming_of(n_wanted))
        stopper = ShareStopper(writer, share_h=own_h, n_wanted=n_wanted)
    scheduler = make_scheduler(spec, past=writer.state.trials.values(), names=searcher.names)
    budget_s = _budget_left_s(spec, writer)
    _fit(
        job,
        phase,
        writer=writer,
        searcher=searcher,
        scheduler=scheduler,
        n_left=n_left,
        budget_s=budget_s,
        stopper=stopper,
    )
    cut_off = writer.state.with_status(None)
    is_over = stopper is not None and stopper.stop_all()
    if cut_off and budget_s is None and not is_over:
        raise SweepError(f"sweep {job.name}: Tune ended before trial {cut_off[0].name}; run the same command again")
    for trial in cut_off:
        budget = "study's" if is_over else "time"
        writer.append("ended", trial=trial.name, status="pruned", error=f"the {budget} budget was used up")
    if cut_off or len(writer.state.trials) < n_wanted:
        if is_over:
            writer.append("spent", study_budget_h=spec.study_budget_h)
        elif budget_s is not None:
            writer.append("spent", time_budget_min=spec.budget.time_budget_min)
    for trial in writer.state.trials.values():
        settle_trial(job.folder.trial(trial.name))


def _confirm(job: SweepJob, phase: SweptPhase, *, writer: LedgerWriter) -> None:
    """Learns the best trials' configurations again, from fresh seeds; none is stopped early, nor by a time budget."""
    for name, trial in confirmations_to_ask(writer.state, job.spec.budget):
        seed = derive_seed(job.spec.inputs.seed, job.spec.key, name)
        writer.append("asked", trial=name, confirms=trial.name, hyperparameters=trial.hyperparameters, seed=seed)
    _run_asked(job, phase, writer=writer)


def _contrast(job: SweepJob, phase: SweptPhase, *, space: Space, writer: LedgerWriter) -> None:
    """Learns the winner's configuration again with one knob changed, from the seeds that confirmed it."""
    for run in contrasts_to_ask(writer.state, job.spec.budget, space):
        facts = {"confirms": run.confirms, "changed": run.changed, "seed": run.seed}
        writer.append("asked", trial=run.name, hyperparameters=run.hyperparameters, **facts)
    _run_asked(job, phase, writer=writer)


def _run_asked(job: SweepJob, phase: SweptPhase, *, writer: LedgerWriter) -> None:
    """Runs what was asked after the search and has not ended."""
    if not (left := unfinished(writer.state)):
        return
    _fit(job, phase, writer=writer, searcher=ConfirmingSearcher(writer), n_left=len(left))
    if open_still := unfinished(writer.state):
        raise SweepError(f"sweep {job.name}: Tune ended before trial {open_still[0].name}; run the same command again")
    for trial in writer.state.confirmations.values():
        settle_trial(job.folder.trial(trial.name))


def _fit(
    job: SweepJob,
    phase: SweptPhase,
    *,
    writer: LedgerWriter,
    searcher: LedgerSearcher | ConfirmingSearcher,
    n_left: int,
    scheduler: TrialScheduler | None = None,
    budget_s: float | None = None,
    stopper: ShareStopper | None = None,
) -> None:
    spec = job.spec
    recorder = Recorder(writer=writer, names=searcher.names, folder=job.folder, resources=spec.budget.resources)
    trainable = phase.trainable.for_job(job)
    resources = spec.budget.resources
    reserved = partial(_reserved, resources, whole_slot(resources)) if resources.workers == 1 else _DRIVER
    attempt = f"{job.name}-{time.strftime('%Y%m%d-%H%M%S')}"  # Tune's working folder on a node: shared by all sweeps
    writer.append("attempt", trials_left=n_left, code=job.lineage["code"])
    tuner = Tuner(
        tune.with_resources(trainable, reserved),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=n_left,
            max_concurrent_trials=min(n_left, spec.budget.max_concurrent or max(1, slots(resources))),
            time_budget_s=budget_s,
            reuse_actors=resources.workers == 1,
            trial_name_creator=TrialNames(searcher.names, ""),
            trial_dirname_creator=TrialNames(searcher.names, f"-{attempt}"),
        ),
        run_config=RunConfig(
            name=attempt,
            storage_path=str(job.folder.tune),
            callbacks=[recorder],
            stop=stopper,
            failure_config=FailureConfig(max_failures=spec.budget.max_failures),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # a trial keeps its own
            verbose=0,
        ),
    )
    tuner.fit()


def _reserved(resources: Resources, whole: float, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial; a slot that was needed on a larger cluster is cut to what a node has here."""
    return resource_dict_to_pg_factory(slot(resources, min(config[SLOT], whole)))


class TrialNames:
    """Gives a Tune trial its name in the ledger, by which it finds its own folder.

    Tune copies what it is given for each trial, deeply: with the names of all trials so far, if it could.
    """

    def __init__(self, names: dict[str, str], suffix: str) -> None:
        self._names = names
        self._suffix = suffix

    def __call__(self, trial: Trial) -> str:
        """The name of a Tune trial."""
        return f"{self._names[trial.trial_id]}{self._suffix}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrialNames":
        return self


def _is_spent(spec: SweepSpec, state: LedgerState) -> bool:
    """Whether the time budget that is asked for, or the study's, was used up: an end, until more is asked for."""
    budgets = ((spec.budget.time_budget_min, state.spent_min), (spec.study_budget_h, state.spent_h))
    return any(asked is not None and spent is not None and spent >= asked for asked, spent in budgets)


def _budget_left_s(spec: SweepSpec, writer: LedgerWriter) -> float | None:
    if spec.budget.time_budget_min is None:
        return None
    return max(1.0, spec.budget.time_budget_min * 60 - writer.state.busy_s)


def _score(job: SweepJob, phase: SweptPhase, promoted: Sequence[PromotedFolder]) -> None:
    budget = job.spec.budget
    if _is_small(budget.resources):
        phase.phase.task.score_holdout(promoted, job.spec.cohort)
        return
    run_task(_score_task, phase.phase.task, promoted, job.spec.cohort, resources=budget.resources)


def _score_task(task: LearningTask, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
    task.score_holdout(promoted, cohort)
