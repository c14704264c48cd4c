"""The radiomics baseline as a phase: a question is answered from measurements of a region that it finds itself."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tissueclock.cohort.folds import make_folds
from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import StudyError
from tissueclock.grid import Grid
from tissueclock.learning.frozen_features import Sharing
from tissueclock.learning.hyperparameters import RADIOMICS_ROWS, RadiomicsHyperparameters
from tissueclock.learning.learner import Conditions
from tissueclock.learning.radiomics import RadiomicsLearner, fit_network
from tissueclock.learning.samples import Samples
from tissueclock.learning.shard import Shard
from tissueclock.networks.radiomics_network import RadiomicsNetwork
from tissueclock.networks.settings import RadiomicsSettings
from tissueclock.radiomics.features import FEATURES
from tissueclock.records import EpochBill, SweepJob, SweepSpec
from tissueclock.training.bill import few_of
from tissueclock.training.questions import QuestionTask, make_sharing
from tissueclock.training.scoring import samples_of

_N_MEASURED = 8
"""Hemispheres that a bill measures."""

_COSTLIEST: tuple[Mapping[str, Any], ...] = (
    {"model": "forest", "tree_depth": 8, "leaf": 1, "least_features": len(FEATURES)},
    {"model": "svm", "c": 10.0, "least_features": len(FEATURES)},
)


@dataclass(frozen=True, slots=True)
class Radiomics(QuestionTask):
    """A region of interest is found and measured, and a model of scikit-learn is fitted; after Lee et al. 2020."""

    objective = RadiomicsLearner.objective

    def accepted(self) -> frozenset[str]:
        """The region's thresholds, the selection's and the model's hyperparameters."""
        return frozenset(RADIOMICS_ROWS)

    def open(self, cohort: Cohort, job: SweepJob) -> "Measured":
        """The question's training and validation samples, with both halves of each head."""
        inputs = job.spec.inputs
        halves = with_halves(cohort.sweep_view(), cohort.table, n_halves=2)
        folds = make_folds(cohort, **inputs.dealing())
        everyone = np.concatenate([folds[0].train, folds[0].validation])  # the same in each fold
        return Measured(
            settings=_settings(job.spec),
            grid=Grid(cohort.shape, cohort.spacing_mm),
            n_seeds=inputs.seeds,
            everyone=samples_of(self.question, cohort.table, halves, everyone),
            train=tuple(samples_of(self.question, cohort.table, halves, fold.train) for fold in folds),
            validation=tuple(samples_of(self.question, cohort.table, halves, fold.validation) for fold in folds),
            sharing=make_sharing(job.spec),
        )

    def check_network(self, spec: SweepSpec, pinned: Mapping[str, Any]) -> None:
        """Raises StudyError where a fit is asked for what it has not: first weights, several epochs or processes."""
        allowed = {"weights": "random", "epochs": 1}
        for name, only in allowed.items():
            if (found := getattr(spec.inputs, name)) != only:
                raise StudyError(
                    f"phase {spec.phase}: {name} is {found!r}; radiomics is fitted once, from nothing; allowed: {only}"
                )
        if spec.budget.resources.workers > 1:
            raise StudyError(
                f"phase {spec.phase}: {spec.budget.resources.workers} processes are asked for (workers_per_trial, or "
                "whole gpus_per_trial); radiomics is fitted in one, on a CPU; allowed: 1"
            )

    def epoch_bill(self, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
        """What a trial costs at most: all its regions are measured, and a forest is fitted."""
        cohort = Cohort.open(spec.cohort)
        grid = Grid(cohort.shape, cohort.spacing_mm)
        fold = make_folds(cohort, **spec.inputs.dealing())[0]
        halves = with_halves(cohort.sweep_view(), cohort.table, n_halves=2)
        train = samples_of(self.question, cohort.table, halves, fold.train)
        validation = samples_of(self.question, cohort.table, halves, fold.validation)
        few = few_of(train, _N_MEASURED)
        network = _build(_settings(spec), grid, _COSTLIEST[0])
        started = time.perf_counter()
        network.before(few.view.read(few.rows), 1)
        each_s = (time.perf_counter() - started) / len(few)
        fit_s = max(_time_fit(_build(_settings(spec), grid, values), values, n=len(train)) for values in _COSTLIEST)
        n = spec.inputs.n_replicas
        n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
        epoch_s = each_s * (len(train) + len(validation)) + n * fit_s
        return EpochBill(epoch_s=epoch_s, checkpoint_bytes=2 * n * n_bytes, trunks={})


@dataclass(frozen=True, slots=True)
class Measured:
    """A question's samples, and what it takes to measure them.

    Attributes:
        settings: What the study says of the baseline.
        grid: Of the cohort.
        n_seeds: Replicas of each fold.
        everyone: What all folds together hold.
        train: What is learned from, by fold.
        validation: What trials are judged by, by fold.
        sharing: How measurements are shared with other trials.
    """

    settings: RadiomicsSettings
    grid: Grid
    n_seeds: int
    everyone: Samples
    train: tuple[Samples, ...]
    validation: tuple[Samples, ...]
    sharing: Sharing

    def make_learner(
        self,
        hyperparameters: dict[str, Any],
        *,
        conditions: Conditions,
        shard: Shard,
        i_replica: int,
    ) -> tuple[RadiomicsLearner, None]:
        """What fits the model of one fold."""
        i_fold = i_replica // self.n_seeds
        learner = RadiomicsLearner(
            network=_build(self.settings, self.grid, hyperparameters),
            train=self.train[i_fold],
            validation=self.validation[i_fold],
            hyperparameters=hyperparameters,
            conditions=conditions,
            everyone=self.everyone,
            sharing=self.sharing,
        )
        return learner, None


def _time_fit(network: RadiomicsNetwork, values: Mapping[str, Any], *, n: int) -> float:
    """Seconds that a fit to so many regions of noise takes."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 1))  # features of a region go together
    features = (common + rng.standard_normal((n, len(FEATURES)))).astype(np.float32)
    labels, chosen = np.arange(n) % 2 == 0, RadiomicsHyperparameters.from_mapping(values)
    started = time.perf_counter()
    fit_network(network, features, labels, chosen, groups=np.arange(n), prior=0.0, seed=0)
    return time.perf_counter() - started


def _settings(spec: SweepSpec) -> RadiomicsSettings:
    settings = spec.inputs.network
    if not isinstance(settings, RadiomicsSettings):
        raise StudyError(f"phase {spec.phase} has a network of kind {settings.kind!r}; allowed: radiomics")
    return settings


def _build(settings: RadiomicsSettings, grid: Grid, values: Mapping[str, Any]) -> RadiomicsNetwork:
    chosen = RadiomicsHyperparameters.from_mapping(values)
    description = settings.describe(
        n_slices=grid.shape[0],
        spacing_mm=grid.spacing_mm,
        model=chosen.model,
        tree_depth=chosen.tree_depth,
        adc_factor=chosen.adc_factor,
        b1000_sd=chosen.b1000_sd,
    )
    return RadiomicsNetwork(**{name: value for name, value in description.items() if name != "kind"})
