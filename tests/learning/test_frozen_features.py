"""A trial that shares its frozen stages learns what it learns without, at every depth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tissueclock.cohort.augmentation import augment
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.frozen_features import Sharing
from tissueclock.learning.samples import Samples
from tissueclock.learning.trunk_store import TrunkStore

OPTIONS = {"lr": 1e-3, "optimiser": "adamw", "views": 2, "augmentation": 1.0, "dropout": 0.2}


@pytest.fixture
def store(tmp_path: Path) -> TrunkStore:
    return TrunkStore(tmp_path / "trunks", limit_bytes=10**9)


def sharing(store: TrunkStore | None) -> Sharing:
    return Sharing(store=store, cohort="made-up", seed=5)


def curve(learner: Classifier, n_epochs: int = 3) -> np.ndarray:
    rows = [learner.run_epoch() for _ in range(n_epochs)]
    return np.array([[row["train_loss"], row["val_loss"]] for row in rows])


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("attention", ["off", "mean_flow"])
@pytest.mark.parametrize("kind", ["slice", "volume"])
def test_a_trial_with_sharing_equals_the_same_trial_without(
    make_learner: Callable[..., Classifier], store: TrunkStore, kind: str, depth: int, attention: str
) -> None:
    options = {**OPTIONS, "freeze_depth": depth, "network": {"kind": kind, "attention": attention}}
    alone = curve(make_learner(sharing=sharing(None), **options))
    builder = make_learner(sharing=sharing(store), **options)
    first = curve(builder)
    second = make_learner(sharing=sharing(store), **options)

    np.testing.assert_allclose(first, alone, rtol=1e-4)
    np.testing.assert_array_equal(curve(second), first)
    assert second.run_epoch()["trunk_built_s"] == 0.0
    assert store.used_bytes() > 0


@pytest.mark.parametrize("views", [1, 3])
def test_each_view_and_validation_are_stored_once(
    make_learner: Callable[..., Classifier], store: TrunkStore, views: int
) -> None:
    learner = make_learner(sharing=sharing(store), **{**OPTIONS, "freeze_depth": 2, "views": views})

    curve(learner, 4)

    assert len([path for path in store.folder.iterdir() if path.is_dir()]) == views + 1


def test_fresh_views_each_epoch_are_shared_with_nobody(
    make_learner: Callable[..., Classifier], store: TrunkStore
) -> None:
    metrics = make_learner(sharing=sharing(store), **{**OPTIONS, "freeze_depth": 2, "views": 0}).run_epoch()

    assert "trunk_depth" not in metrics
    assert not store.folder.exists()


def test_a_full_store_changes_no_result(make_learner: Callable[..., Classifier], tmp_path: Path) -> None:
    options = {**OPTIONS, "freeze_depth": 3}
    full = TrunkStore(tmp_path / "full", limit_bytes=1)

    np.testing.assert_array_equal(
        curve(make_learner(sharing=sharing(full), **options)), curve(make_learner(sharing=sharing(None), **options))
    )


def test_other_weights_in_the_frozen_stages_are_other_maps(
    make_learner: Callable[..., Classifier], store: TrunkStore
) -> None:
    options = {**OPTIONS, "freeze_depth": 2}
    curve(make_learner(sharing=sharing(store), seed=3, **options), 1)
    n_before = len(list(store.folder.iterdir()))
    other = make_learner(sharing=sharing(store), seed=4, **options)

    np.testing.assert_allclose(
        curve(other, 1), curve(make_learner(sharing=sharing(None), seed=4, **options), 1), rtol=1e-4
    )
    assert len(list(store.folder.iterdir())) > n_before


def test_a_view_of_a_hemisphere_depends_on_no_other(samples: tuple[Samples, Samples]) -> None:
    image = samples[0].view.read(np.arange(4)).float()

    def of(rows: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(row) for row in rows]
        return augment(image[rows], strength=1.0, generator=generators)

    torch.testing.assert_close(of([0, 1, 2, 3])[[3, 1]], of([3, 1]))
