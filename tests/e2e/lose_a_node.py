"""A sweep on three nodes with a logical GPU each, of which one is lost in mid-sweep; prints what the ledger says.

python tests/e2e/lose_a_node.py COHORT FOLDER
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.records import SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import read_ledger
from tissueclock.storage.locks import hold, is_held
from tissueclock.sweeping.cluster import RunningSweep
from tissueclock.sweeping.phase import SweptPhase
from trainables.detection import Detection


class HeldDetection(Detection):
    """Stops after two epochs, holding its node's lock, and goes on once the sweep's folder has `go` in it."""

    def step(self) -> dict[str, Any]:
        go = self.trial._job.folder.path / "go"
        if self.trial.course.epoch == 2 and not go.exists():
            with hold(self.trial._job.folder.path / ray.get_runtime_context().get_node_id(), what="node"):
                wait_until(go.exists)
        return super().step()


def main(cohort_folder: Path, folder: Path) -> None:
    cohort = Cohort.open(cohort_folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    spec = vary(
        cohort=cohort_folder,
        cohort_digest=cohort.digest,
        fix={"batch_size": 16},
        trials=4,
        epochs=8,
        patience=8,
        scheduler=SchedulerSettings(name="none"),
        cpus_per_trial=1.0,
        gpus_per_trial=1.0,
    )
    lineage = {"cohort": "c", "split": "s", "seed": 3, "code": {}}
    job = SweepJob(spec=spec, folder=SweepFolder(folder), parents=(), study="s", inputs="i", lineage=lineage)
    sweep = RunningSweep(job, SweptPhase(HeldDetection, load_phase(spec).space), retry_failed=False)
    wait_until(lambda: all(is_held(folder / node.node_id) for node in nodes))
    cluster.remove_node(nodes[1], allow_graceful=False)
    wait_until(lambda: not is_held(folder / nodes[1].node_id))
    (folder / "go").touch()
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


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("three trials were to be held, one on each node, and one node to be lost")
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
