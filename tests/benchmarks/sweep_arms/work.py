"""The work that all three sweeps do: the same trials of the same learner on the same cohort, logged to the same store.

What is tuned changes no trial's length, so that it does not matter which points a side draws.
"""

import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from search_spaces.detection import SPACE
from tests.benchmarks.measuring import answer
from tests.toy import write_toy_cohort
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.cohort.store import Cohort
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.training.scoring import samples_of

N_TRIALS = 24
EPOCHS = 5
CONCURRENT = 2
WIDTH = 4
SEED = 3
FIXED: dict[str, Any] = {"optimiser": "adabound", "batch_size": 16, "augmentation": 1.0}
TUNED = {name: domain for name, domain in SPACE.items() if name not in FIXED}


def open_cohort(folder: Path) -> Cohort:
    """The toy cohort, made where it is missing."""
    return Cohort.open(folder) if folder.exists() else write_toy_cohort(folder)


class Samples:
    """A cohort's samples for detection."""

    def __init__(self, folder: Path) -> None:
        cohort = Cohort.open(folder)
        view = cohort.sweep_view()
        self.n_slices = cohort.shape[0]
        self.train = samples_of(HoldsLesion(), cohort.table, view, view.rows("train"))
        self.validation = samples_of(HoldsLesion(), cohort.table, view, view.rows("validation"))


def make_learner(samples: Samples, hyperparameters: Mapping[str, Any]) -> Classifier:
    """What one trial trains."""
    network = SliceNetwork(n_slices=samples.n_slices, width=WIDTH)
    network.reset_parameters(torch.Generator().manual_seed(SEED))
    return Classifier(
        network=network,
        train=samples.train,
        validation=samples.validation,
        hyperparameters={**FIXED, **hyperparameters},
        conditions=Conditions(epochs=EPOCHS, patience=EPOCHS, seed=SEED, device=torch.device("cpu")),
    )


def make_store(folder: Path) -> str:
    """A fresh SQLite store for MLflow with its tables in it, and MLflow imported: on no side's clock."""
    from tissueclock.tracking.connection import open_client

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    open_client(uri)
    return uri


def count_logged(folder: Path) -> dict[str, int]:
    """What the store holds of trials, read without MLflow: runs, reports, and runs that were left open."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        # at step 0 are the metrics of promoted models
        runs, reports = store.execute(
            "select count(distinct run_uuid), count(*) from metrics where key = 'train_loss' and step > 0"
        ).fetchone()
        (n_open,) = store.execute("select count(*) from runs where status = 'RUNNING'").fetchone()
    return {"n_runs": runs, "n_reports": reports, "n_open": n_open}


def alone_seconds() -> float:
    """Training and checkpoints of one trial without Tune, MLflow and processes: what no side can be faster than."""

    with tempfile.TemporaryDirectory() as folder:
        write_toy_cohort(Path(folder) / "cohort")
        torch.set_num_threads(1)
        samples = Samples(Path(folder) / "cohort")
        make_learner(samples, {}).run_epoch()
        started = time.perf_counter()
        learner = make_learner(samples, {})
        for _ in range(EPOCHS):
            learner.run_epoch()
            learner.save(Path(folder) / "checkpoint")
        return time.perf_counter() - started


if __name__ == "__main__":
    answer(seconds=alone_seconds())
