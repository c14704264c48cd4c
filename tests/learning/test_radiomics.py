"""The radiomics baseline in a network's place gives what scikit-learn gives, and keeps what any course keeps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from tissueclock.errors import InputError
from tissueclock.learning.learner import Conditions
from tissueclock.learning.radiomics import RadiomicsLearner
from tissueclock.learning.replicas import Replicas
from tissueclock.learning.samples import Samples
from tissueclock.networks.building import build_network
from tissueclock.networks.radiomics_network import N_TREES

N_FEATURES = 265
MODELS = ["logistic", "svm", "forest"]
Make = Callable[..., RadiomicsLearner]


class FakeMeasurements:
    """Hemispheres of one voxel that are their row; the network's measurements of them are drawn by it."""

    def read(self, rows: ndarray | Tensor) -> Tensor:
        return torch.as_tensor(np.asarray(rows), dtype=torch.float16).view(-1, 1, 1, 1, 1).expand(-1, 6, 1, 1, 1)


def measure(row: int) -> tuple[ndarray, float]:
    """Features of which the first three tell odd rows; every seventh row has no region."""
    if row % 7 == 0:
        return np.zeros(N_FEATURES, dtype=np.float32), 0.0
    features = np.random.default_rng(row).standard_normal(N_FEATURES).astype(np.float32)
    features[:3] += 1.5 * (row % 2)
    return features, 1.0


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def measured(halves: ndarray, *_: object, **__: object) -> tuple[ndarray, float]:
        return measure(int(halves[0, 0, 0, 0]))

    monkeypatch.setattr("tissueclock.networks.radiomics_network.measure_region", measured)

    def build(*, rows: ndarray | None = None, seed: int = 3, **values: object) -> RadiomicsLearner:
        rows = np.arange(160) if rows is None else rows
        of_network = {name: values[name] for name in ("model", "tree_depth") if name in values}
        samples = [
            Samples(view=FakeMeasurements(), rows=some, labels=(some % 2).astype(float))
            for some in (rows, np.arange(160, 240))
        ]
        return RadiomicsLearner(
            network=build_network({"kind": "radiomics", "n_slices": 1, "spacing_mm": [4.0, 5.0, 5.0], **of_network}),
            train=samples[0],
            validation=samples[1],
            hyperparameters=values,
            conditions=Conditions(epochs=1, patience=1, seed=seed, device=torch.device("cpu")),
        )

    return build


def features_of(rows: ndarray) -> tuple[ndarray, ndarray]:
    found = [measure(int(row)) for row in rows]
    features = np.stack([f for f, _ in found]).astype(np.float16).astype(np.float32)
    return features, np.array([ml > 0 for _, ml in found])


@pytest.mark.parametrize("model", ["logistic", "forest"])
def test_it_answers_as_scikit_learn_does_on_the_features_that_the_t_test_left(make: Make, model: str) -> None:
    learner = make(model=model, c=0.1, tree_depth=4, leaf=2, least_features=3, alpha=1e-12)
    metrics = learner.learn_epoch()
    x, has = features_of(np.arange(160))
    y = np.arange(160)[has] % 2
    new, new_has = features_of(np.arange(160, 240))
    if model == "logistic":
        scaler = StandardScaler().fit(x[has])
        fitted = LogisticRegression(C=0.1, max_iter=10_000).fit(scaler.transform(x[has])[:, :3], y)
        p = fitted.predict_proba(scaler.transform(new)[:, :3])[:, 1]
    else:
        forest = RandomForestClassifier(N_TREES, max_depth=4, min_samples_leaf=2, random_state=3).fit(x[has][:, :3], y)
        p = forest.predict_proba(new[:, :3])[:, 1].clip(0.5 / N_TREES, 1 - 0.5 / N_TREES)
    given = torch.sigmoid(learner.network(FakeMeasurements().read(np.arange(160, 240)).float())).numpy()
    np.testing.assert_allclose(given[new_has], p[new_has], rtol=1e-4)
    assert metrics["n_features"] == 3.0
    assert metrics["val_auc"] > 0.8


@pytest.mark.parametrize("model", MODELS)
def test_without_a_region_the_answer_is_the_prior(make: Make, model: str) -> None:
    learner = make(model=model, rows=np.concatenate([np.arange(0, 160, 2), np.arange(1, 40, 2)]))
    learner.learn_epoch()
    given = torch.sigmoid(learner.network(FakeMeasurements().read(np.array([161, 168])).float()))
    assert float(given[0]) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_where_no_training_hemisphere_has_a_region_all_get_the_prior(make: Make, model: str) -> None:
    learner = make(model=model, rows=np.arange(0, 160, 7))
    assert learner.learn_epoch()["n_features"] == 0.0
    given = learner.network(FakeMeasurements().read(np.arange(160, 240)).float())
    assert float(given.std()) == pytest.approx(0.0, abs=1e-5)


def test_a_machine_of_few_patients_is_not_turned_upside_down(make: Make) -> None:
    """With 32 patients and a weak machine, Platt's line fell: the best features gave an AUC below .5."""
    values = [make(model="svm", c=1e-3, rows=np.arange(32), seed=seed).learn_epoch()["val_auc"] for seed in range(6)]
    assert min(values) >= 0.45


def test_a_machine_s_probabilities_of_noise_are_near_a_half(make: Make) -> None:
    """Features that are chosen with a fold's labels promise too much of its margins."""
    learner = make(model="svm", c=0.1, least_features=20)
    shuffled = np.random.default_rng(1).permutation(learner._train.labels)
    learner._train = Samples(view=learner._train.view, rows=learner._train.rows, labels=shuffled)
    learner.learn_epoch()
    assert np.abs(learner._validated).mean() < 1.0


def test_labels_of_noise_are_not_learned(make: Make) -> None:
    learner = make(model="logistic", rows=np.arange(160))
    shuffled = np.random.default_rng(0).permutation(learner._train.labels)
    learner._train = Samples(view=learner._train.view, rows=learner._train.rows, labels=shuffled)
    assert abs(learner.learn_epoch()["val_auc"] - 0.5) < 0.2


@pytest.mark.parametrize("model", MODELS)
def test_folds_are_kept_and_taken_up_again(make: Make, model: str, tmp_path: Path) -> None:
    def replicas() -> Replicas:
        learners = [make(model=model), make(model=model, rows=np.arange(100), seed=4)]
        return Replicas(learners, n_seeds=1, epochs=1, patience=1, seed=9)

    course = replicas()
    metrics = course.run_epoch()
    course.save(tmp_path / "kept")
    again = replicas()
    again.restore(tmp_path / "kept")
    assert again.finished
    assert {"threshold", "val_auc_pooled", "val_auc_fold2"} <= set(metrics)
    for one, other in zip(course.learners, again.learners, strict=True):
        for name, tensor in one.state().best.items():
            torch.testing.assert_close(other.state().best[name], tensor)


def test_a_hyperparameter_of_a_network_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match="lr: not a hyperparameter; these are model, c,"):
        make(lr=0.1)
