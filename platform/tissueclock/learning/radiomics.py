"""Fitting the radiomics baseline: features chosen by t-test, then a model by scikit-learn, once; there are no epochs.

Whatever is chosen or fitted is chosen and fitted on the training samples of a fold alone, so that folds are nested in
the holdout as they are for networks.

References:
    Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611 (selection, the three models).
    Platt 1999, in Advances in Large Margin Classifiers, MIT Press (probabilities of a support vector machine).
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, Shaped
from numpy import ndarray
from scipy import stats
from scipy.special import expit
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC
from torch.nn import functional

from tissueclock.learning.course import Course, LearningState
from tissueclock.learning.frozen_features import FrozenFeatures, Sharing
from tissueclock.learning.hyperparameters import RadiomicsHyperparameters
from tissueclock.learning.learner import Conditions
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.pooling import pool_validation
from tissueclock.learning.samples import Samples, even_batches
from tissueclock.networks.radiomics_network import N_TREES, RadiomicsNetwork, logit_of
from tissueclock.networks.trunk import STAGES
from tissueclock.weights.fitting import load_weights

_BATCH = 16
_CONSTANT_SD = 1e-6
_LEAST_SLOPE = 1e-3
_SVM_STEPS = 1_000_000
"""libsvm may go round in circles where classes cannot be separated and C is large."""


class RadiomicsLearner(Course):
    """Fits a model to the regions of the training samples.

    Args:
        network: What is fitted, in place.
        train: What it learns from.
        validation: What the trial is judged by, and thresholds chosen on.
        hyperparameters: Names and values of `RadiomicsHyperparameters`; what is left out has its default.
        conditions: See `Learner`; there is one epoch.
        everyone: Training and validation samples of all folds: measured once for all of them; None: these two.
        sharing: How measurements are shared with other trials.

    Raises:
        HyperparameterError: A hyperparameter is unknown or out of range.
    """

    objective = "val_auc"

    def __init__(
        self,
        *,
        network: RadiomicsNetwork,
        train: Samples,
        validation: Samples,
        hyperparameters: Mapping[str, Any],
        conditions: Conditions,
        everyone: Samples | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        super().__init__(epochs=1, patience=conditions.patience, objective=self.objective)
        self.hyperparameters = RadiomicsHyperparameters.from_mapping(hyperparameters)
        self.network = network
        self._train, self._validation, self._seed = train, validation, conditions.seed
        self._everyone = everyone
        self._validated = np.zeros(len(validation), dtype=np.float32)
        self._measured = FrozenFeatures(
            network=network,
            depth=len(STAGES),
            augmentation=0.0,
            views=1,
            sharing=sharing or Sharing(store=None, cohort="", seed=0),
            device=torch.device("cpu"),
        )
        self._best = _copy(network)

    def learn_epoch(self) -> dict[str, float]:
        """Fits, and validates.

        Returns:
            Finite numbers: `epoch`, `train_loss` and `val_loss` (cross-entropy), the validation metrics, `threshold`,
            `n_features` (chosen), `val_roi` (the fraction of validation samples with a region) and `epoch_s`.
        """
        started = time.perf_counter()
        features, roi_ml = self._measure(self._train)
        has_roi, labels = (roi_ml > 0).numpy(), np.asarray(self._train.labels, dtype=np.float64)
        network, chosen = self.network, self.hyperparameters
        prior = logit_of(labels.mean(), n=len(labels))
        groups = np.array(self._train.groups or [str(row) for row in self._train.rows])
        n_features = fit_network(
            network,
            features.numpy()[has_roi],
            labels[has_roi] > 0.5,
            chosen,
            groups=groups[has_roi],
            prior=prior,
            seed=self._seed,
        )
        measured = self._measure(self._validation)
        with torch.inference_mode():
            fitted = self.network.after((features, roi_ml), len(STAGES))
            self._validated = self.network.after(measured, len(STAGES)).numpy()
        self.epoch += 1
        metrics = classification_metrics(self._validation.labels, self._validated, groups=self._validation.groups)
        shown = ("auc", "auprc", "sensitivity", "specificity", "accuracy", "youden")
        return {
            "epoch": float(self.epoch),
            "train_loss": _loss(fitted.numpy(), labels),
            "val_loss": _loss(self._validated, self._validation.labels),
            **{f"val_{name}": metrics[name] for name in shown},
            "threshold": metrics["threshold"],
            "n_features": float(n_features),
            "val_roi": float((measured[1] > 0).float().mean()),
            **self._measured.facts(),
            "epoch_s": time.perf_counter() - started,
        }

    @classmethod
    def pooled(cls, learners: Sequence[Course]) -> dict[str, float]:
        """See `pool_validation`."""
        parts = [(each._validation, each._validated) for each in learners if isinstance(each, RadiomicsLearner)]
        return pool_validation(parts)

    def keep(self) -> None:
        """Keeps what was fitted."""
        self._best = _copy(self.network)

    def state(self) -> LearningState:
        """What `load` goes on from; there is no optimiser."""
        facts = {
            "epoch": self.epoch,
            "seed": self._seed,
            "network": self.network.description,
            "hyperparameters": self.hyperparameters.as_facts(),
        }
        return LearningState(weights=_copy(self.network), best=self._best, optimiser={}, facts=facts)

    def load(self, state: LearningState) -> None:
        """Goes on from a state.

        Raises:
            CheckpointError: It is of another model.
        """
        load_weights(self.network, state.weights, source="checkpoint")
        self._best = dict(state.best)
        self.epoch = int(state.facts["epoch"])

    def _measure(self, samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        everyone = self._everyone or samples
        place = {int(row): i for i, row in enumerate(everyone.rows)}
        positions = np.array([place[int(row)] for row in samples.rows], dtype=np.int64)
        batches = even_batches(positions, batch_size=_BATCH)
        features, roi_ml = zip(*self._measured.validation(everyone, batches), strict=True)
        return torch.cat(features), torch.cat(roi_ml)


def fit_network(
    network: RadiomicsNetwork,
    features: Float32[ndarray, "sample feature"],
    labels: Bool[ndarray, " sample"],
    chosen: RadiomicsHyperparameters,
    *,
    groups: Shaped[ndarray, " sample"],
    prior: float,
    seed: int,
) -> int:
    """Fits the network to these regions, and says how many features it reads; 0 where only the prior is left.

    Args:
        network: What is fitted.
        features: Of the training hemispheres that have a region.
        labels: Theirs.
        chosen: The configuration.
        groups: Whose each is.
        prior: The logit of all training hemispheres.
        seed: Of the forest, and of the folds that a support vector machine's line is fitted on.
    """
    values: dict[str, Any] = {"prior": prior}
    kept: Int64[ndarray, " kept"] = np.empty(0, dtype=np.int64)
    if 0 < labels.sum() < len(labels):
        kept = _select(features, labels, chosen)
        if chosen.model == "svm":
            slope, shift = _platt(features, labels, groups, chosen, seed=seed % 2**32)
            values |= _fit_svm(features, labels, kept, chosen, slope=slope, shift=shift)
        elif chosen.model == "forest":
            values |= _fit_forest(features, labels, kept, chosen, seed=seed % 2**32)
        else:
            values |= _fit_logistic(features, labels, kept, chosen)
    elif chosen.model == "forest":
        values["tree_value"] = np.full(network.tree_value.shape, expit(prior))
    else:
        values["bias"] = prior
    with torch.no_grad():
        for name, value in values.items():
            network.get_buffer(name).copy_(torch.as_tensor(value))
    return len(kept)


def _select(
    features: Float32[ndarray, "sample feature"], labels: Bool[ndarray, " sample"], chosen: RadiomicsHyperparameters
) -> Int64[ndarray, " kept"]:
    """The features whose means differ (Welch's t-test, Bonferroni); of the smallest p, some in any case."""
    varies = features.std(axis=0) >= _CONSTANT_SD
    x, p = features[:, varies].astype(np.float64), np.ones(features.shape[1])
    with warnings.catch_warnings():  # of features that hardly vary within a class
        warnings.simplefilter("ignore", RuntimeWarning)
        tested = stats.ttest_ind(x[labels], x[~labels], equal_var=False)
    p[varies] = np.nan_to_num(tested.pvalue, nan=1.0)  # a class of one has no variance
    order = np.argsort(p, kind="stable")
    return np.sort(order[: max(chosen.least_features, int((p < chosen.alpha / len(p)).sum()))])


def _standardise(
    features: Float32[ndarray, "sample feature"], kept: Int64[ndarray, " kept"]
) -> tuple[Float[ndarray, "sample kept"], dict[str, Any]]:
    mean, sd = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    sd[sd < _CONSTANT_SD] = 1.0
    return ((features - mean) / sd)[:, kept], {"mean": mean, "sd": sd}


def _linear(
    kept: Int64[ndarray, " kept"], weight: Float[ndarray, " kept"], bias: float, n_features: int
) -> dict[str, Any]:
    whole = np.zeros(n_features)
    whole[kept] = weight
    return {"weight": whole, "bias": bias}


def _fit_logistic(
    features: Float32[ndarray, "sample feature"],
    labels: Bool[ndarray, " sample"],
    kept: Int64[ndarray, " kept"],
    chosen: RadiomicsHyperparameters,
) -> dict[str, Any]:
    z, scale = _standardise(features, kept)
    fitted = LogisticRegression(C=chosen.c, max_iter=10_000).fit(z, labels)
    return {**scale, **_linear(kept, fitted.coef_[0], float(fitted.intercept_[0]), features.shape[1])}


def _fit_svm(
    features: Float32[ndarray, "sample feature"],
    labels: Bool[ndarray, " sample"],
    kept: Int64[ndarray, " kept"],
    chosen: RadiomicsHyperparameters,
    *,
    slope: float = 1.0,
    shift: float = 0.0,
) -> dict[str, Any]:
    """A linear machine; its margin times `slope`, plus `shift`, is the logit."""
    z, scale = _standardise(features, kept)
    machine = SVC(kernel="linear", C=chosen.c, max_iter=_SVM_STEPS).fit(z, labels)
    weight, bias = slope * machine.coef_[0], slope * float(machine.intercept_[0]) + shift
    return {**scale, **_linear(kept, weight, bias, features.shape[1])}


def _platt(
    features: Float32[ndarray, "sample feature"],
    labels: Bool[ndarray, " sample"],
    groups: Shaped[ndarray, " sample"],
    chosen: RadiomicsHyperparameters,
    *,
    seed: int,
) -> tuple[float, float]:
    """Slope and shift of the line that makes margins logits, fitted on margins of machines that did not see them.

    Features are chosen within each fold, and a patient is in one. The slope is kept above 0: a few patients may say
    otherwise, and would turn the machine's order upside down. Without folds that hold both classes, 1 and 0.
    """
    n_folds = min(5, len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if n_folds < 2:
        return 1.0, 0.0
    margin = np.zeros(len(labels))
    for train, test in StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(features, labels, groups):
        if labels[train].all() or not labels[train].any():
            return 1.0, 0.0
        kept = _select(features[train], labels[train], chosen)
        fitted = _fit_svm(features[train], labels[train], kept, chosen)
        margin[test] = (features[test] - fitted["mean"]) / fitted["sd"] @ fitted["weight"] + fitted["bias"]
    line = LogisticRegression(C=1e6).fit(margin[:, None], labels)
    return max(float(line.coef_[0, 0]), _LEAST_SLOPE), float(line.intercept_[0])


def _fit_forest(
    features: Float32[ndarray, "sample feature"],
    labels: Bool[ndarray, " sample"],
    kept: Int64[ndarray, " kept"],
    chosen: RadiomicsHyperparameters,
    *,
    seed: int,
) -> dict[str, Any]:
    forest = RandomForestClassifier(
        N_TREES, max_depth=chosen.tree_depth, min_samples_leaf=chosen.leaf, random_state=seed, n_jobs=1
    ).fit(features[:, kept], labels)
    n_nodes = 2 ** (chosen.tree_depth + 1) - 1
    asked, threshold = np.zeros((N_TREES, n_nodes), dtype=np.int16), np.zeros((N_TREES, n_nodes))
    child = np.tile(np.arange(n_nodes, dtype=np.int16), (2, N_TREES, 1))  # a leaf leads to itself
    value = np.zeros((N_TREES, n_nodes))
    for i, fitted in enumerate(forest.estimators_):
        tree = fitted.tree_
        inner = np.flatnonzero(tree.children_left >= 0)
        asked[i, inner], threshold[i, inner] = kept[tree.feature[inner]], tree.threshold[inner]
        child[0, i, inner], child[1, i, inner] = tree.children_left[inner], tree.children_right[inner]
        votes = tree.value[:, 0]
        value[i, : tree.node_count] = votes[:, 1] / votes.sum(axis=1)
    return {"tree_feature": asked, "tree_threshold": threshold, "tree_child": child, "tree_value": value}


def _loss(logits: Float[ndarray, " sample"], labels: ndarray) -> float:
    target = torch.as_tensor(np.asarray(labels, dtype=np.float32))
    return float(functional.binary_cross_entropy_with_logits(torch.as_tensor(logits, dtype=torch.float32), target))


def _copy(network: RadiomicsNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
