"""The end of a trial and of a sweep: the best epoch's weights kept, the k best promoted with their lineage."""

import math
import shutil
from collections.abc import Collection
from pathlib import Path
from statistics import fmean
from typing import Any

from tissueclock.errors import CheckpointError, SweepError
from tissueclock.records import Parent, SweepJob
from tissueclock.settings import Budget
from tissueclock.storage.files import atomic_path, digest_file, read_json, write_json
from tissueclock.storage.folders import PROMOTED_SCHEMA, CheckpointFolder, PromotedFolder, SweepFolder, TrialFolder
from tissueclock.storage.ledger import LedgerState, LedgerWriter, TrialEntry, read_ledger


def settle_trial(trial: TrialFolder) -> None:
    """Keeps the best epoch's weights of a trial that has ended as `best/`, and nothing of its other checkpoints.

    A trial that failed before its first whole checkpoint leaves nothing; one that was torn while it was written (a full
    disk, a kill) is passed over for the one before. An older `best/` gives way: a checkpoint holds the best so far.
    """
    latest = next((checkpoint for checkpoint in trial.checkpoints() if checkpoint.best.exists()), None)
    if latest is not None:
        shutil.rmtree(trial.best.path, ignore_errors=True)
        with atomic_path(trial.best.path) as temporary:
            temporary.mkdir()
            kept = CheckpointFolder(temporary)
            shutil.copyfile(latest.best, kept.weights)
            shutil.copyfile(latest.facts, kept.facts)
    if trial.best.path.exists():
        for checkpoint in trial.begun_checkpoints():
            shutil.rmtree(checkpoint.path, ignore_errors=True)


def promote(job: SweepJob, writer: LedgerWriter) -> list[PromotedFolder]:
    """Promotes the k best trials, with the weights that each had at its best epoch.

    Trials that were confirmed come first, by the mean of what their configurations reached from fresh seeds; then the
    others, by their best value. A tie goes to the lower validation loss.

    Returns:
        The promoted folders, best first.

    Raises:
        SweepError: No trial left weights behind, or one left another's.
    """
    on_disk = (_whole(job.folder.promoted(rank)).get("trial") for rank in job.folder.promoted_ranks())
    ranked = _ranked(job.folder, writer.state, placed=set(on_disk))
    if not ranked:
        errors = sorted({trial.error for trial in writer.state.with_status("failed") if trial.error})
        if not errors and writer.state.spent_min is not None:
            errors = [f"time_budget_min {writer.state.spent_min:g} is too short for one epoch; give more"]
        raise SweepError(
            f"sweep {job.name}: none of {len(writer.state.trials)} trials left a checkpoint; "
            f"{errors[0] if errors else 'none ran an epoch'}"
        )
    promoted = []
    for rank, trial in enumerate(ranked[: job.spec.budget.promote], start=1):
        target = job.folder.promoted(rank)
        if _holds(target, trial, job.folder.trial(trial.name)):
            facts = {**target.read_trial(), "arms": list(job.spec.arms), **_confirmation(writer.state, trial)}
            write_json(target.trial, facts)
        else:
            facts = {**_trial_facts(job, trial, rank), **_confirmation(writer.state, trial)}
            _place(job.folder.trial(trial.name).best.weights, facts, target)
        digest = facts["lineage"]["weights"]
        if (target.holdout.exists() or target.holdout_scores.exists()) and target.fault(digest):
            target.holdout.unlink(missing_ok=True)  # it is scored again
        if writer.state.promoted.get(rank, {}).get("digest") != digest:
            writer.append("promoted", rank=rank, trial=trial.name, digest=digest, value=trial.best_value)
        promoted.append(target)
    return promoted


def confirmations_to_ask(state: LedgerState, budget: Budget) -> list[tuple[str, TrialEntry]]:
    """Which runs of the best trials from fresh seeds have not been asked: each one's name, and the trial it confirms.

    Needs the search at its end. What was asked before counts, whatever `confirm` was then.
    """
    best = _by_best_value(state)[: budget.confirm]
    runs = [(f"{trial.name}c{i}", trial) for trial in best for i in range(1, budget.confirm_seeds + 1)]
    return [(name, trial) for name, trial in runs if name not in state.confirmations]


def promotion_fault(job: SweepJob, state: LedgerState) -> str | None:
    """What is wrong with a sweep's promoted checkpoints, in one line; None: they are what is asked for, and whole."""
    for rank, line in state.promoted.items():
        folder = job.folder.promoted(rank)
        if (fault := folder.fault(line["digest"])) is not None:
            return fault
        if not folder.holdout.exists():
            return f"{folder.holdout}: no such file"
    placed = {line["trial"] for line in state.promoted.values()}  # whole, as was just seen
    n_asked = min(job.spec.budget.promote, len(_ranked(job.folder, state, placed=placed)))
    if sorted(state.promoted) != list(range(1, n_asked + 1)):
        return f"{len(state.promoted)} promoted, {n_asked} asked for"
    return None


def read_parents(folder: SweepFolder) -> tuple[Parent, ...]:
    """The checkpoints that the ledger calls promoted, best first, each verified against its digest.

    Raises:
        CheckpointError: Promoted weights are missing or are not the ones that were promoted.
    """
    parents = []
    for rank in sorted(read_ledger(folder.ledger).promoted):
        promoted = folder.promoted(rank)
        expected = promoted.read_trial()["lineage"]["weights"]
        found = digest_file(promoted.weights) if promoted.weights.exists() else "no file"
        if found != expected:
            raise CheckpointError(f"{promoted.weights}: digest is {found[:12]}; {promoted.trial} says {expected[:12]}")
        parents.append(Parent(rank=rank, folder=promoted, digest=expected))
    return tuple(parents)


def _ranked(folder: SweepFolder, state: LedgerState, *, placed: Collection[str | None]) -> list[TrialEntry]:
    """The trials whose weights are there: in their own folder, or at least among the promoted ones (`placed`)."""
    usable = [
        trial
        for trial in _by_best_value(state)
        if folder.trial(trial.name).best.weights.exists() or trial.name in placed
    ]
    confirmed = {trial.name: fmean(values) for trial in usable if (values := state.confirmed(trial.name))}
    return sorted(usable, key=lambda trial: -confirmed.get(trial.name, -math.inf))  # others keep their order


def _by_best_value(state: LedgerState) -> list[TrialEntry]:
    """The trials of the search that ended with a value, as they chose themselves."""
    valued = [trial for trial in state.with_status("finished", "pruned", "failed") if trial.best_value is not None]
    return sorted(valued, key=lambda trial: (-(trial.best_value or 0.0), _best_row(trial)["val_loss"], trial.name))


def _best_row(trial: TrialEntry) -> dict[str, float]:
    last = trial.metrics[trial.last_epoch]
    return trial.metrics.get(int(last["best_epoch"]), last)


def _confirmation(state: LedgerState, trial: TrialEntry) -> dict[str, Any]:
    """What `trial.json` says of a trial that was confirmed; nothing of others."""
    values = state.confirmed(trial.name)
    return {"confirmed": {"values": values, "mean": fmean(values)}} if values else {}


def _trial_facts(job: SweepJob, trial: TrialEntry, rank: int) -> dict[str, Any]:
    parent: dict[str, Any] | None = None
    chain: list[str] = []
    if job.parents:
        chosen = job.parents[int(trial.hyperparameters.get("parent", 1)) - 1]
        above = chosen.folder.read_trial()
        parent = {"phase": above["phase"], "sweep": above["sweep"], "rank": chosen.rank, "digest": chosen.digest}
        chain = [*above["lineage"]["chain"], chosen.digest]
    row = _best_row(trial)
    folder = job.folder.trial(trial.name)
    learned = read_json(folder.best.facts, needed=("network",), error=CheckpointError)
    digest = digest_file(folder.best.weights)
    if (found := learned.get("digests", {}).get(folder.checkpoint(1).best.name, digest)) != digest:
        raise CheckpointError(
            f"{folder.best.weights}: digest is {digest[:12]}, but {folder.best.facts.name} says {found[:12]}; delete "
            f"{folder.path} and the trial counts as one without weights"
        )
    for name, own in (("inputs", job.inputs), ("seed", trial.seed)):
        if (found := learned.get(name, own)) != own:
            raise SweepError(f"{folder.best.path}: {name} is {found}, but the ledger says {own}; it is another trial's")
    return {
        "schema": PROMOTED_SCHEMA,
        "study": job.study,
        "sweep": job.name,
        "phase": job.spec.phase,
        "arms": list(job.spec.arms),
        "rank": rank,
        "trial": trial.name,
        "hyperparameters": trial.hyperparameters,
        "seed": trial.seed,
        "epoch": int(row["epoch"]),
        "metrics": row,
        "network": learned["network"],
        "folds": job.spec.inputs.folds,
        **({"by_site": True} if job.spec.inputs.leave_one_site_out else {}),
        "seeds": job.spec.inputs.seeds,
        "lineage": {
            **{key: job.lineage[key] for key in ("cohort", "split", "seed")},
            "code": trial.code or job.lineage["code"],
            "weights": digest,
            "parent": parent,
            "chain": chain,
            "first_weights": read_json(folder.first_weights) if folder.first_weights.exists() else {"from": "random"},
        },
    }


def _whole(promoted: PromotedFolder) -> dict[str, Any]:
    """What `trial.json` says, if the folder holds the weights that it tells of; else nothing."""
    try:
        facts = promoted.read_trial()
        return facts if digest_file(promoted.weights) == facts["lineage"]["weights"] else {}
    except (CheckpointError, OSError):
        return {}


def _holds(target: PromotedFolder, trial: TrialEntry, own: TrialFolder) -> bool:
    """Whether a promoted folder holds this trial's weights already, whole and as the trial has them, if it has any."""
    facts = _whole(target)
    if facts.get("trial") != trial.name:
        return False
    return not own.best.weights.exists() or digest_file(own.best.weights) == facts["lineage"]["weights"]


def _place(weights: Path, facts: dict[str, Any], target: PromotedFolder) -> None:
    if target.path.exists():
        shutil.rmtree(target.path)
    with atomic_path(target.path) as temporary:
        temporary.mkdir()
        placed = PromotedFolder(temporary)
        shutil.copyfile(weights, placed.weights)
        write_json(placed.trial, facts)
