"""Memory of one more concurrent trial on the same cohort, against a trial that loads the cohort.

Run: make bench, or
     python -m pytest tests/benchmarks/test_memory_of_one_more_trial.py -m benchmark -s     (about 2 minutes)

Three trials are started in actors of Ray, one after the other, and each trains and validates one epoch, so that it has
touched what it will touch. Counted, from /proc/PID/smaps_rollup: USS, what a process has to itself; PSS, that and its
share of what it shares. What one more trial takes is the sum of all trials' PSS with it less the sum without it.

Found on a shared machine, 2 CPUs (AMD EPYC, no AMX), Python 3.11, Ray 2.60, torch 2.13, MLflow 3.17.2:
a cohort of 300 MB, width 4: one more trial takes 427 MB, of which Python, torch and Ray are all but little; one that
loads the cohort takes 712 MB.
"""

from pathlib import Path

import pytest

from tests.benchmarks.measuring import print_table, run_alone

N_PATIENTS = 200


@pytest.mark.benchmark
def test_memory_of_one_more_trial(tmp_path: Path) -> None:
    found = {
        kind: run_alone("tests.benchmarks.one_more_trial", tmp_path, N_PATIENTS, kind, home=tmp_path)
        for kind in ("mapped", "loaded")
    }

    cohort_mb = found["mapped"]["cohort_mb"]
    title = f"memory of one more trial, cohort of {cohort_mb:.0f} MB"
    print_table(title, {kind: figures["one_more_mb"] for kind, figures in found.items()}, unit="MB", baseline="loaded")
    for quantity in ("uss", "pss", "rss"):
        rows = {kind: [trial[quantity] for trial in figures["trials"]] for kind, figures in found.items()}
        print_table(f"{quantity.upper()} of each of three trials", rows, unit="MB", baseline="loaded")
    assert found["loaded"]["cohort_mb"] == cohort_mb
    assert len(found["loaded"]["trials"]) == len(found["mapped"]["trials"])
