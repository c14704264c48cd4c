"""What every phase shares: a Ray Tune class trainable around a learner.

A trial finds its own folder by its name and goes on from the latest whole checkpoint in it, so that a killed driver, a
lost worker and a lost node are one case. Tune's checkpoints hold no weights: they name the folder (PBT copies by them).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from ray import tune

from tissueclock.cohort.store import Cohort
from tissueclock.cohort.table import count_classes
from tissueclock.cohort.tasks import Task
from tissueclock.errors import CheckpointError, CohortError
from tissueclock.files import write_json
from tissueclock.learning.checkpoint import read_tensors
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.feed import Sharing
from tissueclock.learning.hyperparameters import HyperparameterError, Hyperparameters
from tissueclock.learning.trunk_store import TrunkStore
from tissueclock.networks.attention import Attention
from tissueclock.networks.building import build_network
from tissueclock.networks.first_weights import load_weights
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import NetworkSpec, SweepJob, SweepSpec
from tissueclock.seeds import derive_seed
from trainables import scoring
from trainables.bill import measure_epoch

_OF_THE_NETWORK = ("attention", "parent")


class PhaseTrainable(tune.Trainable):  # type: ignore[misc, unused-ignore]
    """One trial of a phase; a subclass says what the phase asks.

    Attributes:
        name: The phase's name, and its module's.
        title: What it asks, for tables and figures.
        task: Which hemispheres take part and what the answer is.
        defaults: Hyperparameters that differ from the learner's own defaults.
        needs_parent: Whether random first weights make no sense.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[Task]
    defaults: ClassVar[Mapping[str, Any]] = {}
    needs_parent: ClassVar[bool] = False

    _unreported: dict[str, float] | None = None

    def setup(self, config: dict[str, Any], job: SweepJob) -> None:
        """Opens the cohort, which all later trials of this actor share, and begins the first of them."""
        self._job = job
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(job.spec.resources.cpus)))
        cohort = Cohort.open(job.spec.cohort)
        if cohort.digest != job.spec.cohort_digest:
            raise CohortError(f"{cohort.folder}: the cohort was changed since the study was planned; run it again")
        self._n_slices = cohort.shape[0]
        self._sharing = make_sharing(job.spec)
        view = cohort.sweep_view()
        self._train = scoring.samples_of(self.task, cohort.table, view, view.rows("train"))
        self._validation = scoring.samples_of(self.task, cohort.table, view, view.rows("validation"))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in the same actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Trains one epoch, writes the checkpoint, reports.

        The first step after an interruption reports the checkpoint's epoch again: its report may have been lost.
        """
        if self._unreported is not None:
            metrics, self._unreported = self._unreported, None
        else:
            metrics = self._learner.run_epoch()
            due = self._learner.epoch % self._job.spec.checkpoint_every == 0
            if due or self._learner.finished or metrics["best_epoch"] == metrics["epoch"]:
                self._save(metrics)
        return {
            "epoch": self._learner.epoch,
            "best_value": metrics["best_value"],
            "metrics": metrics,
            "finished": self._learner.finished,
            "done": self._learner.finished,
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
        self._learner.restore(whole[0])
        self._unreported = None

    def _begin(self, config: Mapping[str, Any]) -> None:
        hyperparameters = {**self.defaults, **config["hyperparameters"]}
        of_the_network = {name: hyperparameters.pop(name) for name in _OF_THE_NETWORK if name in hyperparameters}
        self._folder = self._job.folder.trial(self.trial_name)
        network = make_network(
            self._job.spec.network, n_slices=self._n_slices, attention=of_the_network.get("attention", "off")
        )
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(config["seed"], "weights")))
        if self._job.parents:
            parent = self._job.parents[int(of_the_network.get("parent", 1)) - 1]
            weights = parent.folder / "weights.safetensors"
            load_weights(network, read_tensors(weights), source=str(weights))
        self._learner = Classifier(
            network=network,
            train=self._train,
            validation=self._validation,
            hyperparameters=hyperparameters,
            epochs=self._job.spec.epochs,
            patience=self._job.spec.patience,
            seed=config["seed"],
            device=self._device,
            precision=self._job.spec.precision,
            sharing=self._sharing,
        )
        self._unreported = None
        self._go_on()

    def _go_on(self) -> None:
        for checkpoint in self._checkpoints():
            try:
                self._learner.restore(checkpoint)
            except CheckpointError:
                continue  # torn by a kill: the one before it is whole
            self._unreported = json.loads((checkpoint / "metrics.json").read_text())
            return

    def _save(self, metrics: dict[str, float]) -> None:
        target = self._folder / f"epoch-{self._learner.epoch:04d}"
        write_json(target / "metrics.json", metrics)
        self._learner.save(target)
        for old in self._checkpoints()[2:]:
            shutil.rmtree(old, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        return latest_first(self._folder)

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
    def count_classes(cls, cohort: Path) -> dict[str, tuple[int, int]]:
        """Hemispheres that answer no and yes, by split.

        Raises:
            CohortError: The cohort cannot be opened.
        """
        counts = count_classes(Cohort.open(cohort).table, label=cls.task.label)
        return {str(split): (n.n_negative, n.n_positive) for split, n in counts.items()}

    @classmethod
    def epoch_bill(cls, spec: SweepSpec) -> tuple[float, int]:
        """Seconds of one epoch here, measured over a few steps, and bytes of one checkpoint."""
        cohort = Cohort.open(spec.cohort)
        view = cohort.sweep_view()
        samples = scoring.samples_of(cls.task, cohort.table, view, view.rows("train"))
        network = make_network(spec.network, n_slices=cohort.shape[0], attention="mean_flow")
        return measure_epoch(network, samples, spec)

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


def latest_first(trial: Path) -> list[Path]:
    """A trial's whole checkpoints, the latest epoch first."""
    return sorted((path.parent for path in trial.glob("epoch-*/facts.json")), reverse=True)


def make_sharing(spec: SweepSpec) -> Sharing:
    """How this node's trials share what frozen stages compute."""
    folder = spec.trunks.folder or Path(tempfile.gettempdir()) / f"tissueclock-trunks-{os.getuid()}"
    store = TrunkStore(folder, limit_bytes=int(spec.trunks.limit_gb * 1e9)) if spec.trunks.share else None
    return Sharing(store=store, cohort=spec.cohort_digest, seed=spec.seed)


def make_network(spec: NetworkSpec, *, n_slices: int, attention: Any) -> StagedNetwork:
    """The network of a study, for a cohort of so many slices."""
    description: dict[str, Any] = {"kind": spec.kind, "width": spec.width, "n_slices": n_slices, "attention": attention}
    if spec.kind == "slice":
        description |= {"attn_level": spec.attn_level, "slice_pooling": spec.slice_pooling}
    return build_network(description)
