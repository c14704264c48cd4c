"""`--json`: one object on standard output, whatever is said beside it."""

import json
from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tests.e2e.in_process import call
from tests.e2e.test_cli import write_started_study

pytestmark = pytest.mark.e2e


def test_status_as_json(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "status", write_started_study(study_dir, closed=True), "--json")

    told = json.loads(answer.out)
    (sweep,) = told["sweeps"]
    assert (told["schema"], told["study"], told["at_work"]) == (1, "toy", False)
    assert (sweep["name"], sweep["state"], sweep["ended"], sweep["wanted"]) == ("detection-0a", "complete", 3, 3)
    assert told["cost"] == [{"unit": "CPU", "hours": pytest.approx(6 / 3600)}]
    assert "no process is at work on it" in answer.err


def test_a_study_that_was_never_started_is_an_object_too(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(call(capsys, "status", write_study(study_dir), "--json").out)

    assert (told["sweeps"], told["cost"], told["budget_h"]) == ([], [], None)


def test_a_complete_sweep_without_its_ledger_is_damaged(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_started_study(study_dir, closed=True)
    (study_dir / "toy" / "sweeps" / "detection-0a" / "ledger.jsonl").unlink()

    (sweep,) = json.loads(call(capsys, "status", study, "--json").out)["sweeps"]

    assert sweep["state"] == "damaged"
    assert "ledger.jsonl: no such file" in sweep["error"]


def test_numbers_that_json_has_not_are_null(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_started_study(study_dir, closed=True)
    ledger = study_dir / "toy" / "sweeps" / "detection-0a" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"best_value":0.8', '"best_value":Infinity'))

    (sweep,) = json.loads(call(capsys, "status", study, "--json").out)["sweeps"]

    assert sweep["best"] is None


def test_what_a_lab_s_module_prints_is_not_in_the_object(study_dir: Path, tmp_path: Path) -> None:
    """In a process of its own: a lab's folder stays on the import path."""
    lab = tmp_path / "lab" / "search_spaces"
    lab.mkdir(parents=True)
    (lab / "loud.py").write_text(
        "from ray import tune\nprint('hello from lab')\n"
        "SPACE = {'lr': tune.loguniform(1e-4, 1e-2)}\nREASONS = {'lr': 'why'}\n"
    )

    study = write_study(study_dir, extensions=str(tmp_path / "lab"), sweep={"space": "loud"})
    done = run("plan", study, "--json", cwd=study_dir)

    assert json.loads(done.stdout)["faults"] == []
    assert "hello from lab" in done.stderr


def test_plan_as_json(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "plan", write_study(study_dir), "--json")

    told = json.loads(answer.out)
    (sweep,) = told["sweeps"]
    assert (told["schema"], told["unit"], told["faults"], sweep["trials"]) == (1, "CPU", [], 2)
    assert told["hours"] == sweep["hours"] > 0
    assert "Nothing is wrong" in answer.err


def test_report_as_json(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(call(capsys, "report", write_started_study(study_dir, closed=False), "--json").out)

    assert Path(told["page"]).is_file()
    assert isinstance(told["rows"], list)


def test_an_error_leaves_standard_output_empty(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "status", study_dir / "none.yaml", "--json")

    assert (answer.code, answer.out) == (2, "")
    assert len(answer.lines) == 1
