"""A search whose best no longer grows gives back what it has left."""

import pytest

from tissueclock.storage.ledger import LedgerState
from tissueclock.sweeping.limit import is_flat


def state(values: list[float | None], *, ended: list[int] | None = None) -> LedgerState:
    """Trials that ended with these values, in this order or at these times."""
    made = LedgerState()
    for i, value in enumerate(values):
        name, ended_s = f"t{i:04d}", float(ended[i] if ended else i)
        made.apply({"kind": "asked", "trial": name, "hyperparameters": {}, "seed": i, "time_s": 0.0})
        if value is not None:
            metrics = {"best_value": value}
            made.apply({"kind": "reported", "trial": name, "epoch": 1, "metrics": metrics, "time_s": ended_s})
        status = "failed" if value is None else "finished"
        made.apply({"kind": "ended", "trial": name, "status": status, "time_s": ended_s})
    return made


@pytest.mark.parametrize(
    ("values", "n_wanted", "flat"),
    [
        ([0.6] + [0.5] * 7, 24, False),
        ([0.6] + [0.5] * 8, 24, True),
        ([0.6] + [0.6] * 8, 24, True),  # as good is not better
        ([0.6] + [0.5] * 8, 30, False),  # a third of them is 10
        ([0.6] + [0.5] * 7 + [0.61], 24, False),
        ([0.6] + [None] * 8, 24, True),
        ([None] * 9, 24, True),
        ([], 24, False),
    ],
)
def test_a_third_of_the_trials_without_a_better_one_is_flat(
    values: list[float | None], n_wanted: int, flat: bool
) -> None:
    assert is_flat(state(values), n_wanted=n_wanted) is flat


def test_trials_count_in_the_order_in_which_they_ended() -> None:
    values: list[float | None] = [0.5] * 8 + [0.6]
    assert not is_flat(state(values), n_wanted=24)
    assert is_flat(state(values, ended=[*range(1, 9), 0]), n_wanted=24)
