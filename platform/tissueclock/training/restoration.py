"""Learning to give distorted hemispheres back (Models Genesis): every hemisphere takes part, and none has a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.store import Cohort
from tissueclock.errors import InputError
from tissueclock.learning.learner import Conditions
from tissueclock.learning.restoring import Restorer, Volumes, measure_restoration
from tissueclock.learning.shard import Shard
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, SweepJob, SweepSpec
from tissueclock.seeds import derive_seed
from tissueclock.storage.files import write_json
from tissueclock.storage.folders import PROMOTED_SCHEMA, PromotedFolder
from tissueclock.training.bill import measure_restoring_epoch
from tissueclock.training.phase import LearningTask
from tissueclock.training.prediction import load_promoted

_ACCEPTED = (
    "optimiser", "lr", "final_lr", "gamma", "beta1", "beta2", "weight_decay", "batch_size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Restoration(LearningTask):
    """Lost parts of a volume are restored, by a U-Net whose encoder is the volume network's trunk."""

    objective = Restorer.objective
    unit = "volume"
    onset_before_min = None

    def accepted(self) -> frozenset[str]:
        """The optimiser's hyperparameters and the batch size."""
        return frozenset(_ACCEPTED)

    def open(self, cohort: Cohort, job: SweepJob) -> "AllVolumes":
        """All training and validation hemispheres."""
        view = cohort.sweep_view()
        return AllVolumes(
            network=_describe(job.spec, n_slices=cohort.shape[0]),
            train=Volumes(view, view.rows("train")),
            validation=Volumes(view, view.rows("validation")),
        )

    def check_weights(self, spec: SweepSpec) -> None:
        """Raises InputError where the first weights are not drawn: the phase is the first of its chain."""
        if spec.inputs.weights != "random":
            raise InputError(f"phase {spec.phase} has weights {spec.inputs.weights!r}; allowed: random")

    def count_classes(self, cohort: Path) -> dict[str, tuple[int, int]]:
        """Nothing: there are no classes.

        Raises:
            InputError: A split is empty.
        """
        opened = Cohort.open(cohort)
        for split in ("train", "validation", "holdout"):
            if not len(opened.split_rows(split)):
                raise InputError(f"{cohort}: no hemispheres in {split}, and restoration needs some")
        return {}

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs here, measured over a few steps."""
        cohort = Cohort.open(spec.cohort)
        view = cohort.sweep_view()
        network = build_network(_describe(spec, n_slices=cohort.shape[0]))
        return measure_restoring_epoch(network, Volumes(view, view.rows("train")), spec)

    def score_holdout(self, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
        """Measures on the holdout how much promoted networks give back: `holdout.json` beside the weights."""
        view = Cohort.open(cohort).holdout_view()
        volumes = Volumes(view, np.asarray(view.rows("holdout")))
        for folder in promoted:
            if folder.holdout.exists():
                continue
            network, facts = load_promoted(folder)
            metrics = measure_restoration(network, volumes, device=next(network.parameters()).device)
            write_json(
                folder.holdout,
                {
                    "schema": PROMOTED_SCHEMA,
                    "phase": facts["phase"],
                    "unit": self.unit,
                    "onset_before_min": None,
                    "n": len(volumes.rows),
                    "metrics": metrics,
                },
            )


@dataclass(frozen=True, slots=True)
class AllVolumes:
    """Hemispheres to restore.

    Attributes:
        network: Description of the U-Net.
        train: What is learned from.
        validation: What epochs are judged by.
    """

    network: Mapping[str, Any]
    train: Volumes
    validation: Volumes

    def make_learner(
        self,
        hyperparameters: dict[str, Any],
        *,
        conditions: Conditions,
        shard: Shard,
    ) -> tuple[Restorer, None]:
        """A restorer that starts from drawn weights."""
        network: StagedNetwork = build_network(self.network)
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(conditions.seed, "weights")))
        learner = Restorer(
            network=network,
            train=self.train,
            validation=self.validation,
            hyperparameters=hyperparameters,
            conditions=conditions,
        )
        return learner, None


def _describe(spec: SweepSpec, *, n_slices: int) -> dict[str, Any]:
    """The U-Net around the trunk of the study's volume network."""
    return {"kind": "restoration", "width": spec.inputs.network.width, "n_slices": n_slices}
