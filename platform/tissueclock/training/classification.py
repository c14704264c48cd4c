"""Learning to answer a yes-or-no question: which hemispheres take part, first weights, and the holdout's scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tissueclock.cohort.folds import make_folds
from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.freezing import freeze
from tissueclock.learning.frozen_features import Sharing
from tissueclock.learning.hyperparameters import NETWORK_ROWS, HyperparameterError, Learned
from tissueclock.learning.learner import Conditions
from tissueclock.learning.samples import Samples
from tissueclock.learning.shard import Shard
from tissueclock.learning.standardising import standardise
from tissueclock.networks.building import build_network
from tissueclock.networks.settings import PRESENCE, Attention, Readout
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, SweepJob, SweepSpec, WeightsFile
from tissueclock.seeds import derive_seed
from tissueclock.training.bill import measure_epoch, offered_depths
from tissueclock.training.phase import network_settings
from tissueclock.training.questions import QuestionTask, make_sharing
from tissueclock.training.scoring import samples_of
from tissueclock.weights.first_weights import load_file, load_parent


@dataclass(frozen=True, slots=True)
class Classification(QuestionTask):
    """A question is learned from its answers, by a network that gives one logit a hemisphere.

    Attributes:
        readout: How a network that attends to voxels answers it.
    """

    readout: Readout = "attended"
    objective = Classifier.objective

    def accepted(self) -> frozenset[str]:
        """All hyperparameters."""
        return frozenset(NETWORK_ROWS)

    def open(self, cohort: Cohort, job: SweepJob) -> "Answers":
        """The question's training and validation samples."""
        inputs = job.spec.inputs
        halves = with_halves(cohort.sweep_view(), cohort.table, n_halves=network_settings(job.spec).n_halves)
        folds = make_folds(cohort, **inputs.dealing())
        return Answers(
            job=job,
            readout=self.readout,
            n_slices=cohort.shape[0],
            train=tuple(samples_of(self.question, cohort.table, halves, fold.train) for fold in folds),
            validation=tuple(samples_of(self.question, cohort.table, halves, fold.validation) for fold in folds),
            sharing=make_sharing(job.spec),
        )

    def check_network(self, spec: SweepSpec, pinned: Mapping[str, Any]) -> None:
        """Builds the sweep's network as it is pinned, and loads its weights file, if it has one.

        Raises:
            CheckpointError: The file is missing or damaged, or does not fit.
            HyperparameterError: What is pinned to learn is a part that the network has not.
        """
        settings = network_settings(spec)
        attention: Attention | None = pinned.get("attention")
        network = build_network(
            settings.describe(n_slices=Cohort.open(spec.cohort).shape[0], attention=attention, readout=self.readout)
        )
        if pinned.get("flair_dropout") and PRESENCE not in settings.inputs_read:
            raise HyperparameterError(
                f"phase {spec.phase}: fix flair_dropout is {pinned['flair_dropout']}; {PRESENCE} is not among the "
                "network's inputs"
            )
        learned: Learned | None = pinned.get("learned")
        if learned and (attention or settings.attends):  # else trials say whether there is attention
            try:
                parts = freeze(network, depth=0, learned=learned)
            except HyperparameterError as error:
                raise HyperparameterError(f"phase {spec.phase}: fix {error}") from error
            if not parts:
                raise HyperparameterError(
                    f"phase {spec.phase}: fix learned is {learned!r}; the network has no such part"
                )
        if spec.inputs.weights_file:
            _load_file(network, spec.inputs.weights_file)

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What an epoch costs here, measured over a few steps, and what its frozen stages do at each depth on offer."""
        cohort = Cohort.open(spec.cohort)
        settings = network_settings(spec)
        halves = with_halves(cohort.sweep_view(), cohort.table, n_halves=settings.n_halves)
        fold = make_folds(cohort, **spec.inputs.dealing())[0]
        samples = samples_of(self.question, cohort.table, halves, fold.train)
        attention: Attention = "softmax" if settings.attends else "mean_flow"
        network = build_network(settings.describe(n_slices=cohort.shape[0], attention=attention, readout=self.readout))
        return measure_epoch(network, samples, spec, depths=offered_depths(offered))


@dataclass(frozen=True, slots=True)
class Answers:
    """A question's samples, and what it takes to learn them in a sweep.

    Attributes:
        job: The sweep.
        readout: How a network that attends to voxels answers.
        n_slices: Slices of a hemisphere.
        train: What is learned from, by fold.
        validation: What epochs are judged by, by fold.
        sharing: How frozen stages are shared with other trials.
    """

    job: SweepJob
    readout: Readout
    n_slices: int
    train: tuple[Samples, ...]
    validation: tuple[Samples, ...]
    sharing: Sharing

    def make_learner(
        self, hyperparameters: dict[str, Any], *, conditions: Conditions, shard: Shard, i_replica: int
    ) -> tuple[Classifier, Mapping[str, Any] | None]:
        """A classifier that starts from drawn weights, from the parent that the trial chose, or from a file.

        Raises:
            CheckpointError: The first weights are damaged, altered or do not fit.
        """
        inputs, settings = self.job.spec.inputs, network_settings(self.job.spec)
        i_fold = i_replica // inputs.seeds
        hyperparameters = {"attention": settings.own_attention, **hyperparameters}
        of_the_network = {name: hyperparameters[name] for name in ("attention", "sharpness") if name in hyperparameters}
        network = build_network(settings.describe(n_slices=self.n_slices, readout=self.readout, **of_the_network))
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(conditions.seed, "weights")))
        came_from: dict[str, Any] | None = None
        if self.job.parents:
            parent = self.job.parents[int(hyperparameters.get("parent", 1)) - 1]
            came_from = {"parent": parent.digest, **load_parent(network, parent.folder, i_replica=i_replica)}
        if inputs.weights_file:
            came_from = _load_file(network, inputs.weights_file)
        if not any(name.startswith("inputs.") for name in (came_from or {}).get("matched", ())):
            standardise(network, self.train[i_fold], device=conditions.device)  # a parent's inputs are its weights' own
        learner = Classifier(
            network=network,
            train=self.train[i_fold],
            validation=self.validation[i_fold],
            hyperparameters=hyperparameters,
            conditions=conditions,
            sharing=self.sharing,
            shard=shard,
        )
        return learner, came_from


def _load_file(network: StagedNetwork, file: WeightsFile) -> dict[str, Any]:
    return load_file(network, file.path, digest=file.digest, layout=file.settings.layout, mapping=file.settings.mapping)
