"""The measurement for `test_memory_of_one_more_trial.py`; prints a JSON line.

Usage: python -m tests.benchmarks.one_more_trial FOLDER N_PATIENTS mapped|loaded
"""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from tests.benchmarks.measuring import answer
from tests.sweeping.specs import vary
from tissueclock.cohort.manifest import LesionSide, Patient
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.networks.settings import SliceSettings
from tissueclock.records import SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.folders import SweepFolder
from trainables.detection import Detection

GRID = (16, 128, 64)
N_TRIALS = 3
SIDES: tuple[LesionSide, LesionSide] = ("left", "right")


class MappedTrial(Detection):
    """A trial as it is, with a name of its own: Tune gives it one otherwise."""

    def setup(self, config: dict[str, Any], job: SweepJob | None = None) -> None:
        super().setup(config, job or config["job"])

    @property
    def trial_name(self) -> str:
        return str(self.config["name"])

    def memory(self) -> dict[str, float]:
        """Megabytes of this process: its own (USS), with its share of what it shares (PSS), and all it maps (RSS)."""
        sizes = {}
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
            name, number, _ = line.split()
            sizes[name.rstrip(":")] = int(number) / 1024
        return {"uss": sizes["Private_Clean"] + sizes["Private_Dirty"], "pss": sizes["Pss"], "rss": sizes["Rss"]}


class LoadedTrial(MappedTrial):
    """A trial that reads the cohort into its own memory first."""

    def setup(self, config: dict[str, Any], job: SweepJob | None = None) -> None:
        super().setup(config, job)
        held = _Held(torch.from_numpy(np.load(config["job"].spec.cohort / "hemispheres.npy")))
        material: Any = self.trial._material
        parts = {
            name: tuple(replace(samples, view=held) for samples in getattr(material, name))
            for name in ("train", "validation")
        }
        self.trial._material = replace(material, **parts)
        self.trial.begin(self.trial_name, config)


class _Held:
    def __init__(self, hemispheres: torch.Tensor) -> None:
        self.hemispheres = hemispheres

    def read(self, rows: Any) -> torch.Tensor:
        return self.hemispheres.index_select(0, torch.as_tensor(rows))


def write_cohort(folder: Path, n_patients: int) -> Cohort:
    """Noise: what matters here is its size."""
    if folder.exists():
        return Cohort.open(folder)
    rng = np.random.default_rng(1)
    onsets = np.linspace(30, 540, n_patients)
    patients = [
        Patient(participant_id=f"p{i:04d}", onset_to_mri_min=float(onset), lesion_side=side, readers={}, extra={})
        for i, onset in enumerate(onsets)
        for side in [SIDES[i % 2]]
    ]
    writer = CohortWriter(
        folder, name="noise", patients=patients, shape=GRID, spacing_mm=(6, 1.5, 1.5), seed=1, source={"tool": "noise"}
    )
    with writer:
        for patient in patients:
            halves = rng.random((2, 3, *GRID), dtype=np.float32) + 0.5
            writer.add(patient.participant_id, halves[0], halves[1])
    return Cohort.open(folder)


def main(folder: Path, n_patients: int, kind: str) -> None:
    cohort = write_cohort(folder / "cohort", n_patients)
    spec = vary(
        phase="detection",
        space="detection",
        network=SliceSettings(width=4),
        fix={},
        epochs=2,
        patience=2,
        searcher="random",
        scheduler=SchedulerSettings(name="none"),
        cohort=cohort.folder,
        cohort_digest=cohort.digest,
        seed=1,
    )
    job = SweepJob(spec, SweepFolder(folder / kind), (), "bench", "i", {})
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    actor = ray.remote(num_cpus=0)({"mapped": MappedTrial, "loaded": LoadedTrial}[kind])
    trials: list[Any] = []
    together, own = [], []
    for i in range(N_TRIALS):
        config = {"name": f"t{i:04d}", "hyperparameters": {"batch_size": 8, "augmentation": 0.0}, "seed": i, "job": job}
        trials.append(actor.remote(config))
        ray.get(trials[-1].train.remote())
        memories = ray.get([trial.memory.remote() for trial in trials])
        together.append(sum(memory["pss"] for memory in memories))
        own = memories
    one_more = [later - before for before, later in pairwise(together)]
    n_bytes = (cohort.folder / "hemispheres.npy").stat().st_size
    answer(one_more_mb=one_more, together_mb=together, trials=own, cohort_mb=n_bytes / 2**20)
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
