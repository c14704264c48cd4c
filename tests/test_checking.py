"""What a person is told before a study goes on: which inputs differ from a sweep that is there, and other code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import write_study
from tissueclock.catalog import load_phase
from tissueclock.checking import check_space, check_study, describe_changes
from tissueclock.cohort.questions import OnsetBefore
from tissueclock.lineage import code_facts
from tissueclock.storage.files import read_json, write_json
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.study import Study, read_study
from tissueclock.sweeping.sweep import recorded_facts
from tissueclock.training.classification import Classification
from trainables.tss_3h import Tss3h

ARMS = {"chain": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}}}


def study_in(folder: Path, **changes: Any) -> Study:
    study, _ = check_study(read_study(write_study(folder, arms=ARMS, **changes)), load_phase, lambda _: None)
    return study


@pytest.fixture
def begun(study_dir: Path) -> Path:
    """The folder of a study whose two sweeps were opened, `detection-1` and `tss_3h-1`."""
    study = study_in(study_dir)
    for spec in study.vertices.values():
        phase, folder = load_phase(spec), study.folder.sweep(f"{spec.phase}-1")
        write_json(folder.spec, recorded_facts(spec, phase, check_space(study, spec, phase)))
        with LedgerWriter(folder.ledger) as writer:
            writer.append("opened", inputs="i", lineage={"code": code_facts()})
    return study_dir


def told(folder: Path, **changes: Any) -> list[str]:
    return describe_changes(study_in(folder, **changes), load_phase)


@pytest.mark.parametrize("changes", [{}, {"sweep": {"trials": 9}}, {"sweep": {"cpus_per_trial": 0.5}}, {"name": "toy"}])
def test_nothing_is_said_of_a_sweep_that_goes_on(begun: Path, changes: dict[str, Any]) -> None:
    assert told(begun, **changes) == []


def test_an_edited_question_is_told_with_the_sweep_that_stays(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tss3h, "phase", replace(Tss3h.phase, task=Classification(OnsetBefore(200.0))))

    assert told(begun) == [
        "tss_3h of chain: question.onset_before_min is 200.0 where sweeps/tss_3h-1 has 180.0; that sweep stays, this "
        "is another"
    ]


def test_an_edited_study_is_told_for_each_sweep(begun: Path) -> None:
    lines = told(begun, sweep={"epochs": 3, "fix": {"batch_size": 8}})

    assert [line.partition(" is ")[0] for line in lines] == ["detection of chain: epochs", "tss_3h of chain: epochs"]
    assert all("(and 2 more)" in line for line in lines), "fixed.batch_size, and the space without it"


def test_of_two_arms_with_one_phase_each_is_told_of_its_own(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {**ARMS, "wide": {"network": "wide", "phases": {"detection": "random"}}}
    monkeypatch.setattr("tests.test_checking.ARMS", both)
    monkeypatch.setattr("tissueclock.checking.code_facts", lambda: {"version": "0.2.0"})
    networks = {"slice": {"width": 4}, "wide": {"width": 8}}

    lines = told(begun, networks=networks)
    assert [line.partition(":")[0] for line in lines] == ["detection-1", "tss_3h-1"], "wide never had another sweep"

    lines = told(begun, networks={**networks, "slice": {"width": 12}})
    assert [line.partition(" is ")[0] for line in lines] == [
        "detection of chain: network.width",
        "tss_3h of chain: network.width",
    ]


def test_what_follows_from_the_sweep_before_is_left_to_its_line(begun: Path) -> None:
    (line,) = told(begun, phases={"detection": {"epochs": 3, "promote": 1}})

    assert line.startswith("detection of chain: epochs is 3 where sweeps/detection-1 has 2;")


def test_a_sweep_that_0_1_opened_is_compared_by_what_0_1_recorded(begun: Path) -> None:
    folder = SweepFolder(begun / "toy" / "sweeps" / "detection-1")
    facts = read_json(folder.spec)
    write_json(folder.spec, {name: value for name, value in facts.items() if name not in ("asks", "bounds")})

    assert told(begun) == []
    assert "epochs is 3" in told(begun, phases={"detection": {"epochs": 3}})[0]


def test_other_code_than_a_sweep_was_begun_with_is_told(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"version": "0.2.0", "git_commit": "0123456789abcdef", "git_dirty": False}
    monkeypatch.setattr("tissueclock.checking.code_facts", lambda: now)

    lines = told(begun)

    assert [line.partition(":")[0] for line in lines] == ["detection-1", "tss_3h-1"]
    assert all(line.endswith("; goes on with tissueclock 0.2.0, commit 0123456789ab") for line in lines)


def test_a_damaged_record_is_passed_over(begun: Path) -> None:
    SweepFolder(begun / "toy" / "sweeps" / "detection-1").spec.write_text("{")

    assert told(begun, phases={"detection": {"epochs": 3}}) == []
