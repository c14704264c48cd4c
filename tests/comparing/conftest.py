"""A study folder, fabricated: a phantom cohort, ledgers, promoted checkpoints, their scores; nothing is trained."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.comparing.report import write_report
from tissueclock.comparing.results import StudyResult
from tissueclock.comparing.study_results import read_results
from tissueclock.storage.files import write_json
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.storage.tsv import write_rows

CUTS = {"tss_3h": 180.0, "tss_4h5": 270.0, "attention": 270.0, "detection": None}
TITLES = {
    "tss_3h": "onset < 3 h",
    "tss_4h5": "onset < 4.5 h",
    "attention": "attention, onset < 4.5 h",
    "detection": "stroke detection",
}
ARMS = {
    "chain": ["detection-00aa00aa", "tss_3h-11aa11aa", "tss_4h5-22aa22aa", "attention-33aa33aa"],
    "scratch": ["detection-00aa00aa", "tss_3h-44bb44bb", "tss_4h5-55bb55bb"],
}
SKILL = {
    "detection-00aa00aa": 2.6,
    "tss_3h-11aa11aa": 1.3,
    "tss_4h5-22aa22aa": 1.2,
    "attention-33aa33aa": 1.3,
    "tss_3h-44bb44bb": 0.5,
    "tss_4h5-55bb55bb": 0.4,
}
BOUNDS = {
    "lr": {"low": 1e-5, "high": 0.1, "log": True, "step": None},
    "freeze_depth": {"low": 0, "high": 4, "log": False, "step": 1},
    "parent": {"choices": [1, 2]},
    "batch_size": 8,
}
SPACE = ("lr", "final_lr", "gamma", "weight_decay", "dropout")


def make_cohort(folder: Path, *, n_patients: int, source: Mapping[str, str], seed: int = 5) -> Path:
    """A cohort without pixels to speak of, with readers and, for a phantom, the observer's scores."""
    generator = np.random.default_rng(seed)
    onsets = np.round(np.exp(generator.normal(np.log(222), 1.1, n_patients)), 1)
    wrong = generator.random((3, n_patients)) < 0.27
    patients = [
        Patient(
            f"sub-{i:04d}",
            float(onset),
            ("left", "right", "both")[i % 21 // 10],
            {f"reader_{k + 1}": bool((onset < 270) ^ wrong[k, i]) for k in range(3)},
            {},
        )
        for i, onset in enumerate(onsets)
    ]
    facts = {"name": folder.name, "shape": (1, 2, 2), "spacing_mm": (6.0, 1.0, 1.0), "seed": seed, "source": source}
    with CohortWriter(folder, patients=patients, **facts) as writer:
        for patient in patients:
            writer.add(patient.participant_id, np.ones((3, 1, 2, 2)), np.ones((3, 1, 2, 2)))
    if source.get("tool") == "phantom":
        scores = -np.log(onsets) + generator.normal(0, 0.75, n_patients)
        rows = [
            {"patient": p.participant_id, "observer_3h": f"{s + 5.2:.4f}", "observer_4h5": f"{s + 5.6:.4f}"}
            for p, s in zip(patients, scores, strict=True)
        ]
        write_rows(folder / "truth" / "observer.tsv", columns=("patient", "observer_3h", "observer_4h5"), rows=rows)
    return folder


def digest(*names: object) -> str:
    return hashlib.sha256(repr(names).encode()).hexdigest()


@dataclass
class StudyMaker:
    """Writes a study's files as sweeping and scoring would."""

    folder: StudyFolder
    cohort: Cohort
    name: str = "phantom chain"
    trials: int = 12
    as_in_0_1: bool = False
    skill: dict[str, float] = field(default_factory=lambda: dict(SKILL))
    arms: dict[str, list[str]] = field(default_factory=lambda: {arm: list(sweeps) for arm, sweeps in ARMS.items()})

    def write_graph(self) -> None:
        sweeps = {}
        for arm, names in self.arms.items():
            for i, name in enumerate(names):
                facts = sweeps.setdefault(name, self._facts(name.split("-")[0]))
                upstream = names[i - 1] if i and arm == "chain" else None
                facts["arms"].append(arm)
                facts |= {"weights": "previous" if upstream else "random", "upstream": upstream}
        graph = {"study": self.name, "seed": 7, "cohort": str(self.cohort.folder), "sweeps": sweeps, "arms": self.arms}
        write_json(self.folder.graph, graph)

    def _facts(self, phase: str) -> dict[str, object]:
        facts = {"phase": phase, "objective": "val_auc", "arms": [], "trials": self.trials}
        if self.as_in_0_1:  # what a phase promises was not told then
            return facts
        unit = "patient" if CUTS[phase] else "hemisphere"
        return facts | {"title": TITLES[phase], "unit": unit, "onset_before_min": CUTS[phase]}

    def write_all(self) -> None:
        self.write_graph()
        for name in dict.fromkeys(name for names in self.arms.values() for name in names):
            self.write_sweep(name)
            self.write_holdout(name, 1)
            self.write_holdout(name, 2)

    def open_ledger(self, name: str) -> LedgerWriter:
        writer = LedgerWriter(self.folder.sweep(name).ledger)
        if not writer.state.facts:
            lineage = {
                "cohort": self.cohort.digest,
                "split": self.cohort.split_digest,
                "seed": 7,
                "code": {"version": "0.1.0", "git_commit": digest("code")[:40], "git_dirty": False},
            }
            arms = [arm for arm, names in self.arms.items() if name in names]
            writer.append("opened", schema=1, sweep=name, phase=name.split("-")[0], arms=arms, lineage=lineage)
        return writer

    def write_sweep(self, name: str, *, closed: bool = True) -> None:
        generator = np.random.default_rng(int(digest(name)[:8], 16))
        level = 0.5 + 0.42 * np.tanh(self.skill[name] / 1.6)
        write_json(self.folder.sweep(name).spec, {"bounds": {} if self.as_in_0_1 else BOUNDS})
        with self.open_ledger(name) as writer:
            for i in range(1, self.trials + 1):
                self._write_trial(writer, f"t{i:04d}", i, level, generator)
            if closed:
                best = sorted(writer.state.trials.values(), key=lambda trial: -(trial.best_value or 0))
                for rank, trial in enumerate(best[:2], start=1):
                    self._promote(writer, name, rank, trial)
                writer.append("closed")

    def _write_trial(self, writer, trial, i, level, generator) -> None:
        values = {key: float(10 ** generator.uniform(-5, -1)) for key in SPACE}
        values |= {"freeze_depth": int(generator.integers(5)), "batch_size": 8, "parent": int(generator.integers(1, 3))}
        writer.append("asked", trial=trial, hyperparameters=values, seed=i)
        writer.append("started", trial=trial, node="n1", epoch=0)
        if i % 11 == 5:
            writer.append("ended", trial=trial, status="failed", error="OutOfMemoryError: 3.1 GB asked, 2.0 GB free")
            return
        best = 0.0
        for epoch in range(1, 4):
            auc = float(np.clip(level + generator.normal(0, 0.04) - 0.05 / epoch, 0.4, 0.999))
            best = max(best, auc)
            metrics = {"epoch": float(epoch), "val_auc": auc, "best_value": best, "train_loss": 0.7 / epoch}
            writer.append("reported", trial=trial, epoch=epoch, metrics=metrics)
        writer.append("ended", trial=trial, status="pruned" if i % 3 == 0 else "finished")

    def _promote(self, writer, name, rank, trial) -> None:
        chain = []
        for names in self.arms.values():
            if name in names and not chain and self.arms.get("chain") == names:
                chain = [digest(parent, 1) for parent in names[: names.index(name)]]
        facts = {
            "schema": 1,
            "phase": name.split("-")[0],
            "network": {"kind": "slice"},
            "sweep": name,
            "rank": rank,
            "trial": trial.name,
            "hyperparameters": trial.hyperparameters,
            "epoch": 3,
            "metrics": {"val_auc": trial.best_value},
            "lineage": {"weights": digest(name, rank), "chain": chain, "cohort": self.cohort.digest},
        }
        folder = self.folder.sweep(name).promoted(rank)
        write_json(folder.trial, facts)
        folder.weights.write_bytes(repr((name, rank)).encode())  # what `digest` digests
        writer.append("promoted", rank=rank, trial=trial.name, digest=digest(name, rank), value=trial.best_value)

    def write_holdout(self, name: str, rank: int, *, scores: Mapping[str, float] | None = None) -> None:
        phase = name.split("-")[0]
        cut = CUTS[phase]
        generator = np.random.default_rng(int(digest(phase, rank)[:8], 16))
        rows, labels, logits = [], [], []
        for hemisphere in self.cohort.table:
            if hemisphere.split != "holdout" or (cut and (hemisphere.patient in {r["patient"] for r in rows})):
                continue
            label = hemisphere.lesion if cut is None else hemisphere.onset_to_mri_min < cut
            logit = generator.normal() + self.skill[name] * (label - 0.5)
            if scores is not None:
                logit = scores[hemisphere.patient]
            unit = hemisphere.patient if cut else f"{hemisphere.patient}-{hemisphere.side}"
            rows.append({"unit": unit, "patient": hemisphere.patient, "label": f"{label:d}", "logit": f"{logit:.6f}"})
            labels.append(label)
            logits.append(round(logit, 6))
        where = self.folder.sweep(name).promoted(rank)
        write_rows(where.holdout_scores, columns=("unit", "patient", "label", "logit"), rows=rows)
        both = len(set(labels)) == 2
        facts = {
            "schema": 1,
            "phase": phase,
            "unit": "patient" if cut else "hemisphere",
            "onset_before_min": cut,
            "n": len(rows),
            "n_positive": sum(labels),
            "threshold": 0.0,
            "metrics": {"auc": roc_auc_score(labels, logits)} if both else {},
        }
        write_json(where.holdout, facts)


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("cohorts") / "phantom-easy"
    source = {"tool": "phantom", "version": "0.1.0", "preset": "easy", "seed": "5"}
    return Cohort.open(make_cohort(folder, n_patients=240, source=source))


@pytest.fixture(scope="session")
def hospital_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("cohorts") / "hospital"
    return Cohort.open(make_cohort(folder, n_patients=60, source={"tool": "pack"}))


@pytest.fixture
def maker(tmp_path: Path, phantom_cohort: Cohort) -> StudyMaker:
    return StudyMaker(StudyFolder(tmp_path / "study"), phantom_cohort)


@pytest.fixture
def hospital(tmp_path: Path, hospital_cohort: Cohort) -> StudyMaker:
    """Patients, not phantoms."""
    return StudyMaker(StudyFolder(tmp_path / "study"), hospital_cohort)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory, phantom_cohort: Cohort) -> StudyMaker:
    """A finished study, for tests that only read."""
    maker = StudyMaker(StudyFolder(tmp_path_factory.mktemp("studies") / "finished"), phantom_cohort)
    maker.write_all()
    return maker


@pytest.fixture
def finished(tmp_path: Path, finished_once: StudyMaker, report: Path) -> StudyMaker:
    """A finished study of one's own, to spoil; of its report, what was drawn of its sweeps."""
    left_out = shutil.ignore_patterns("index.html", "results.tsv", "*.png")
    shutil.copytree(finished_once.folder.path, tmp_path / "finished", ignore=left_out)
    return StudyMaker(StudyFolder(tmp_path / "finished"), finished_once.cohort)


@pytest.fixture(scope="session")
def study(finished_once: StudyMaker) -> StudyResult:
    return read_results(finished_once.folder)


@pytest.fixture(scope="session")
def report(finished_once: StudyMaker) -> Path:
    return write_report(finished_once.folder).page
