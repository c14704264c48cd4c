import pytest

from tissueclock.learning.early_stopping import EarlyStopping


def observe(stopping: EarlyStopping, course: list[tuple[float, float]]) -> list[bool]:
    return [
        stopping.observe({"val_auc": auc, "val_loss": loss, "epoch": float(i)})
        for i, (auc, loss) in enumerate(course, start=1)
    ]


def test_ties_are_broken_by_the_lower_loss():
    stopping = EarlyStopping(patience=5)
    assert observe(stopping, [(0.7, 0.6), (0.7, 0.5), (0.7, 0.5), (0.7, 0.55)]) == [True, True, False, False]
    assert stopping.best["epoch"] == 2.0


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_epochs_since_the_best(patience):
    stopping = EarlyStopping(patience=patience)
    observe(stopping, [(0.6, 1.0), (0.8, 1.0), *[(0.7, 1.0)] * (patience - 1)])
    assert not stopping.exhausted
    observe(stopping, [(0.7, 1.0)])
    assert stopping.exhausted


def test_a_better_epoch_restores_patience():
    stopping = EarlyStopping(patience=2)
    observe(stopping, [(0.6, 1.0), (0.5, 1.0), (0.7, 1.0), (0.6, 1.0)])
    assert not stopping.exhausted


def test_a_lucky_epoch_is_not_the_best_where_scores_are_smoothed():
    course = [(0.6, 1.0), (0.8, 1.0), (0.6, 1.0), (0.7, 1.0), (0.75, 1.0), (0.7, 1.0)]
    alone, smoothed = EarlyStopping(patience=9), EarlyStopping(patience=9, smooth=3)
    observe(alone, course)
    observe(smoothed, course)
    assert (alone.best["epoch"], alone.report()["best_value"]) == (2.0, 0.8)
    assert smoothed.best["epoch"] == 6.0
    assert smoothed.report()["best_value"] == pytest.approx((0.7 + 0.75 + 0.7) / 3)


def test_what_0_1_wrote_is_gone_on_from():
    facts = {"best": {"val_auc": 0.6, "val_loss": 1.0, "epoch": 1.0}, "n_since": 1}
    assert EarlyStopping(patience=3, smooth=3).from_facts(facts).report()["best_value"] == 0.6


def test_it_goes_on_from_its_facts():
    stopping = EarlyStopping(patience=2, smooth=2)
    observe(stopping, [(0.6, 1.0), (0.5, 1.0)])
    again = EarlyStopping(patience=2, smooth=2).from_facts(stopping.as_facts())
    assert again == stopping
    observe(again, [(0.5, 1.0)])
    assert again.exhausted
