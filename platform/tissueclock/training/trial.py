"""A trial: one configuration of a phase, learned an epoch at a time, with checkpoints that it goes on from.

A trial finds its own folder by its name and goes on from the latest whole checkpoint in it, so that a killed driver, a
lost worker and a lost node are one case. Knows neither Tune nor Ray Train: `tunable` and `distributed` hold one.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CheckpointError, CohortError, SweepError
from tissueclock.learning.course import Course
from tissueclock.learning.learner import Conditions
from tissueclock.learning.replicas import Replicas
from tissueclock.learning.shard import Shard
from tissueclock.records import SweepJob
from tissueclock.seeds import derive_seed
from tissueclock.settings import Resources
from tissueclock.storage.files import read_json, write_json
from tissueclock.storage.folders import TrialFolder
from tissueclock.training.phase import Phase

_KEPT = 2
"""Checkpoints of a trial that are kept: one may be torn by a kill."""


def worker_threads(resources: Resources) -> int:
    """Threads of each of a trial's processes: its part of the CPUs, at least 1."""
    return max(1, int(resources.cpus / resources.workers))


class Trial:
    """A trial of a phase; one after another may be begun, and all learn from the same cohort, opened once.

    Args:
        phase: What is learned.
        job: The sweep.
        shard: This process's part, where several train the trial together.

    Attributes:
        folder: The trial's files.
        course: What learns, an epoch at a time.

    Raises:
        CohortError: The cohort cannot be opened, or was changed since the plan.
    """

    folder: TrialFolder
    course: Course
    _own_facts: dict[str, Any]
    _unreported: Sequence[Mapping[str, float]] = ()

    def __init__(self, phase: Phase, job: SweepJob, *, shard: Shard = Shard()) -> None:  # noqa: B008 (frozen)
        self._phase, self._job, self._shard = phase, job, shard
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cpu":
            torch.set_num_threads(worker_threads(job.spec.budget.resources))
        cohort = Cohort.open(job.spec.cohort)
        if cohort.digest != job.spec.inputs.cohort_digest:
            raise CohortError(f"{cohort.folder}: the cohort was changed since the study was planned; run it again")
        self._material = phase.task.open(cohort, job)

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        """Begins the trial of that name, or goes on with it.

        Args:
            name: By which its folder is found.
            config: `hyperparameters`, `seed` and, where a sweep asks, the sweep's `inputs`.

        Raises:
            SweepError: The configuration is of another sweep.
            ForeignCheckpointError: The checkpoints in the folder are another trial's.
            InputError: A hyperparameter is out of its range, or the first weights do not fit.
        """
        if (asked := config.get("inputs", self._job.inputs)) != self._job.inputs:
            raise SweepError(f"sweep {self._job.name}: was handed a trial of inputs {asked[:12]}, not its own")
        self.folder = self._job.folder.trial(name)
        self._own_facts = {"inputs": self._job.inputs, "seed": config["seed"]}
        self.course, came_from = self._make_course(config)
        if came_from is not None and self._shard.rank == 0:  # promotion makes it part of the lineage
            write_json(self.folder.first_weights, {"from": self._job.spec.inputs.weights, **came_from})
        self._unreported = ()
        self._go_on()

    def step(self) -> dict[str, Any]:
        """Trains one epoch, writes the checkpoint, reports.

        The first step after an interruption reports the checkpoint's epoch again: its report may have been lost. Ray
        Train holds one more back, so that several processes first report the epoch before it too.

        Returns:
            `epoch`, `best_value`, all `metrics`, the sweep's `inputs`, and whether it has `finished`.
        """
        metrics: Mapping[str, float]
        if self._unreported:
            metrics, *self._unreported = self._unreported
        else:
            metrics = self.course.run_epoch()
            due = self.course.epoch % self._job.spec.budget.checkpoint_every == 0
            if due or self.course.finished or metrics["best_epoch"] == metrics["epoch"]:
                self._save(metrics)
        return {
            "epoch": int(metrics["epoch"]),
            "best_value": metrics["best_value"],
            "metrics": dict(metrics),
            "inputs": self._job.inputs,
            "finished": self.course.finished and not self._unreported,
        }

    def _make_course(self, config: Mapping[str, Any]) -> tuple[Course, Mapping[str, Any] | None]:
        """A learner, or as many as folds and seeds ask for, and where the (first one's) weights came from."""
        said = self._job.spec.inputs
        seeds = [config["seed"], *(derive_seed(config["seed"], "replica", i) for i in range(1, said.n_replicas))]
        made = [
            self._material.make_learner(
                {**self._phase.defaults, **config["hyperparameters"]},
                conditions=Conditions(
                    epochs=said.epochs,
                    patience=said.patience,
                    seed=seed,
                    device=self._device,
                    precision=said.precision,
                    smooth=said.epochs_judged,
                ),
                shard=self._shard,
                i_replica=i_replica,
            )
            for i_replica, seed in enumerate(seeds)
        ]
        if len(made) == 1:
            return made[0]
        learners = [learner for learner, _ in made]
        course = Replicas(
            learners,
            n_seeds=said.seeds,
            epochs=said.epochs,
            patience=said.patience,
            seed=config["seed"],
            smooth=said.epochs_judged,
        )
        return course, made[0][1]

    def _go_on(self) -> None:
        for i, checkpoint in enumerate(kept := self.folder.checkpoints()):
            try:
                self.course.restore(checkpoint.path, belongs_to=self._own_facts)
            except CheckpointError:
                continue  # torn by a kill: the one before it is whole
            lost = kept[i : i + (_KEPT if self._shard.size > 1 else 1)]
            self._unreported = [read_json(each.metrics) for each in reversed(lost)]
            return

    def _save(self, metrics: Mapping[str, float]) -> None:
        if self._shard.rank > 0:
            return  # the first process writes for all
        target = self.folder.checkpoint(self.course.epoch)
        write_json(target.metrics, metrics)
        self.course.save(target.path, inputs=self._job.inputs)
        for old in self.folder.checkpoints()[_KEPT:]:
            shutil.rmtree(old.path, ignore_errors=True)
