"""What phases with a yes-or-no question share: which hemispheres take part, first weights, and the holdout's scores."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_args

import torch

from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.table import count_classes
from tissueclock.cohort.tasks import Task
from tissueclock.files import write_json
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.feed import Sharing
from tissueclock.learning.hyperparameters import HyperparameterError, Hyperparameters
from tissueclock.learning.standardising import standardise
from tissueclock.learning.trunk_store import TrunkStore
from tissueclock.networks.attention import Attention
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, NetworkSpec, SweepSpec
from tissueclock.seeds import derive_seed
from trainables import scoring
from trainables.bill import measure_epoch, offered_depths
from trainables.first_weights import load_file, load_parent
from trainables.trial import Trial

_OF_THE_NETWORK = ("attention", "parent", "sharpness")


class PhaseTrainable(Trial):
    """One trial of a phase with a yes-or-no question; a subclass says what the phase asks.

    Attributes:
        task: Which hemispheres take part and what the answer is.
        readout: How a network that attends to voxels answers it.

    The other attributes are those of `Trial`.
    """

    objective = Classifier.objective
    task: ClassVar[Task]
    readout: ClassVar[str] = "attended"

    def open_cohort(self, cohort: Cohort) -> None:
        """Keeps the task's training and validation samples."""
        self._n_slices = cohort.shape[0]
        self._sharing = make_sharing(self._job.spec)
        view = cohort.sweep_view()
        n_halves = 2 if "mirror" in self._job.spec.network.inputs else 1
        halves = with_halves(view, cohort.table, n_halves=n_halves)
        self._train = scoring.samples_of(self.task, cohort.table, halves, view.rows("train"))
        self._validation = scoring.samples_of(self.task, cohort.table, halves, view.rows("validation"))

    def make_learner(self, hyperparameters: dict[str, Any], *, seed: int) -> Classifier:
        """A classifier that starts from drawn weights, or from those of the parent that the trial chose."""
        of_the_network = {name: hyperparameters.pop(name) for name in _OF_THE_NETWORK if name in hyperparameters}
        network = make_network(
            self._job.spec.network, n_slices=self._n_slices, readout=self.readout, settings=of_the_network
        )
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "weights")))
        if self._job.parents:
            parent = self._job.parents[int(of_the_network.get("parent", 1)) - 1]
            self._note_first_weights({"parent": parent.digest, **load_parent(network, parent.folder)})
        if self._job.spec.weights_file:
            self._note_first_weights(load_file(network, self._job.spec.weights_file))
        if not self._job.parents:
            standardise(network, self._train, device=self._device)
        return Classifier(
            network=network,
            train=self._train,
            validation=self._validation,
            hyperparameters=hyperparameters,
            epochs=self._job.spec.epochs,
            patience=self._job.spec.patience,
            seed=seed,
            device=self._device,
            precision=self._job.spec.precision,
            sharing=self._sharing,
            shard=self._shard,
        )

    def _note_first_weights(self, facts: Mapping[str, Any]) -> None:
        """Beside the trial's checkpoints, so that promotion makes them part of the lineage."""
        if self._shard.rank == 0:
            write_json(self._folder / "first_weights.json", {"from": self._job.spec.weights, **facts})

    @classmethod
    def accepted(cls) -> frozenset[str]:
        """The hyperparameters that this phase understands: the learner's, `attention` and `parent`."""
        return frozenset({field.name for field in fields(Hyperparameters)} | set(_OF_THE_NETWORK))

    @classmethod
    def check_fixed(cls, fixed: Mapping[str, Any]) -> None:
        """Checks values that the study pins, in the space or not.

        Raises:
            InputError: A value is out of its range.
        """
        if (norm := fixed.get("attention", "off")) not in get_args(Attention):
            raise HyperparameterError(f"attention: {norm!r}, but it must be one of {', '.join(get_args(Attention))}")
        learned = {name: value for name, value in fixed.items() if name not in _OF_THE_NETWORK}
        Hyperparameters.from_mapping(learned)

    @classmethod
    def check_weights(cls, spec: SweepSpec, cohort: Path) -> None:
        """Loads the sweep's weights file, if it has one, into its network.

        Raises:
            CheckpointError: The file is missing or damaged, or does not fit.
        """
        if spec.weights_file:
            load_file(make_network(spec.network, n_slices=Cohort.open(cohort).shape[0]), spec.weights_file)

    @classmethod
    def count_classes(cls, cohort: Path) -> dict[str, tuple[int, int]]:
        """Hemispheres that answer no and yes, by split.

        Raises:
            CohortError: The cohort cannot be opened.
        """
        counts = count_classes(Cohort.open(cohort).table, label=cls.task.label)
        return {str(split): (n.n_negative, n.n_positive) for split, n in counts.items()}

    @classmethod
    def epoch_bill(cls, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs here, measured over a few steps, and what its frozen stages do at each depth on offer."""
        cohort = Cohort.open(spec.cohort)
        view = cohort.sweep_view()
        halves = with_halves(view, cohort.table, n_halves=2 if "mirror" in spec.network.inputs else 1)
        samples = scoring.samples_of(cls.task, cohort.table, halves, view.rows("train"))
        network = make_network(
            spec.network, n_slices=cohort.shape[0], readout=cls.readout, settings={"attention": "mean_flow"}
        )
        depths = offered_depths({**{name: (value,) for name, value in cls.defaults.items()}, **offered})
        return measure_epoch(network, samples, spec, depths=depths)

    @classmethod
    def score_holdout(cls, promoted: Sequence[Path], cohort: Path) -> None:
        """Scores promoted checkpoints on the holdout patients: `holdout.json` and `holdout.tsv` beside the weights.

        What has been scored stays as it is.
        """
        opened = Cohort.open(cohort)
        view = opened.holdout_view()
        rows = [i for i in view.rows("holdout") if cls.task.label(opened.table[i]) is not None]
        for folder in promoted:
            if not (folder / "holdout.json").exists():
                scoring.score(folder, cls.task, opened.table, view, rows)


def make_sharing(spec: SweepSpec) -> Sharing:
    """How this node's trials share what frozen stages compute."""
    folder = spec.trunks.folder or Path(tempfile.gettempdir()) / f"tissueclock-trunks-{os.getuid()}"
    store = TrunkStore(folder, limit_bytes=int(spec.trunks.limit_gb * 1e9)) if spec.trunks.share else None
    return Sharing(store=store, cohort=spec.cohort_digest, seed=spec.seed)


def make_network(
    spec: NetworkSpec,
    *,
    n_slices: int,
    readout: str = "attended",
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> StagedNetwork:
    """The network of a study, for a cohort of so many slices.

    Args:
        spec: The study's.
        n_slices: The cohort's.
        readout: How voxels are read out, where they are attended.
        settings: The trial's `attention` and `sharpness`; without them attention is on where voxels are attended.
    """
    attention = settings.get("attention", "softmax" if spec.attended else "off")
    description: dict[str, Any] = {"kind": spec.kind, "width": spec.width, "n_slices": n_slices, "attention": attention}
    if spec.attended:
        names = ("stem_stride", "read_at", "cell", "mirror_cells", "values")
        description |= {name: getattr(spec, name) for name in names}
        description |= {"inputs": list(spec.inputs), "readout": readout, "sharpness": settings.get("sharpness", 1.0)}
    elif spec.kind == "slice":
        description |= {
            "stem_stride": spec.stem_stride,
            "attn_level": spec.attn_level,
            "slice_pooling": spec.slice_pooling,
        }
    return build_network(description)
