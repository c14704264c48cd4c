"""Wall time of a sweep of 24 short trials: tissueclock's against two hand-written Ray Tune scripts.

Run: make bench, or
     python -m pytest tests/benchmarks/test_sweep_wall_time.py -m benchmark -s     (10 minutes and more)

The sides, each in a fresh process (`sweep_arms/`): `ours` is `run_sweep` beside the follower,
`ours, as a task` the same with the driver in a process of its own, as `tissueclock sweep` has it; `usual` is the
script that Tune's own pages lead to (a new actor a trial, default loggers, Ray's MLflow callback); `best` the fastest
that we can write (actors used again, no loggers, one batched MLflow call a report). All train the same networks on the
same cohort for the same epochs, two at a time on two CPUs, write the same checkpoint after each epoch, and log every
epoch's metrics to an SQLite store of their own.

On the clock: from handing the sweep over until all is logged and every run ended. Off it, on all sides: imports of the
main process, Ray's start, the cohort, MLflow's tables. `ours` carries on its clock what the scripts do not do at all:
a synced ledger, promotion, scores on the holdout, the model registry.

Aim: at least 3 x faster than `usual`, at most 1.10 x `best`.

What was found is in docs/measurements/sweeps.md.
"""

from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.measuring import interleaved, print_table, run_alone
from tests.benchmarks.sweep_arms import work

ROUNDS = 3


@pytest.mark.benchmark
def test_sweep_wall_time(tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    work.open_cohort(cohort)
    n_runs = iter(range(1000))

    def run(side: str, *how: str) -> dict[str, float]:
        folder = tmp_path / f"{side}-{next(n_runs)}"
        folder.mkdir()
        return run_alone(f"tests.benchmarks.sweep_arms.{side}", cohort, folder, *how, home=tmp_path)

    alone_s = run_alone("tests.benchmarks.sweep_arms.work", home=tmp_path)["seconds"]
    sides = {
        "best": lambda: run("best"),
        "ours": lambda: run("ours", "here"),
        "ours, as a task": lambda: run("ours", "task"),
        "usual": lambda: run("usual"),
    }
    found = interleaved(sides, rounds=ROUNDS)

    walls = {side: [run["wall_s"] for run in runs] for side, runs in found.items()}
    title = f"sweep of {work.N_TRIALS} trials of {work.EPOCHS} epochs; one trial alone {alone_s:.2f} s"
    print_table(title, walls, unit="s", baseline="best")
    print(f"  usual / ours: {median(walls['usual']) / median(walls['ours']):.2f} (aim >= 3)")
    print(f"  ours / best:  {median(walls['ours']) / median(walls['best']):.3f} (aim <= 1.10)")
    print(f"  ours, seconds after the start: {found['ours'][-1]['times']}")
    for run_of_side in (run_ for runs in found.values() for run_ in runs):
        assert run_of_side["n_runs"] == work.N_TRIALS
        assert run_of_side["n_reports"] == work.N_TRIALS * work.EPOCHS
        assert run_of_side["n_open"] == 0
