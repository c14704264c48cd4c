"""Genesis, the self-supervised phase before the 3D chain: distorted hemispheres are given back.

Its encoder starts detection. Written from the published description of Models Genesis, whose code and weights are
licensed for non-commercial research.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.store import Cohort
from tissueclock.errors import InputError
from tissueclock.learning.hyperparameters import Hyperparameters
from tissueclock.learning.restoring import Restorer, Volumes, measure_restoration
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, SweepSpec
from tissueclock.seeds import derive_seed
from tissueclock.storage.files import write_json
from tissueclock.training import scoring
from tissueclock.training.bill import measure_restoring_epoch
from tissueclock.training.trial import Trial

_ACCEPTED = (
    "optimiser", "lr", "final_lr", "gamma", "beta1", "beta2", "weight_decay", "batch_size",
)  # fmt: skip


class Genesis(Trial):
    """Learns the whole U-Net on every hemisphere, without labels."""

    name = "genesis"
    title = "restoration (Models Genesis)"
    objective = Restorer.objective
    kinds = ("volume",)

    def open_cohort(self, cohort: Cohort) -> None:
        """Keeps all training and validation hemispheres."""
        self._n_slices = cohort.shape[0]
        view = cohort.sweep_view()
        self._train = Volumes(view, view.rows("train"))
        self._validation = Volumes(view, view.rows("validation"))

    def make_learner(self, hyperparameters: dict[str, Any], *, seed: int) -> Restorer:
        """A restorer that starts from drawn weights."""
        network = make_restoration_network(self._job.spec, n_slices=self._n_slices)
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "weights")))
        return Restorer(
            network=network,
            train=self._train,
            validation=self._validation,
            hyperparameters=hyperparameters,
            epochs=self._job.spec.epochs,
            patience=self._job.spec.patience,
            seed=seed,
            device=self._device,
            precision=self._job.spec.precision,
        )

    @classmethod
    def accepted(cls) -> frozenset[str]:
        """The optimiser's hyperparameters and the batch size."""
        return frozenset(_ACCEPTED)

    @classmethod
    def check_fixed(cls, fixed: Mapping[str, Any]) -> None:
        """Checks values that the study pins.

        Raises:
            InputError: A value is out of its range.
        """
        Hyperparameters.from_mapping(fixed)

    @classmethod
    def check_weights(cls, spec: SweepSpec, cohort: Path) -> None:  # noqa: ARG003
        """Raises InputError where the first weights are not drawn: the phase is the first of its chain."""
        if spec.weights != "random":
            raise InputError(f"phase genesis has weights {spec.weights!r}; allowed: random")

    @classmethod
    def count_classes(cls, cohort: Path) -> dict[str, tuple[int, int]]:
        """Nothing: there are no classes.

        Raises:
            InputError: A split is empty.
        """
        opened = Cohort.open(cohort)
        for split in ("train", "validation", "holdout"):
            if not len(opened.split_rows(split)):
                raise InputError(f"{cohort}: phase genesis has no hemispheres in {split}")
        return {}

    @classmethod
    def epoch_bill(cls, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:  # noqa: ARG003
        """What an epoch costs here, measured over a few steps."""
        cohort = Cohort.open(spec.cohort)
        view = cohort.sweep_view()
        network = make_restoration_network(spec, n_slices=cohort.shape[0])
        return measure_restoring_epoch(network, Volumes(view, view.rows("train")), spec)

    @classmethod
    def score_holdout(cls, promoted: Sequence[Path], cohort: Path) -> None:
        """Measures on the holdout how much promoted networks give back: `holdout.json` beside the weights."""
        opened = Cohort.open(cohort)
        view = opened.holdout_view()
        volumes = Volumes(view, np.asarray(view.rows("holdout")))
        for folder in promoted:
            if (folder / "holdout.json").exists():
                continue
            network, facts = scoring.load_promoted(folder)
            metrics = measure_restoration(network, volumes, device=next(network.parameters()).device)
            write_json(
                folder / "holdout.json",
                {
                    "schema": scoring.SCHEMA,
                    "phase": facts["phase"],
                    "unit": "volume",
                    "onset_before_min": None,
                    "n": len(volumes.rows),
                    "metrics": metrics,
                },
            )


def make_restoration_network(spec: SweepSpec, *, n_slices: int) -> StagedNetwork:
    """The U-Net around the trunk of the study's volume network."""
    return build_network({"kind": "restoration", "width": spec.network.width, "n_slices": n_slices})
