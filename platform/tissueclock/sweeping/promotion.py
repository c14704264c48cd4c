"""The end of a trial and of a sweep: the best epoch's weights kept, the k best promoted with their lineage."""

import json
import shutil
from pathlib import Path
from typing import Any

from tissueclock.errors import CheckpointError, SweepError
from tissueclock.records import Parent, SweepJob
from tissueclock.storage.files import atomic_path, digest_file, write_json
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerState, LedgerWriter, TrialEntry

SCHEMA = 1
WEIGHTS = "weights.safetensors"
TRIAL = "trial.json"


def settle_trial(folder: SweepFolder, name: str) -> None:
    """Keeps the best epoch's weights of a trial that has ended as `best/`, and nothing of its other checkpoints.

    A trial that failed before its first checkpoint leaves nothing.
    """
    trial = folder.trial(name)
    best = trial / "best"
    if not best.exists():
        for checkpoint in sorted(trial.glob("epoch-*"), reverse=True):
            if (checkpoint / "best.safetensors").exists():
                with atomic_path(best) as temporary:
                    temporary.mkdir()
                    shutil.copyfile(checkpoint / "best.safetensors", temporary / WEIGHTS)
                    shutil.copyfile(checkpoint / "facts.json", temporary / "facts.json")
                break
    if best.exists():
        for checkpoint in trial.glob("epoch-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)


def promote(job: SweepJob, writer: LedgerWriter) -> list[Path]:
    """Promotes the k trials with the best validation AUC at any epoch; a tie goes to the lower validation loss.

    Returns:
        The promoted folders, best first.

    Raises:
        SweepError: No trial left weights behind, or one left another's.
    """
    ranked = _ranked(job.folder, writer.state)
    if not ranked:
        errors = sorted({trial.error for trial in writer.state.with_status("failed") if trial.error})
        raise SweepError(
            f"sweep {job.name}: none of {len(writer.state.trials)} trials left a checkpoint; "
            f"{errors[0] if errors else 'none ran an epoch'}"
        )
    promoted = []
    for rank, trial in enumerate(ranked[: job.spec.promote], start=1):
        target = job.folder.promoted(rank)
        facts = _trial_facts(job, trial, rank)
        already = writer.state.promoted.get(rank)
        if already is None or already["digest"] != facts["lineage"]["weights"] or not target.exists():
            _place(job.folder.trial(trial.name) / "best" / WEIGHTS, facts, target)
            writer.append(
                "promoted",
                rank=rank,
                trial=trial.name,
                digest=facts["lineage"]["weights"],
                value=trial.best_value,
            )
        promoted.append(target)
    return promoted


def read_parents(folder: SweepFolder) -> tuple[Parent, ...]:
    """The promoted checkpoints of a complete sweep, best first, each verified against its digest.

    Raises:
        CheckpointError: Promoted weights are missing or are not the ones that were promoted.
    """
    parents = []
    for path in sorted((folder.path / "promoted").glob("*"), key=lambda path: int(path.name)):
        expected = read_trial(path)["lineage"]["weights"]
        weights = path / WEIGHTS
        found = digest_file(weights) if weights.exists() else "no file"
        if found != expected:
            raise CheckpointError(f"{weights}: digest is {found[:12]}; {path / TRIAL} says {expected[:12]}")
        parents.append(Parent(rank=int(path.name), folder=path, digest=expected))
    return tuple(parents)


def read_trial(promoted: Path) -> dict[str, Any]:
    """What is written beside promoted weights: configuration, metrics, lineage.

    Raises:
        CheckpointError: The file is missing, is not JSON or has another schema.
    """
    path = promoted / TRIAL
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        schema = facts["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a promoted checkpoint's facts ({type(error).__name__})") from error
    if schema != SCHEMA:
        raise CheckpointError(f"{path}: schema is {schema!r}; this version reads {SCHEMA}")
    return dict(facts)


def _ranked(folder: SweepFolder, state: LedgerState) -> list[TrialEntry]:
    usable = [
        trial
        for trial in state.with_status("finished", "pruned", "failed")
        if trial.best_value is not None and (folder.trial(trial.name) / "best" / WEIGHTS).exists()
    ]
    return sorted(usable, key=lambda trial: (-(trial.best_value or 0.0), _best_row(trial)["val_loss"], trial.name))


def _best_row(trial: TrialEntry) -> dict[str, float]:
    last = trial.metrics[trial.last_epoch]
    return trial.metrics.get(int(last["best_epoch"]), last)


def _trial_facts(job: SweepJob, trial: TrialEntry, rank: int) -> dict[str, Any]:
    parent: dict[str, Any] | None = None
    chain: list[str] = []
    if job.parents:
        chosen = job.parents[int(trial.hyperparameters.get("parent", 1)) - 1]
        above = read_trial(chosen.folder)
        parent = {"phase": above["phase"], "sweep": above["sweep"], "rank": chosen.rank, "digest": chosen.digest}
        chain = [*above["lineage"]["chain"], chosen.digest]
    row = _best_row(trial)
    best = job.folder.trial(trial.name) / "best"
    learned = json.loads((best / "facts.json").read_text())
    own_facts = {"inputs": job.inputs} | ({} if job.spec.scheduler.name == "pbt" else {"seed": trial.seed})
    for name, own in own_facts.items():
        if (found := learned.get(name, own)) != own:
            raise SweepError(f"{best}: {name} is {found}, but the ledger says {own}; it is another trial's")
    first_weights = job.folder.trial(trial.name) / "first_weights.json"
    return {
        "schema": SCHEMA,
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
        "lineage": {
            **{key: job.lineage[key] for key in ("cohort", "split", "seed", "code")},
            "weights": digest_file(best / WEIGHTS),
            "parent": parent,
            "chain": chain,
            "first_weights": json.loads(first_weights.read_text()) if first_weights.exists() else {"from": "random"},
        },
    }


def _place(weights: Path, facts: dict[str, Any], target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        shutil.copyfile(weights, temporary / WEIGHTS)
        write_json(temporary / TRIAL, facts)
