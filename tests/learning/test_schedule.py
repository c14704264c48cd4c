import pytest

from tissueclock.learning.schedule import rate_factor


def test_a_constant_schedule_changes_no_rate():
    assert {rate_factor("constant", i_step=i, n_steps=10) for i in range(20)} == {1.0}


def test_a_cosine_falls_from_1_to_a_hundredth_and_stays_there():
    factors = [rate_factor("cosine", i_step=i, n_steps=10) for i in range(15)]
    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)
    assert factors[10:] == pytest.approx([0.01] * 5)


def test_rates_fall_as_training_goes_on(make_learner):
    learner = make_learner(epochs=3, schedule="cosine", lr=0.01)
    lrs = [learner.run_epoch()["lr"] for _ in range(3)]
    assert 0.01 > lrs[0] > lrs[1] > lrs[2] > 1e-4
