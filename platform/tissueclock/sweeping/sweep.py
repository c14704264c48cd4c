"""One sweep, from wherever its ledger stands to its end."""

import os
import random
import shutil
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from tissueclock.errors import SweepError
from tissueclock.records import Resources, SweepJob, SweepSpec
from tissueclock.storage.files import digest_facts, write_json
from tissueclock.storage.ledger import SCHEMA, LedgerState, LedgerWriter, read_ledger
from tissueclock.sweeping.phase import Phase
from tissueclock.sweeping.promotion import promote, settle_trial
from tissueclock.sweeping.recorder import Recorder
from tissueclock.sweeping.scheduler import make_scheduler, replay, scheduler_seed
from tissueclock.sweeping.searcher import LedgerSearcher, wanted_trials
from tissueclock.sweeping.space import Space, make_space

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger has it all; CSV, JSON and TensorBoard copies cost time
    "TUNE_GLOBAL_CHECKPOINT_S": "60",  # Tune's own snapshot is never read
    "RAY_AIR_NEW_OUTPUT": "0",
}


_DRIVER_CPUS = 0.01
"""Of a trial on several workers, whose own Ray Train takes; Tune wants some."""


def inputs_digest(spec: SweepSpec, space: Space, parents: tuple[str, ...]) -> str:
    """All that a trial of the sweep depends on, digested: the spec's key, the space, the parents' weights."""
    return digest_facts({"key": spec.key, "space": space.digest, "parents": list(parents)})


def job_space(job: SweepJob, phase: Phase) -> Space:
    """The space of a job whose parents are known."""
    return make_space(
        phase.space,
        job.spec,
        accepted=phase.trainable.accepted(),
        n_parents=len(job.parents),
    )


def is_complete(job: SweepJob, phase: Phase) -> bool:
    """Whether the ledger says that all that is asked for was done, and the promoted checkpoints are there."""
    state = read_ledger(job.folder.ledger)
    n_wanted = wanted_trials(job_space(job, phase), job.spec)
    return (
        state.closed
        and len(state.trials) >= n_wanted
        and not state.with_status(None)
        and _enough_promoted(job, state)
        and all((job.folder.promoted(rank) / "holdout.json").exists() for rank in state.promoted)
    )


def run_sweep(job: SweepJob, phase: Phase, *, retry_failed: bool = False) -> None:
    """Runs what the ledger says is left of a sweep, promotes, and scores the holdout; needs a connected Ray.

    Run again after any interruption it goes on: trials that ended are not run again, trials in flight go on from their
    last checkpoint, and a complete sweep returns at once.

    Args:
        job: The sweep.
        phase: Its trainable and space.
        retry_failed: Whether trials that failed are taken up once more.

    Raises:
        SweepError: No trial left a checkpoint.
        BusyError: Another process is running this sweep.
    """
    os.environ.update(_QUIET)
    space = job_space(job, phase)
    with LedgerWriter(job.folder.ledger) as writer:
        _open(job, writer)
        if retry_failed:
            for trial in writer.state.with_status("failed"):
                shutil.rmtree(job.folder.trial(trial.name) / "best", ignore_errors=True)  # it begins anew
                writer.append("retried", trial=trial.name)
        for trial in writer.state.with_status("finished", "pruned", "failed"):
            settle_trial(job.folder, trial.name)
        searcher = LedgerSearcher(writer=writer, space=space, spec=job.spec)
        n_left = len(writer.state.with_status(None)) + wanted_trials(space, job.spec) - len(writer.state.trials)
        if is_complete(job, phase):
            return
        if writer.state.closed:
            writer.append("reopened")
        if n_left > 0:
            _fit(job, phase, space=space, writer=writer, searcher=searcher, n_left=n_left)
        promoted = promote(job, writer)
        _score(job, phase, [str(path) for path in promoted])
        shutil.rmtree(job.folder.tune, ignore_errors=True)
        writer.append("closed")


def slots(resources: Resources) -> int:
    """How many trials the connected cluster has room for at once, at least 1."""
    have = ray.cluster_resources()
    room = [have.get("CPU", 0.0) / resources.cpus if resources.cpus else float("inf")]
    if resources.gpus:
        room.append(have.get("GPU", 0.0) / resources.gpus)
    return max(1, int(min(room)))


def _open(job: SweepJob, writer: LedgerWriter) -> None:
    if not writer.state.facts:
        write_json(job.folder.spec, _spec_facts(job.spec))
        writer.append(
            "opened",
            schema=SCHEMA,
            study=job.study,
            sweep=job.name,
            phase=job.spec.phase,
            arms=list(job.spec.arms),
            inputs=job.inputs,
            lineage=dict(job.lineage),
            spec=_spec_facts(job.spec),
        )
    elif writer.state.facts["inputs"] != job.inputs:
        raise SweepError(f"{job.folder.ledger}: was opened for other inputs; move the folder away")


def _fit(
    job: SweepJob, phase: Phase, *, space: Space, writer: LedgerWriter, searcher: LedgerSearcher, n_left: int
) -> None:
    spec = job.spec
    scheduler = make_scheduler(spec, space.domains)
    replay(scheduler, writer.state.with_status("finished", "pruned"))
    random.seed(scheduler_seed(spec))
    np.random.seed(scheduler_seed(spec))  # noqa: NPY002 (PBT draws from the global generators)
    recorder = Recorder(writer=writer, names=searcher.names, folder=job.folder, settles=spec.scheduler.name != "pbt")
    trainable = phase.trainable.as_tunable(job)
    own = spec.resources if spec.resources.workers == 1 else Resources(cpus=_DRIVER_CPUS)
    attempt = f"{job.name}-{time.strftime('%Y%m%d-%H%M%S')}"  # Tune's working folder on a node: shared by all sweeps
    budget_s = _budget_left_s(spec, writer)
    writer.append("attempt", trials_left=n_left)
    tuner = Tuner(
        tune.with_resources(trainable, {"cpu": own.cpus, "gpu": own.gpus}),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=n_left,
            max_concurrent_trials=min(n_left, spec.max_concurrent or slots(spec.resources)),
            time_budget_s=budget_s,
            reuse_actors=spec.resources.workers == 1,
            trial_name_creator=_Names(searcher.names, ""),
            trial_dirname_creator=_Names(searcher.names, f"-{attempt}"),
        ),
        run_config=RunConfig(
            name=attempt,
            storage_path=str(job.folder.tune),
            callbacks=[recorder],
            failure_config=FailureConfig(max_failures=spec.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=None),  # they hold a path each, no weights
            verbose=0,
        ),
    )
    tuner.fit()
    for trial in writer.state.with_status(None):
        if budget_s is None:
            raise SweepError(f"sweep {job.name}: Tune ended before trial {trial.name}; run the same command again")
        writer.append("ended", trial=trial.name, status="pruned", error="the time budget was used up")
    for trial in writer.state.trials.values():
        settle_trial(job.folder, trial.name)


class _Names:
    """Gives a Tune trial its name in the ledger, by which it finds its own folder."""

    def __init__(self, names: dict[str, str], suffix: str) -> None:
        self._names = names
        self._suffix = suffix

    def __call__(self, trial: Trial) -> str:
        return f"{self._names[trial.trial_id]}{self._suffix}"


def _budget_left_s(spec: SweepSpec, writer: LedgerWriter) -> float | None:
    if spec.time_budget_min is None:
        return None
    return max(1.0, spec.time_budget_min * 60 - writer.state.busy_s)


def _enough_promoted(job: SweepJob, state: LedgerState) -> bool:
    with_weights = [name for name in state.trials if (job.folder.trial(name) / "best").exists()]
    return len(state.promoted) >= min(job.spec.promote, len(with_weights)) > 0


def _score(job: SweepJob, phase: Phase, promoted: list[str]) -> None:
    resources = job.spec.resources
    if resources.cpus <= 1 and not resources.gpus:  # a process for it would take longer to start than to score
        _score_task(phase.trainable, promoted, job)
        return
    score = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=job.spec.max_failures)(_score_task)
    ray.get(score.remote(phase.trainable, promoted, job))


def _score_task(trainable: Any, promoted: list[str], job: SweepJob) -> None:
    trainable.score_holdout([job.folder.path / path for path in promoted], job.spec.cohort)


def _spec_facts(spec: SweepSpec) -> dict[str, Any]:
    facts = asdict(spec)
    return {
        **facts,
        "fixed": dict(spec.fixed),
        "cohort": str(spec.cohort),
        "extensions": None if spec.extensions is None else str(spec.extensions),
        "arms": list(spec.arms),
        "weights_file": spec.weights_file and {**spec.weights_file.as_facts(), "path": str(spec.weights_file.path)},
        "trunks": {**facts["trunks"], "folder": None if spec.trunks.folder is None else str(spec.trunks.folder)},
    }
