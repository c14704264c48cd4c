"""A sweep on three nodes with a logical GPU each, of which one is lost in mid-sweep; prints what the ledger says.

python tests/e2e/lose_a_node.py COHORT FOLDER
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tests.sweeping.specs import SPEC
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.ledger import LedgerState, read_ledger
from tissueclock.records import Resources, SchedulerSpec, SweepFolder, SweepJob
from tissueclock.sweeping.cluster import RunningSweep


def main(cohort_folder: Path, folder: Path) -> None:
    cohort = Cohort.open(cohort_folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    spec = replace(
        SPEC,
        cohort=cohort_folder,
        cohort_digest=cohort.digest,
        fixed={"batch_size": 16},
        trials=4,
        epochs=8,
        patience=8,
        scheduler=SchedulerSpec(name="none"),
        resources=Resources(cpus=1, gpus=1),
    )
    lineage = {"cohort": "c", "split": "s", "seed": 3, "code": {}}
    job = SweepJob(spec=spec, folder=SweepFolder(folder), parents=(), study="s", inputs="i", lineage=lineage)
    sweep = RunningSweep(job, load_phase(spec), retry_failed=False)
    wait_until(job, lambda ledger: sum(trial.last_epoch >= 2 for trial in ledger.trials.values()) >= 3)
    cluster.remove_node(nodes[1], allow_graceful=False)
    while not sweep.ended():
        time.sleep(0.2)
    error = sweep.result()
    ledger = read_ledger(job.folder.ledger)
    lines = [json.loads(line) for line in job.folder.ledger.read_text().splitlines()]
    print(
        json.dumps(
            {
                "error": str(error) if error else None,
                "closed": ledger.closed,
                "status": [trial.status for trial in ledger.trials.values()],
                "epochs": [sorted(trial.metrics) for trial in ledger.trials.values()],
                "started": [trial.started for trial in ledger.trials.values()],
                "n_reports": [
                    sum(line["kind"] == "reported" and line["trial"] == name for line in lines)
                    for name in ledger.trials
                ],
            }
        )
    )
    ray.shutdown()
    cluster.shutdown()


def wait_until(job: SweepJob, there: Callable[[LedgerState], bool]) -> None:
    deadline = time.monotonic() + 150
    while not there(read_ledger(job.folder.ledger)):
        if time.monotonic() > deadline:
            raise TimeoutError("the sweep did not begin on three nodes")
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
