"""A phase whose epochs cost nothing, so that what a sweep costs besides learning can be measured."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tissueclock.cohort.store import Cohort
from tissueclock.learning.course import Course, LearningState
from tissueclock.learning.learner import Conditions
from tissueclock.learning.shard import Shard
from tissueclock.records import EpochBill, SweepJob, SweepSpec
from tissueclock.storage.files import write_json
from tissueclock.storage.folders import PROMOTED_SCHEMA, PromotedFolder
from tissueclock.training.phase import LearningTask, Phase
from tissueclock.training.tunable import PhaseTrainable


class FreeCourse(Course):
    """Answers a smooth function of its hyperparameters, and keeps four numbers."""

    objective = "val_value"

    def __init__(self, hyperparameters: Mapping[str, Any], conditions: Conditions) -> None:
        super().__init__(epochs=conditions.epochs, patience=conditions.patience, objective=self.objective)
        self._hyperparameters = dict(hyperparameters)
        self._noise = random.Random(conditions.seed)
        self._weights = {"weight": torch.zeros(4)}

    def learn_epoch(self) -> dict[str, float]:
        self.epoch += 1
        far = (math.log10(self._hyperparameters["lr"]) + 3) ** 2 + self._hyperparameters["dropout"]
        value = 1 / (1 + far) + self._noise.gauss(0, 0.01)
        losses = {"train_loss": far, "val_loss": far}
        return {"epoch": self.epoch, "epoch_s": 0.0, "lr": 0.0, self.objective: value, **losses}

    def keep(self) -> None:
        pass

    def state(self) -> LearningState:
        facts = {"epoch": self.epoch, "network": {"kind": "free"}, "hyperparameters": self._hyperparameters}
        return LearningState(weights=self._weights, best=self._weights, optimiser={}, facts=facts)

    def load(self, state: LearningState) -> None:
        pass


class FreeMaterial:
    """Nothing to learn from."""

    def make_learner(
        self, hyperparameters: dict[str, Any], *, conditions: Conditions, shard: Shard, i_replica: int
    ) -> tuple[Course, None]:
        return FreeCourse(hyperparameters, conditions), None


@dataclass(frozen=True, slots=True)
class FreeTask(LearningTask):
    """Costs nothing."""

    objective = FreeCourse.objective
    unit = "volume"
    onset_before_min = None

    def accepted(self) -> frozenset[str]:
        return frozenset({"lr", "dropout"})

    def open(self, cohort: Cohort, job: SweepJob) -> FreeMaterial:
        return FreeMaterial()

    def check_network(self, spec: SweepSpec, pinned: Mapping[str, Any]) -> None:
        pass

    def count_classes(self, spec: SweepSpec) -> dict[str, tuple[int, int]]:
        return {}

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        return EpochBill(epoch_s=0.0, checkpoint_bytes=100, trunks={})

    def score_holdout(self, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
        for folder in promoted:
            facts = {"schema": PROMOTED_SCHEMA, "phase": "free", "unit": self.unit, "onset_before_min": None}
            write_json(folder.holdout, {**facts, "n": 0, "metrics": {}})


class Free(PhaseTrainable):
    """Learns nothing."""

    phase = Phase(name="free", title="nothing", task=FreeTask())
