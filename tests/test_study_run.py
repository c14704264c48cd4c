"""A study's run without Ray: what is started, what a failure takes down, and what the study folder says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import write_study
from tissueclock.catalog import load_phase
from tissueclock.checking import check_study
from tissueclock.errors import SweepError
from tissueclock.study import read_study
from tissueclock.study_run import StudyRun

ARMS = {
    "flat": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}},
    "deep": {"network": "volume", "phases": {"genesis": "random"}},
}
NETWORKS = {"volume": {"kind": "volume", "width": 4}}


class FailingSweep:
    """Stands for a sweep on Ray whose every trial fails."""

    def __init__(self, job: Any, phase: Any, *, retry_failed: bool) -> None:
        self._name = job.spec.phase

    def ended(self) -> bool:
        return True

    def result(self) -> SweepError:
        return SweepError(f"sweep {self._name}: none of 2 trials left a checkpoint")


@pytest.fixture
def run(study_dir: Path) -> StudyRun:
    file = write_study(
        study_dir, arms=ARMS, networks=NETWORKS, tracking={"uri": "http://ann:secret@tracker:5000"}, sweep={"fix": {}}
    )
    study, cohort = check_study(read_study(file), load_phase, lambda _: None)
    return StudyRun(study, load_phase, cohort, lambda: None)


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


def test_the_graph_says_what_each_phase_promises(run: StudyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissueclock.study_run.RunningSweep", FailingSweep)
    run.run(lambda _: None)

    sweeps = json.loads(run.study.folder.graph.read_text())["sweeps"].values()

    promised = {
        sweep["phase"]: (sweep["title"], sweep["objective"], sweep["unit"], sweep["onset_before_min"])
        for sweep in sweeps
    }
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
