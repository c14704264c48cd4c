"""A study folder such as a sweep writes, without any training: ledgers, promoted checkpoints, a graph."""

import json
from pathlib import Path
from typing import Any

from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.ledger import LedgerState, LedgerWriter, read_ledger

METRICS = ("train_loss", "val_loss", "val_auc", "val_sensitivity", "val_specificity", "val_accuracy", "best_value")
LINEAGE = {
    "cohort": "c0" * 32,
    "split": "5a" * 32,
    "seed": 17,
    "parents": [{"rank": 1, "digest": "ab" * 32}],
    "code": {"version": "0.1.0", "git_commit": "deadbeef" * 5, "git_dirty": False},
    "environment": {"python": "3.11", "torch": "2.13.0", "hostname": "node-1"},
}


class SyntheticSweep:
    """Writes the lines of one sweep, as its recorder would."""

    def __init__(self, folder: StudyFolder, name: str, *, phase: str = "detection", arms: tuple[str, ...] = ("a",)):
        self.folder = folder.sweep(name)
        self.name = name
        self.phase = phase
        self.arms = arms
        if not self.state.facts:
            self.append(
                "opened",
                schema=1,
                sweep=name,
                phase=phase,
                arms=list(arms),
                study="toy",
                inputs="1e" * 32,
                lineage=LINEAGE,
                spec={"phase": phase, "cohort": str(folder.path / "cohort"), "trials": 3},
            )

    @property
    def state(self) -> LedgerState:
        return read_ledger(self.folder.ledger)

    def append(self, kind: str, **facts: Any) -> None:
        with LedgerWriter(self.folder.ledger) as writer:
            writer.append(kind, **facts)

    def ask(self, trial: str, **hyperparameters: Any) -> None:
        given = {"lr": 1e-3, "freeze_depth": 1, "use_attention": False, **hyperparameters}
        self.append("asked", trial=trial, hyperparameters=given, seed=1)
        self.append("started", trial=trial, node="node-1", epoch=0)

    def report(self, trial: str, epoch: int, auc: float = 0.7) -> None:
        metrics = dict.fromkeys(METRICS, auc + epoch / 100)
        self.append("reported", trial=trial, epoch=epoch, metrics=metrics)

    def end(self, trial: str, status: str = "finished", **facts: Any) -> None:
        self.append("ended", trial=trial, status=status, **facts)

    def run(self, trial: str, *, epochs: int = 3, auc: float = 0.7, status: str = "finished", **facts: Any) -> None:
        self.ask(trial)
        for epoch in range(1, epochs + 1):
            self.report(trial, epoch, auc)
        self.end(trial, status, **facts)

    def promote(self, rank: int, trial: str, *, digest: str, value: float, holdout: float | None = None) -> None:
        folder = self.folder.promoted(rank)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.weights.write_bytes(digest.encode())
        facts = {
            "schema": 1,
            "phase": self.phase,
            "network": {},
            "lineage": {},
            "epoch": 3,
            "hyperparameters": {"lr": 1e-3, "freeze_depth": 1},
            "metrics": {"val_auc": value, "val_accuracy": 0.6, "threshold": 0.1},
        }
        folder.trial.write_text(json.dumps(facts))
        if holdout is not None:
            scored = {
                "schema": 1,
                "phase": self.phase,
                "unit": "patient",
                "metrics": {"auc": holdout, "accuracy": None},
            }
            folder.holdout.write_text(json.dumps(scored))
        self.append("promoted", rank=rank, trial=trial, digest=digest, value=value)

    def close(self) -> None:
        self.append("closed")


def study_folder(path: Path) -> StudyFolder:
    """An empty study folder with the cohort that its sweeps name."""
    (path / "cohort").mkdir(parents=True)
    facts = {"name": "toy cohort", "n_patients": 4, "n_hemispheres": 8, "shape": {"n_slices": 2}, "spacing_mm": [1]}
    (path / "cohort" / "cohort.json").write_text(json.dumps(facts))
    (path / "study.json").write_text("{}")
    return StudyFolder(path)
