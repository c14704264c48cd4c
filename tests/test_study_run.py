"""A study's run without Ray: what is started, what a failure takes down, and what the study folder says of it."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.e2e.commands import write_study
from tissueclock.catalog import load_phase
from tissueclock.checking import check_study
from tissueclock.errors import StudyError, SweepError
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.study import read_study
from tissueclock.study_run import StudyRun
from tissueclock.sweeping.head import Head

ARMS = {
    "flat": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}},
    "deep": {"network": "volume", "phases": {"genesis": "random"}},
}
NETWORKS = {"volume": {"kind": "volume", "width": 4}}


class FailingSweep:
    """Stands for a sweep on Ray whose every trial fails."""

    def __init__(self, job: Any, phase: Any, *, retry_failed: bool, share_h: float | None) -> None:
        self._name = job.spec.phase

    def ended(self) -> bool:
        return True

    def result(self) -> SweepError:
        return SweepError(f"sweep {self._name}: none of 2 trials left a checkpoint")


class PaidSweep:
    """Stands for a sweep that costs what it is told, a ledger line each, and ends well at once."""

    shares: ClassVar[dict[str, float | None]] = {}
    cost_h: ClassVar[dict[str, float]] = {}

    def __init__(self, job: Any, phase: Any, *, retry_failed: bool, share_h: float | None) -> None:
        self.shares[job.spec.phase] = share_h
        with LedgerWriter(job.folder.ledger) as writer:
            writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
            metrics = {"epoch_s": 3600 * self.cost_h[job.spec.phase], "best_value": 0.5}
            writer.append("reported", trial="t0001", epoch=1, metrics=metrics)

    def ended(self) -> bool:
        return True

    def result(self) -> None:
        return None


@pytest.fixture
def run(study_dir: Path) -> StudyRun:
    file = write_study(
        study_dir, arms=ARMS, networks=NETWORKS, tracking={"uri": "http://ann:secret@tracker:5000"}, sweep={"fix": {}}
    )
    study, cohort = check_study(read_study(file), load_phase, lambda _: None)
    return StudyRun(study, load_phase, cohort, lambda: Head("127.0.0.1:9"))


def test_a_sweep_that_fails_takes_down_only_those_that_it_feeds(run: StudyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissueclock.study_run.RunningSweep", FailingSweep)
    started: list[set[str]] = []

    run.run(lambda seen: started.append({v.spec.phase for v in seen.vertices.values() if v.state == "running"}))

    assert {vertex.spec.phase: vertex.state for vertex in run.vertices.values()} == {
        "detection": "failed",
        "tss_3h": "skipped",
        "genesis": "failed",
    }
    assert run.failed
    assert {"detection", "genesis"} in started
    assert not any("tss_3h" in phases for phases in started)


def test_the_study_s_budget_is_shared_out_by_what_is_left_and_what_a_sweep_leaves_goes_to_the_next(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tissueclock.study_run.RunningSweep", PaidSweep)
    monkeypatch.setattr(PaidSweep, "shares", {})
    monkeypatch.setattr(PaidSweep, "cost_h", {"detection": 0.5, "tss_3h": 1.0, "genesis": 0.25})
    phases = {"detection": {"trials": 4}, "tss_3h": {"trials": 2, "epochs": 4}, "genesis": {"trials": 2}}
    file = write_study(
        study_dir, arms=ARMS, networks=NETWORKS, sweep={"fix": {}}, phases=phases, budget_h=5.0, parallel_sweeps=1
    )
    study, cohort = check_study(read_study(file), load_phase, lambda _: None)

    StudyRun(study, load_phase, cohort, lambda: Head("127.0.0.1:9")).run(lambda _: None)

    # Epochs left: 8 of detection, 8 of tss_3h, 4 of genesis. Of the 4.5 h that detection left, tss_3h gets 8 in 12.
    assert PaidSweep.shares == pytest.approx({"detection": 5 * 8 / 20, "tss_3h": 4.5 * 8 / 12, "genesis": 3.5})

    # Begun anew with less: what was spent before counts, and where nothing is left a share is what it has cost already.
    monkeypatch.setattr(PaidSweep, "cost_h", dict.fromkeys(PaidSweep.cost_h, 0.0))
    file = write_study(
        study_dir, arms=ARMS, networks=NETWORKS, sweep={"fix": {}}, phases=phases, budget_h=1.0, parallel_sweeps=1
    )
    study, cohort = check_study(read_study(file), load_phase, lambda _: None)
    StudyRun(study, load_phase, cohort, lambda: Head("127.0.0.1:9")).run(lambda _: None)
    assert PaidSweep.shares == pytest.approx(
        {"detection": 0.5 + 0.25 * 8 / 20, "tss_3h": 1.0, "genesis": 0.25}, rel=0.5
    )


def test_a_budget_in_two_units_is_refused(study_dir: Path) -> None:
    phases = {"genesis": {"gpus_per_trial": 1.0}}
    file = write_study(study_dir, arms=ARMS, networks=NETWORKS, sweep={"fix": {}}, phases=phases, budget_h=5.0)
    with pytest.raises(StudyError, match="budget_h counts GPU-hours or CPU-hours, but some phases take"):
        read_study(file)


def test_the_graph_says_what_each_phase_promises(run: StudyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissueclock.study_run.RunningSweep", FailingSweep)
    run.run(lambda _: None)

    sweeps = json.loads(run.study.folder.graph.read_text())["sweeps"].values()

    promised = {
        sweep["phase"]: (sweep["title"], sweep["objective"], sweep["unit"], sweep["onset_before_min"])
        for sweep in sweeps
    }
    assert list(run.study.folder.read_graph()["arms"]) == ["flat", "deep"], "as the study has them"
    assert promised == {
        "detection": ("stroke detection", "val_auc", "hemisphere", None),
        "tss_3h": ("onset < 3 h", "val_auc", "patient", 180.0),
        "genesis": ("restoration (Models Genesis)", "val_restored", "volume", None),
    }


def test_the_study_is_written_as_resolved_and_without_credentials(run: StudyRun, study_dir: Path) -> None:
    run.record_study(tracker="http://***@tracker:5000")

    text = run.study.folder.study.read_text()
    facts = json.loads(text)
    assert facts["seed"] == 7
    assert facts["settings"]["cohort"] == str((study_dir / "cohort").resolve())
    assert facts["settings"]["folder"] == str(study_dir / "toy")
    assert facts["settings"]["tracking"] == {"uri": "http://***@tracker:5000"}
    assert facts["settings"]["sweep"]["trials"] == 2
    assert {arm: len(vertices) for arm, vertices in facts["arms"].items()} == {"flat": 2, "deep": 1}
    assert {vertex for vertices in facts["arms"].values() for vertex in vertices} == set(run.vertices)
    assert "secret" not in text
