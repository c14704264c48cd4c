"""What every trial of every phase shares: a Ray Tune class trainable around a learner.

A trial finds its own folder by its name and goes on from the latest whole checkpoint in it, so that a killed driver, a
lost worker and a lost node are one case. Tune's checkpoints hold no weights: they name the folder (PBT copies by them).
"""

import abc
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray import tune

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CheckpointError, CohortError, SweepError
from tissueclock.files import digest_facts, write_json
from tissueclock.learning.learner import Learner
from tissueclock.learning.shard import Shard
from tissueclock.records import SweepJob
from trainables.distributed import train_distributed

_KEPT = 2
"""Checkpoints of a trial that are kept: one may be torn by a kill."""


class Trial(tune.Trainable):  # type: ignore[misc, unused-ignore]
    """One trial of a phase; a subclass says how it opens a cohort and makes a learner.

    Attributes:
        name: The phase's name, and its module's.
        title: What it asks, for tables and figures.
        objective: The validation metric by which trials are ranked; larger is better.
        defaults: Hyperparameters that differ from the learner's own defaults.
        needs_parent: Whether random first weights make no sense.
        kinds: The kinds of network that can learn it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    objective: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}
    needs_parent: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("slice", "volume", "voxel")

    _trial: str | None = None
    _shard: Shard = Shard()
    _job: SweepJob
    _device: torch.device
    _learner: Learner
    _own_facts: dict[str, Any]
    _unreported: Sequence[dict[str, float]] = ()

    @abc.abstractmethod
    def open_cohort(self, cohort: Cohort) -> None:
        """Keeps what all trials of this actor learn from."""

    @abc.abstractmethod
    def make_learner(self, hyperparameters: dict[str, Any], *, seed: int) -> Learner:
        """The learner of one trial, with its first weights.

        Args:
            hyperparameters: The phase's defaults, and the trial's own in their place.
            seed: The trial's.
        """

    @classmethod
    def as_tunable(cls, job: SweepJob) -> Any:
        """What Tune is handed: this class, or a function that runs it on several devices; under the sweep's own name.

        Tune registers it by its `__name__` for the whole Ray job, which all sweeps of a study share: under one name,
        the last sweep to register would train the others' trials.
        """
        if job.spec.resources.workers == 1:
            tunable = tune.with_parameters(cls, job=job)
        else:

            def tunable(config: dict[str, Any]) -> None:
                train_distributed(config, phase=cls, job=job)

        tunable.__name__ = f"{cls.__name__}_{digest_facts([str(job.folder.path), job.inputs])[:16]}"
        return tunable

    def begin_shard(self, config: dict[str, Any], job: SweepJob, *, name: str, shard: Shard) -> None:
        """Begins this process's part of the trial of that name, outside of Tune."""
        self._trial, self._shard = name, shard
        self.setup(config, job)

    def setup(self, config: dict[str, Any], job: SweepJob) -> None:
        """Opens the cohort, which all later trials of this actor share, and begins the first of them."""
        self._job = job
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(job.spec.resources.cpus / job.spec.resources.workers)))
        cohort = Cohort.open(job.spec.cohort)
        if cohort.digest != job.spec.cohort_digest:
            raise CohortError(f"{cohort.folder}: the cohort was changed since the study was planned; run it again")
        self.open_cohort(cohort)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in the same actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Trains one epoch, writes the checkpoint, reports.

        The first step after an interruption reports the checkpoint's epoch again: its report may have been lost. Ray
        Train holds one more back, so that several processes first report the epoch before it too.
        """
        if self._unreported:
            metrics, *self._unreported = self._unreported
        else:
            metrics = self._learner.run_epoch()
            due = self._learner.epoch % self._job.spec.checkpoint_every == 0
            if due or self._learner.finished or metrics["best_epoch"] == metrics["epoch"]:
                self._save(metrics)
        finished = self._learner.finished and not self._unreported
        return {
            "epoch": int(metrics["epoch"]),
            "best_value": metrics["best_value"],
            "metrics": metrics,
            "inputs": self._job.inputs,
            "finished": finished,
            "done": finished,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Notes where the weights are, for Tune (HyperBand pauses by it, PBT copies by it)."""
        latest = self._checkpoints()
        write_json(Path(checkpoint_dir) / "where.json", {"checkpoint": str(latest[0]) if latest else None})

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Goes on from where a Tune checkpoint points: this trial's own folder, or the one PBT copies."""
        where = json.loads((Path(checkpoint_dir) / "where.json").read_text())["checkpoint"]
        if where is None:
            return
        pointed = Path(where)
        if pointed.parent == self._folder:
            return  # setup went on from it already
        whole = [pointed] if pointed.exists() else latest_first(pointed.parent)
        if not whole:
            raise CheckpointError(f"{pointed}: the checkpoint that this trial was to copy is gone")
        self._learner.restore(whole[0], belongs_to={"inputs": self._job.inputs})
        self._unreported = ()

    def _begin(self, config: Mapping[str, Any]) -> None:
        if (asked := config.get("inputs", self._job.inputs)) != self._job.inputs:
            raise SweepError(f"sweep {self._job.name}: was handed a trial of inputs {asked[:12]}, not its own")
        self._folder = self._job.folder.trial(self._trial or self.trial_name)
        self._own_facts = {"inputs": self._job.inputs}
        if self._job.spec.scheduler.name != "pbt":  # PBT hands a clone its donor's seed
            self._own_facts["seed"] = config["seed"]
        self._learner = self.make_learner({**self.defaults, **config["hyperparameters"]}, seed=config["seed"])
        self._unreported = ()
        self._go_on()

    def _go_on(self) -> None:
        for checkpoint in (kept := self._checkpoints()):
            try:
                self._learner.restore(checkpoint, belongs_to=self._own_facts)
            except CheckpointError:
                continue  # torn by a kill: the one before it is whole
            lost = kept[kept.index(checkpoint) :][:_KEPT] if self._shard.size > 1 else [checkpoint]
            self._unreported = [json.loads((each / "metrics.json").read_text()) for each in reversed(lost)]
            return

    def _save(self, metrics: dict[str, float]) -> None:
        if self._shard.rank > 0:
            return  # the first process writes for all
        target = self._folder / f"epoch-{self._learner.epoch:04d}"
        write_json(target / "metrics.json", metrics)
        self._learner.save(target, inputs=self._job.inputs)
        for old in self._checkpoints()[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        return latest_first(self._folder)


def latest_first(trial: Path) -> list[Path]:
    """A trial's whole checkpoints, the latest epoch first."""
    return sorted((path.parent for path in trial.glob("epoch-*/facts.json")), reverse=True)
