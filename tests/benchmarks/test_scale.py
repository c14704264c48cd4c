"""What a sweep costs besides learning: 1,000 trials of five epochs that cost nothing, and a study of 48 sweeps.

Run: make bench, or
     python -m pytest tests/benchmarks/test_scale.py -m benchmark -s     (25 minutes)

`ours` is `tissueclock sweep`, all of it: checks, ledger, tracker, promotion, report. `script` is the best Ray
Tune script that we can write, with one batched MLflow call a report, or none. Both use actors again, ask TPE, write a
checkpoint an epoch and run eight trials at once. Wall times are of the whole command, imports and Ray's start too.

Aims: 1.05 x the script at most, memory flat, `sweep` of a complete study 10 s, `status` .7 s, `report` 10 s.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.benchmarks.measuring import ROOT, interleaved, print_table, run_alone
from tests.benchmarks.scale.studies import EPOCHS, write_study
from tests.benchmarks.scale.watching import Watched, environment, watch
from tests.infra.conftest import free_port, wait_until_up
from tissueclock.storage.ledger import read_lines

N_TRIALS, AT_ONCE, N_SWEEPS = 1_000, 8, 48
N_NODES, N_TRIALS_ON_NODES = 8, 200
N_CPUS = os.cpu_count() or 1


@pytest.mark.benchmark
def test_a_thousand_trials(tmp_path: Path) -> None:
    n_runs = iter(range(100))

    def script(tracked: str) -> Watched:
        folder = tmp_path / f"script{next(n_runs)}"
        folder.mkdir()
        command = ["-m", "tests.benchmarks.scale.script", folder, N_TRIALS, EPOCHS, AT_ONCE, tracked]
        return watch([sys.executable, *map(str, command)], home=tmp_path)

    study = write_study(tmp_path / "ours", sweeps=1, trials=N_TRIALS, cpus=N_CPUS / AT_ONCE)
    sides = {
        "script, one batched log a report": lambda: script("tracked"),
        "ours": lambda: _tissueclock("sweep", study, home=tmp_path),
        "script, no tracking": lambda: script("untracked"),
    }
    found = interleaved(sides, rounds=1)
    walls = {side: [seen.wall_s for seen in runs] for side, runs in found.items()}
    print_table(f"{N_TRIALS} trials that cost nothing", walls, unit="s", baseline="script, one batched log a report")
    (ledger,) = (tmp_path / "ours" / "study" / "sweeps").glob("*/ledger.jsonl")
    _tell_ledger(ledger)
    _tell_memory(ledger, found["ours"][0])
    _tell_commands(study, home=tmp_path)
    _tell_page(study, home=tmp_path)


@pytest.mark.benchmark
def test_a_study_of_many_sweeps(tmp_path: Path) -> None:
    study = write_study(tmp_path / "ours", sweeps=N_SWEEPS, trials=2, cpus=N_CPUS / 2)
    seen = _tissueclock("sweep", study, home=tmp_path)
    each = {"a sweep of two trials": [seen.wall_s / N_SWEEPS]}
    print_table(f"{N_SWEEPS} sweeps of two trials that cost nothing", each, unit="s", baseline="a sweep of two trials")
    _tell_commands(study, home=tmp_path)


@pytest.mark.benchmark
def test_eight_nodes(tmp_path: Path) -> None:
    """Simulated: eight raylets on this machine."""
    study = write_study(tmp_path / "ours", sweeps=1, trials=N_TRIALS_ON_NODES, cpus=1)
    found = run_alone("tests.benchmarks.scale.nodes", study, N_NODES, home=tmp_path)
    walls = {"sweep": [found["wall_s"]]}
    print_table(f"{N_TRIALS_ON_NODES} such trials on {N_NODES} nodes", walls, unit="s", baseline="sweep")
    (ledger,) = (tmp_path / "ours" / "study" / "sweeps").glob("*/ledger.jsonl")
    _tell_ledger(ledger)


def _tissueclock(command: str, study: Path, *, home: Path) -> Watched:
    return watch([sys.executable, "-m", "tissueclock", command, str(study)], home=home)


def _tell_commands(study: Path, *, home: Path) -> None:
    """What a complete study's commands take."""
    commands = ("status", "report", "sweep")
    seconds = {command: [_tissueclock(command, study, home=home).wall_s for _ in range(3)] for command in commands}
    print_table("commands at its end (aims: .7, 10, 10 s)", seconds, unit="s", baseline="status")


def _tell_page(study: Path, *, home: Path) -> None:
    """What its MLflow page takes: to start, and to be told a hundred runs, as it asks when it is opened."""
    port, started_s = free_port(), time.perf_counter()
    command = [sys.executable, "-m", "tissueclock", "ui", str(study), "--port", str(port)]
    with (home / "page.log").open("w") as log, contextlib.ExitStack() as stack:
        page = subprocess.Popen(command, cwd=ROOT, env=environment(home), stdout=log, stderr=subprocess.STDOUT)
        stack.callback(page.wait)
        stack.callback(page.terminate)
        client = MlflowClient(f"http://127.0.0.1:{port}")
        wait_until_up(page, port, home / "page.log")
        seconds = {"until it answers": [time.perf_counter() - started_s], "a hundred runs": []}
        (experiment,) = [each.experiment_id for each in client.search_experiments() if each.name != "Default"]
        for _ in range(5):
            asked_s = time.perf_counter()
            runs = client.search_runs([experiment], max_results=100, order_by=["attributes.start_time DESC"])
            seconds["a hundred runs"].append(time.perf_counter() - asked_s)
            assert len(runs) == 100
    print_table("MLflow's page at its end", seconds, unit="s", baseline="a hundred runs")


def _tell_ledger(ledger: Path) -> None:
    """Where the wall time of a sweep went, and what asking and reporting cost as the sweep grows."""
    lines = [line for line, _ in read_lines(ledger)]
    first_s = next(line["time_s"] for line in lines if line["kind"] == "opened")
    started = [line["time_s"] - first_s for line in lines if line["kind"] == "started"]
    ended = [line["time_s"] - first_s for line in lines if line["kind"] == "ended"]
    closed_s = lines[-1]["time_s"] - first_s
    print(f"  ledger {ledger.stat().st_size / 1e6:.2f} MB, {len(lines)} lines")
    print(f"  first trial after {started[0]:.1f} s, last ended at {ended[-1]:.1f}, closed at {closed_s:.1f}")
    rates = {f"trials {i} to {i + 100}": [(ended[i + 99] - ended[i]) / 99] for i in range(0, len(ended) - 99, 100)}
    print_table("seconds a trial as the sweep grows", rates, unit="s", baseline="trials 0 to 100")


def _tell_memory(ledger: Path, seen: Watched) -> None:
    """Resident memory when so many trials had ended."""
    ended_s = [line["time_s"] for line, _ in read_lines(ledger) if line["kind"] == "ended"]
    for n in (100, 300, N_TRIALS):
        near = min(seen.memory_mb, key=lambda each: abs(each[0] - ended_s[n - 1]))
        print(f"  {n} trials: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in near[1].items()))
