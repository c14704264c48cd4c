"""What a report of 20 metrics costs: in the follower on SQLite, and on the sweep's own path.

Run: make bench, or
     python -m pytest tests/benchmarks/test_tracker_report.py -m benchmark -s     (about 3 minutes)

The first test times the follower's work for one report, from the ledger's line to the store, one report at a time (its
worst case: what has piled up goes in one call), against 20 calls of `client.log_metric` and one bare
`log_batch` on the same store, in turn. The second times the append of a report to the ledger, which is all that a
trial's driver waits for, in blocks with a follower at work in another process and without.

Aim: at most 15 ms a report, and nothing of it on the trials' path.

Found on a shared machine, 2 CPUs (AMD EPYC, no AMX), Python 3.11, Ray 2.60, torch 2.13, MLflow 3.17.2,
under a load of 6 to 10 by others: the follower 37 ms a report, one bare `log_batch` 36 ms, 20 calls 536 ms (0.07 x);
in CPU time, which the load touches less, 11.6, 10.7 and 114 ms; the fastest report took 10.5 ms. The ledger's line
took 4.0 ms with a follower and 4.0 ms without (0.999 x).
"""

from pathlib import Path

import pytest

from tests.benchmarks.measuring import print_table, run_alone


@pytest.mark.benchmark
def test_cost_of_a_report_in_the_follower(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()

    found = run_alone("tests.benchmarks.tracker_report", "cost", folder, 100, home=tmp_path)

    title = "a report of 20 metrics to SQLite (aim for the follower <= 15 ms)"
    print_table(title, found["milliseconds"], unit="ms", baseline="log_metric")
    assert found["n_logged"] == [found["n_reports"]] * 2


@pytest.mark.benchmark
def test_a_report_on_the_path_of_the_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()

    found = run_alone("tests.benchmarks.tracker_report", "path", folder, 3, home=tmp_path)

    title = "a report appended to the ledger, synced (aim: the follower costs it nothing)"
    print_table(title, found["milliseconds"], unit="ms", baseline="without follower")
    assert found["n_followed"] == found["n_trials"]
