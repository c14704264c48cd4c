"""Tissueclock's side: `run_sweep` and the follower, here or, as `tissueclock sweep` has it, as a Ray task.

On its clock are also what the scripts leave out: a ledger synced line by line, promotion, scores on the holdout, the
model registry and, as a task, the start of the driver's process.

Usage: python -m tests.benchmarks.sweep_arms.ours COHORT FOLDER here|task
"""

import sys
import time
from pathlib import Path

from tests.benchmarks.measuring import answer
from tests.benchmarks.sweep_arms import work
from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.networks.settings import SliceSettings
from tissueclock.records import SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.ledger import read_lines
from tissueclock.sweeping import cluster
from tissueclock.sweeping.sweep import run_sweep
from tissueclock.tracking.follower import Follower


def main(cohort_folder: Path, folder: Path, where: str) -> None:
    cohort = work.open_cohort(cohort_folder)
    spec = vary(
        phase="detection",
        space="detection",
        network=SliceSettings(width=work.WIDTH),
        fix=work.FIXED,
        epochs=work.EPOCHS,
        patience=work.EPOCHS,
        searcher="random",
        scheduler=SchedulerSettings(name="none"),
        cohort=cohort.folder,
        cohort_digest=cohort.digest,
        seed=work.SEED,
        arms=("bench",),
        trials=work.N_TRIALS,
        max_concurrent=work.CONCURRENT,
    )
    study = StudyFolder(folder)
    lineage = {"cohort": cohort.digest, "split": cohort.split_digest, "seed": work.SEED, "code": {}}
    phase = load_phase(spec)
    job = SweepJob(
        spec=spec,
        folder=study.sweep("detection-bench"),
        parents=(),
        study="bench",
        inputs="inputs",
        phase=phase.facts,
        lineage=lineage,
    )
    uri = work.make_store(folder)
    cluster.connect(address="local", n_cpus=work.CONCURRENT)

    started, started_s = time.perf_counter(), time.time()
    follower = Follower(uri=uri, study="bench", folder=study)
    follower.start()
    if where == "task":
        sweep = cluster.RunningSweep(job, phase, retry_failed=False)
        while not sweep.ended():
            time.sleep(0.05)
        if (error := sweep.result()) is not None:
            raise error
    else:
        run_sweep(job, phase)
    swept_s = time.perf_counter() - started
    n_pending = follower.stop(timeout_s=120)
    wall_s = time.perf_counter() - started

    times: dict[str, float] = {}
    for line, _ in read_lines(job.folder.ledger):
        times.setdefault(f"first {line['kind']}", round(line["time_s"] - started_s, 2))
        times[f"last {line['kind']}"] = round(line["time_s"] - started_s, 2)
    answer(wall_s=wall_s, swept_s=swept_s, n_pending=n_pending, times=times, **work.count_logged(folder))
    cluster.disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
