"""The command line: what answers at once, what reads a study, what a promoted checkpoint predicts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.commands import environment, write_study
from tests.e2e.in_process import call
from tests.e2e.wrong_places import scored_folder
from tissueclock import __version__
from tissueclock.cohort.store import Cohort
from tissueclock.storage.files import write_json
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.storage.tsv import read_rows

pytestmark = pytest.mark.e2e

COMMANDS = (
    "ingest",
    "preprocess",
    "pack",
    "phantom",
    "init",
    "explain",
    "plan",
    "sweep",
    "status",
    "report",
    "predict",
    "evaluate",
    "ui",
    "bids",
)
HEAVY = {"torch", "ray", "mlflow", "pandas", "matplotlib", "sklearn", "optuna", "numpy", "scipy"}


DRAWS = {"matplotlib", "numpy", "scipy"}


@pytest.mark.parametrize(
    ("arguments", "used"),
    [
        (["--help"], set()),
        (["--version"], set()),
        *[([command, "--help"], set()) for command in COMMANDS],
        (["status", "study.yaml"], set()),
        (["ui", "study.yaml"], set()),
        (["report", "study.yaml"], {*DRAWS, "sklearn", "optuna", "pandas"}),  # statistics, importances; statsmodels
        (["predict", "promoted", "cohort", "out"], {*DRAWS, "torch", "sklearn", "pandas"}),
    ],
)
def test_a_command_imports_what_it_uses(
    study_dir: Path, toy_cohort: Cohort, arguments: list[str], used: set[str]
) -> None:
    write_started_study(study_dir, closed=True)
    if "predict" in arguments:
        scored_folder(study_dir / "promoted", toy_cohort)
    program = (
        "import runpy, sys; sys.argv = ['tissueclock', *sys.argv[1:]]\n"
        "try: runpy.run_module('tissueclock', run_name='__main__')\n"
        "finally: print('imported', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(study_dir),
        cwd=study_dir,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    imported = done.stderr.splitlines()[-1]
    assert done.returncode == 0 or "nothing is logged yet" in done.stderr
    assert HEAVY & set(imported.split()) == used


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version").out == f"tissueclock {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    answer = call(capsys, *arguments)

    assert answer.code == 0
    first_words = [line.strip("│ ").split() for line in answer.out.splitlines()]
    assert [words[0] for words in first_words if words and words[0] in COMMANDS and len(words) > 3] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(capsys: pytest.CaptureFixture[str], command: str) -> None:
    from typer.main import get_command

    from tissueclock.cli.app import app

    found = get_command(app).commands[command]  # type: ignore[attr-defined]

    assert found.help
    assert all(getattr(parameter, "help", None) for parameter in found.params if parameter.name != "help")
    assert call(capsys, command, "--help").code == 0


def write_started_study(folder: Path, *, closed: bool, objective: str = "val_auc") -> Path:
    """A study file, and the folder that its sweep would have left."""
    study = write_study(folder)
    made = folder / "toy"
    facts = {
        "phase": "detection",
        "objective": objective,
        "arms": ["chain"],
        "weights": "random",
        "upstream": None,
        "network": {},
        "trials": 3,
        "state": "complete" if closed else "running",
        "error": None,
    }
    graph = {"study": "toy", "seed": 7, "cohort": str(folder / "cohort"), "arms": {"chain": ["detection-0a"]}}
    write_json(made / "graph.json", {**graph, "sweeps": {"detection-0a": facts}})
    with LedgerWriter(SweepFolder(made / "sweeps" / "detection-0a").ledger) as writer:
        writer.append("opened", schema=1, sweep="detection-0a", phase="detection", arms=["chain"])
        writer.append("billed", trials=3, devices=1.0, unit="CPU", hours=0.005)
        for i in range(1, 4 if closed else 3):
            writer.append("asked", trial=f"t{i:04d}", hyperparameters={"lr": 0.001}, seed=i)
            writer.append("started", trial=f"t{i:04d}", node="n", epoch=0)
            row = {"epoch": 1.0, "val_auc": 0.5 + i / 10, "best_value": 0.5 + i / 10, "epoch_s": 2.0}
            writer.append("reported", trial=f"t{i:04d}", epoch=1, metrics=row)
            if closed or i == 1:
                writer.append("ended", trial=f"t{i:04d}", status="finished")
        if closed:
            writer.append("closed")
    return study


def test_status_of_a_study_that_was_never_started(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "status", write_study(study_dir))

    assert answer.code == 0
    assert answer.out.strip() == f"{study_dir / 'toy'}: nothing was started yet"
    assert not (study_dir / "toy").exists()


def test_status_of_a_finished_study(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "status", write_started_study(study_dir, closed=True))

    (row,) = [line for line in answer.out.splitlines() if "detection-0a" in line]
    assert answer.code == 0
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "detection-0a",
        "chain",
        "complete",
        "3/3",
        "0.800",
        "",
    ]
    assert "the sweeps begun have cost 0.002 CPU-hours; their bill is at most 0.005" in answer.out
    assert "no process is at work on it" in answer.out


def test_status_of_a_study_whose_process_died(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "status", write_started_study(study_dir, closed=False))

    (row,) = [line for line in answer.out.splitlines() if "detection-0a" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][2:5] == ["interrupted", "1/3", "0.700"]


def test_status_says_what_the_best_value_is_of_where_it_is_not_the_auc(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(capsys, "status", write_started_study(study_dir, closed=True, objective="val_restored"))

    (row,) = [line for line in answer.out.splitlines() if "detection-0a" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][4] == "val_restored 0.800"
    assert "val. AUC" not in answer.out


def test_status_with_a_damaged_graph_says_which_file(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_started_study(study_dir, closed=True)
    (study_dir / "toy" / "graph.json").write_text("{")

    answer = call(capsys, "status", study)

    assert answer.code == 2
    assert "toy/graph.json: cannot be read as JSON" in " ".join(answer.lines)


def test_report_of_a_study_in_part_names_its_gaps(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "report", write_started_study(study_dir, closed=False))

    assert answer.code == 0, answer.err
    assert f"report: {study_dir / 'toy' / 'report' / 'index.html'}" in answer.out
    page = (study_dir / "toy" / "report" / "index.html").read_text()
    assert "detection-0a" in page
    cells = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in page.split("<tr>") if "CPU-hours" in row]
    assert cells == [
        ["detection-0a", "chain", "CPU-hours", "0.005", "0.001", "22%"],
        ["all", "", "CPU-hours", "0.005", "0.001", "22%"],
    ]


def test_plan_prints_the_bill_and_makes_nothing(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(study_dir)

    answer = call(capsys, "plan", study)

    assert answer.code == 0, answer.err
    assert "2 trials" in answer.out
    assert "Nothing is wrong. To run it: tissueclock sweep" in answer.out
    assert not (study_dir / "toy").exists()


def test_plan_says_that_a_time_budget_ends_before_the_first_epoch(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(capsys, "plan", write_study(study_dir, sweep={"time_budget_min": 1e-6}))

    assert answer.code == 0, answer.err
    assert re.search(r"detection\.\w+: time_budget_min is 1e-06, but one epoch takes .* min: no trial", answer.out)
    assert "Nothing else is wrong." in answer.out


def test_plan_says_that_this_machine_holds_no_trial_and_bills_it_all_the_same(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(capsys, "plan", write_study(study_dir, sweep={"cpus_per_trial": 3.0}), "--cpus", 2)

    assert answer.code == 0, answer.err
    assert "no room for a trial of 3 CPUs (cpus_per_trial, gpus_per_trial) on 1 node, which has 2 CPUs" in answer.out
    assert "2 trials" in answer.out


def test_predict_answers_for_every_patient_and_chooses_the_likelier_hemisphere(
    study_dir: Path, toy_cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted = scored_folder(study_dir / "promoted", toy_cohort)
    logits = {row.cells["unit"]: float(row.cells["logit"]) for row in read_rows(promoted / "holdout.tsv", required=())}

    answer = call(capsys, "predict", promoted, study_dir / "cohort", study_dir / "out")

    rows = {row.cells["patient"]: row.cells for row in read_rows(study_dir / "out" / "answers.tsv", required=())}
    assert answer.code == 0, answer.err
    assert list(rows) == [patient.participant_id for patient in toy_cohort.patients]
    for patient in {unit.partition("/")[0] for unit in logits}:
        likelier = max(("left", "right"), key=lambda side: logits[f"{patient}/{side}"])
        assert (rows[patient]["hemisphere"], rows[patient]["chosen_by"]) == (likelier, "detection")
        assert "known from the model's own cohort (by id)" in rows[patient]["flags"]
    assert "60 patients answered for, 0 refused; research only" in answer.out.replace("\n", " ")
    pages = [study_dir / "out" / "index.html", *(study_dir / "out" / "patients").iterdir()]
    assert len(pages) == 61
    assert all("Research only: not a medical device" in page.read_text() for page in pages)


@pytest.mark.parametrize("signalled", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_so_and_ends_with_130(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signalled: signal.Signals
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signalled)
        time.sleep(10)  # where the signal finds it

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    monkeypatch.setattr("tissueclock.billing.bill_study", interrupted)
    answer = call(capsys, "plan", write_study(study_dir))

    assert answer.code == 130
    assert answer.lines == ["interrupted; the same command goes on from here"]


def test_a_failure_of_the_run_ends_with_1_and_a_mistake_of_ours_with_a_traceback(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tissueclock.errors import SweepError

    def fails(*_: object, **__: object) -> None:
        raise SweepError("sweep detection-0a: none of 2 trials left a checkpoint")

    monkeypatch.setattr("tissueclock.billing.bill_study", fails)
    answer = call(capsys, "plan", write_study(study_dir))

    assert answer.code == 1
    assert answer.lines == ["error: sweep detection-0a: none of 2 trials left a checkpoint"]

    def is_wrong(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tissueclock.billing.bill_study", is_wrong)
    with pytest.raises(AssertionError):
        call(capsys, "plan", write_study(study_dir))
