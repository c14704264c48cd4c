"""Sweeps on a head and two nodes with a logical GPU each; prints who was given which, by `gpus_per_trial`.

python tests/e2e/logical_gpus.py COHORT FOLDER
"""

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster as RayCluster

from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.cohort.store import Cohort
from tissueclock.records import SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.folders import SweepFolder
from tissueclock.sweeping.cluster import RunningSweep
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.room import slots
from tissueclock.training.classification import Answers, Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


@dataclass(frozen=True, slots=True)
class TellingTask(Classification):
    """Each process of a trial writes down what it was given, and waits for as many as shall be there at once."""

    def open(self, cohort: Cohort, job: SweepJob) -> Answers:
        given = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        folder = job.folder.path.parent / f"seen-{job.folder.path.name}"
        seen = {"node": ray.get_runtime_context().get_node_id(), "devices": given}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(seen))
        end_s = time.monotonic() + 120
        while len(list(folder.glob("*.json"))) < int((folder / "at-once").read_text()):
            assert time.monotonic() < end_s, "fewer are at work at once"
            time.sleep(0.1)
        return Classification.open(self, cohort, job)


class Telling(PhaseTrainable):
    """Detection."""

    phase = Phase(name="detection", title="stroke detection", task=TellingTask(HoldsLesion()))


def run_sweep(cohort: Cohort, folder: Path, *, gpus: float, trials: int) -> dict[str, Any]:
    """Runs a sweep; how many slots there were for it, and what each of its processes saw."""
    spec = vary(
        cohort=cohort.folder,
        cohort_digest=cohort.digest,
        fix={"batch_size": 16},
        trials=trials,
        epochs=3,
        patience=3,
        scheduler=SchedulerSettings(name="none"),
        cpus_per_trial=0.2,
        gpus_per_trial=gpus,
    )
    lineage = {"cohort": "c", "split": "s", "seed": 3, "code": {}}
    target = SweepFolder(folder / f"gpus-{gpus:g}")
    job = SweepJob(spec=spec, folder=target, parents=(), study="s", inputs="i", lineage=lineage)
    n_slots = slots(spec.budget.resources)
    told = folder / f"seen-{target.path.name}"
    told.mkdir()
    (told / "at-once").write_text(str(n_slots * spec.budget.resources.workers))
    sweep = RunningSweep(job, SweptPhase(Telling, load_phase(spec).space), retry_failed=False)
    while not sweep.ended():
        ray.wait([sweep._ref], timeout=5)
    error = sweep.result()
    seen = [json.loads(path.read_text()) for path in told.glob("*.json")]
    return {"error": error and str(error), "slots": n_slots, "seen": seen}


def main(cohort_folder: Path, folder: Path) -> None:
    cohort = Cohort.open(cohort_folder)
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    found = {f"{gpus:g}": run_sweep(cohort, folder, gpus=gpus, trials=trials) for gpus, trials in PLANNED}
    print(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


PLANNED = ((0.5, 4), (1.0, 2), (2.0, 1))

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
