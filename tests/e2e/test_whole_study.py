"""A study from its file to its report, run again, and continued."""

import json
import re
from pathlib import Path

import pytest

from tests.e2e.commands import run, write_study
from tissueclock.storage.files import read_json
from tissueclock.storage.ledger import read_ledger
from tissueclock.tracking.connection import open_client

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas.md"
ARMS = {
    "chain": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}},
    "scratch": {"network": "slice", "phases": {"tss_3h": "random"}},
}

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def ledgers(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("toy/sweeps/*/ledger.jsonl"))}


def check_schemas(folder: Path) -> None:
    """What `docs/reference/schemas.md` says of each file is what the study has."""
    for name, text in re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", SCHEMAS.read_text(), re.MULTILINE | re.DOTALL):
        if name == "ledger.jsonl":
            continue
        told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
        paths = list(folder.rglob(name))
        assert paths, name
        for path in paths:
            found = (
                set(read_json(path)) if path.suffix == ".json" else set(path.read_text().splitlines()[0].split("\t"))
            )
            assert found <= set(told), path
            assert {key for key, meaning in told.items() if not meaning.startswith("Where")} <= found, path


def test_a_study_runs_to_its_report_rests_when_nothing_changed_and_goes_on_when_more_is_asked(study_dir: Path) -> None:
    told = study_dir / "told.jsonl"
    notified = {"command": f"sh -c 'cat >> {told}; echo >> {told}'"}
    study = write_study(study_dir, arms=ARMS, notify=notified)

    first = run("sweep", study, cwd=study_dir)

    assert first.returncode == 0, first.stderr
    after_first = ledgers(study_dir)
    assert sorted(name.split("-")[0] for name in after_first) == ["detection", "tss_3h", "tss_3h"]
    assert "chain / tss_3h" in first.stdout
    assert "scratch / tss_3h" in first.stdout
    page = (study_dir / "toy/report/index.html").read_text()
    assert "<script src" not in page, "the page opens without a server"
    assert all(name in page for name in after_first)
    billed = [read_ledger(path) for path in study_dir.glob("toy/sweeps/*/ledger.jsonl")]
    assert all(ledger.bill["trials"] == 2 and ledger.bill["hours"] > 0 and ledger.device_s > 0 for ledger in billed)

    check_schemas(study_dir / "toy")

    again = run("sweep", study, cwd=study_dir)

    assert again.returncode == 0, again.stderr
    assert ledgers(study_dir) == after_first

    more = run(
        "sweep", write_study(study_dir, arms=ARMS, notify=notified, sweep={"trials": 3, "confirm": 1}), cwd=study_dir
    )

    assert more.returncode == 0, more.stderr
    said = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(each["study"], each["status"], {sweep["ended"] for sweep in each["sweeps"]}) for each in said] == [
        ("toy", "complete", {2}),
        ("toy", "complete", {3}),
    ], "told once whenever it worked"
    for name, before in after_first.items():
        assert ledgers(study_dir)[name].startswith(before), "a ledger only grows"
    detection = next(path for path in study_dir.glob("toy/sweeps/detection-*/ledger.jsonl"))
    assert len(read_ledger(detection).trials) == 3
    assert read_ledger(detection).bill["trials"] == 3

    client = open_client(f"sqlite:///{study_dir}/toy/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "toy")
    runs = client.search_runs([experiment.experiment_id])
    trials = [
        (run.data.tags["tissueclock.sweep"], run.data.tags["tissueclock.trial"])
        for run in runs
        if "tissueclock.trial" in run.data.tags
    ]
    expected = [
        (path.parent.name, trial.name)
        for path in study_dir.glob("toy/sweeps/*/ledger.jsonl")
        for trial in read_ledger(path).entries()
    ]
    assert sum("c" in trial for _, trial in expected) == 3 * 2, "those that confirm the best too"
    assert sorted(trials) == sorted(expected)
    assert {run.info.status for run in runs} == {"FINISHED"}
    (root,) = (run for run in runs if run.data.tags["tissueclock.kind"] == "study")
    artifacts = {artifact.path for artifact in client.list_artifacts(root.info.run_id)}
    assert {"study.json", "report"} <= artifacts
