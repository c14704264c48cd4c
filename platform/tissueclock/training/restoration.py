"""Learning to give distorted hemispheres back (Models Genesis): every hemisphere takes part, and none has a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.folds import judged_rows, make_folds
from tissueclock.cohort.store import Cohort
from tissueclock.errors import InputError, StudyError
from tissueclock.learning.learner import Conditions
from tissueclock.learning.restoring import Restorer, Volumes, measure_restoration
from tissueclock.learning.shard import Shard
from tissueclock.networks.building import build_network
from tissueclock.networks.settings import VolumeSettings
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
        view, inputs = cohort.sweep_view(), job.spec.inputs
        folds = make_folds(cohort, **inputs.dealing())
        return AllVolumes(
            network=_describe(job.spec, n_slices=cohort.shape[0]),
            n_seeds=inputs.seeds,
            train=tuple(Volumes(view, fold.train) for fold in folds),
            validation=tuple(Volumes(view, fold.validation) for fold in folds),
        )

    def check_network(self, spec: SweepSpec, pinned: Mapping[str, Any]) -> None:
        """Raises InputError where the first weights are not drawn: the phase is the first of its chain."""
        if spec.inputs.weights != "random":
            raise InputError(f"phase {spec.phase} has weights {spec.inputs.weights!r}; allowed: random")
        without = [patient.participant_id for patient in Cohort.open(spec.cohort).patients if not patient.has_flair]
        if without:
            raise InputError(
                f"phase {spec.phase} restores FLAIR, which {len(without)} patients have not (first {without[0]}); "
                "allowed: an arm without it, or a cohort packed without --allow-missing"
            )

    def count_classes(self, spec: SweepSpec) -> dict[str, tuple[int, int]]:
        """Nothing: there are no classes.

        Raises:
            InputError: A split is empty, or there are fewer patients than folds.
        """
        opened = Cohort.open(spec.cohort)
        for name, rows in judged_rows(opened, **spec.inputs.dealing()).items():
            if not len(rows):
                raise InputError(f"{spec.cohort}: no hemispheres in {name}, and restoration needs some")
        return {}

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs here, measured over a few steps."""
        cohort = Cohort.open(spec.cohort)
        fold = make_folds(cohort, **spec.inputs.dealing())[0]
        network = build_network(_describe(spec, n_slices=cohort.shape[0]))
        return measure_restoring_epoch(network, Volumes(cohort.sweep_view(), fold.train), spec)

    def score_holdout(self, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
        """Measures on the holdout how much promoted networks give back: `holdout.json` beside the weights."""
        view = Cohort.open(cohort).holdout_view()
        volumes = Volumes(view, np.asarray(view.rows("holdout")))
        for folder in promoted:
            if folder.holdout.exists():
                continue
            networks, facts = load_promoted(folder)
            device = networks[0].device
            each = [measure_restoration(network, volumes, device=device) for network in networks]
            metrics = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
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
        n_seeds: Replicas of each fold.
        train: What is learned from, by fold.
        validation: What epochs are judged by, by fold.
    """

    network: Mapping[str, Any]
    n_seeds: int
    train: tuple[Volumes, ...]
    validation: tuple[Volumes, ...]

    def make_learner(
        self,
        hyperparameters: dict[str, Any],
        *,
        conditions: Conditions,
        shard: Shard,
        i_replica: int,
    ) -> tuple[Restorer, None]:
        """A restorer that starts from drawn weights."""
        network: StagedNetwork = build_network(self.network)
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(conditions.seed, "weights")))
        learner = Restorer(
            network=network,
            train=self.train[i_replica // self.n_seeds],
            validation=self.validation[i_replica // self.n_seeds],
            hyperparameters=hyperparameters,
            conditions=conditions,
        )
        return learner, None


def _describe(spec: SweepSpec, *, n_slices: int) -> dict[str, Any]:
    """The U-Net around the trunk of the study's volume network."""
    settings = spec.inputs.network
    if not isinstance(settings, VolumeSettings):
        raise StudyError(f"phase {spec.phase} has a network of kind {settings.kind!r}; allowed: volume")
    return {"kind": "restoration", "width": settings.width, "n_slices": n_slices}
