"""Two measurements for `test_tracker_report.py`; each prints a JSON line.

Usage: python -m tests.benchmarks.tracker_report cost FOLDER N_REPORTS
       python -m tests.benchmarks.tracker_report path FOLDER N_ROUNDS (of four blocks: with, without, without, with)
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from tests.benchmarks.measuring import answer
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.ledger import SCHEMA, LedgerWriter
from tissueclock.tracking.connection import open_client
from tissueclock.tracking.follower import Follower
from tissueclock.tracking.sweep_log import SweepLog
from tissueclock.tracking.sync import Refusals, StudyIdentity, StudySync

N_METRICS = 20
REPORTS_PER_BLOCK = 40
PACE_S = 0.05  # twenty reports a second: what forty trials give whose epochs take two seconds


def open_sweep(study: StudyFolder) -> LedgerWriter:
    """A sweep's ledger with one trial at work."""
    writer = LedgerWriter(study.sweep("detection-bench").ledger)
    writer.append(
        "opened",
        schema=SCHEMA,
        study="bench",
        sweep="detection-bench",
        phase="detection",
        arms=["bench"],
        inputs="i",
        lineage={},
        spec={},
    )
    ask(writer, "t0001")
    return writer


def ask(writer: LedgerWriter, trial: str) -> None:
    writer.append("asked", trial=trial, hyperparameters={"lr": 1e-3, "batch_size": 8}, seed=1)
    writer.append("started", trial=trial, node="local", epoch=0)


def metrics_at(epoch: int) -> dict[str, float]:
    """Twenty finite numbers, two of which are known by name."""
    named = {"epoch": float(epoch), "best_value": 0.5 + epoch / 1e4}
    return {**named, **{f"metric_{i:02d}": epoch + i / 7 for i in range(N_METRICS - len(named))}}


def measure_cost(folder: Path, n_reports: int) -> None:
    """The follower's work for a report, from the ledger's line to the store, against calls by hand on that store."""
    study = StudyFolder(folder)
    client = open_client(study.default_tracking_uri)
    sync = StudySync(
        client=client,
        identity=StudyIdentity("bench", "1", time.time()),
        folder=study,
        artifact_root=(folder / "artifacts").as_uri(),
        refusals=Refusals(),
        check=lambda: None,
    )
    run = sync.sync_study("running")
    by_hand = client.create_run(client.create_experiment("by hand")).info.run_id
    log = SweepLog("detection-bench", study.sweep("detection-bench"))
    figures: dict[str, list[float]] = {"follower": [], "log_batch": [], "log_metric": []}

    def follow(_: int) -> None:
        log.read()
        sync.sync_sweep(log, study=run, live=True, current=None)

    def log_batch(epoch: int) -> None:
        now_ms = int(time.time() * 1e3)
        client.log_batch(by_hand, [Metric(name, v, now_ms, epoch) for name, v in metrics_at(epoch).items()])

    def log_each(epoch: int) -> None:
        for name, value in metrics_at(epoch).items():
            client.log_metric(by_hand, f"each_{name}", value, step=epoch)

    sides = {"follower": follow, "log_batch": log_batch, "log_metric": log_each}
    with open_sweep(study) as writer:
        for epoch in range(1, n_reports + 6):
            writer.append("reported", trial="t0001", epoch=epoch, metrics=metrics_at(epoch))
            for name, side in sides.items():
                started = time.perf_counter()
                side(epoch)
                if epoch > 5:  # the first ones make runs
                    figures[name].append(1e3 * (time.perf_counter() - started))
    experiment = client.get_experiment_by_name("bench").experiment_id
    (trial,) = client.search_runs([experiment], "tags.`tissueclock.trial` = 't0001'")
    n_logged = len(client.get_metric_history(trial.info.run_id, "epoch"))
    n_by_hand = len(client.get_metric_history(by_hand, "epoch"))
    answer(milliseconds=figures, n_logged=[n_logged, n_by_hand], n_reports=n_reports + 5)


def measure_path(folder: Path, n_rounds: int) -> None:
    """What a report costs the sweep, its ledger's line, in blocks with a follower in another process and without."""
    study = StudyFolder(folder)
    open_client(study.default_tracking_uri)
    figures: dict[str, list[float]] = {"without follower": [], "with follower": []}
    with open_sweep(study) as writer:
        for i_block in range(4 * n_rounds):
            trial = f"t{i_block + 2:04d}"
            ask(writer, trial)
            follows = i_block % 4 in (0, 3)
            follower = _start_follower(folder) if follows else None
            for epoch in range(1, REPORTS_PER_BLOCK + 1):
                started = time.perf_counter()
                writer.append("reported", trial=trial, epoch=epoch, metrics=metrics_at(epoch))
                elapsed_s = time.perf_counter() - started
                figures["with follower" if follows else "without follower"].append(1e3 * elapsed_s)
                time.sleep(max(0.0, PACE_S - elapsed_s))
            if follower is not None:
                follower.communicate("\n")
    client: Any = open_client(study.default_tracking_uri)
    n_followed = len(client.search_runs([client.get_experiment_by_name("bench").experiment_id])) - 2  # study, sweep
    answer(milliseconds=figures, n_followed=n_followed, n_trials=4 * n_rounds + 1)


def _start_follower(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.tracker_report", "follow", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def follow(folder: Path) -> None:
    """Follows until a line comes in; says when it has caught up with what was there."""
    study = StudyFolder(folder)
    follower = Follower(uri=study.default_tracking_uri, study="bench", folder=study)
    follower.start()
    time.sleep(3)  # MLflow is imported and the past caught up
    print("following", flush=True)
    sys.stdin.readline()
    follower.stop(timeout_s=60)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cost", folder, n]:
            measure_cost(Path(folder), int(n))
        case ["path", folder, n]:
            measure_path(Path(folder), int(n))
        case ["follow", folder]:
            follow(Path(folder))
