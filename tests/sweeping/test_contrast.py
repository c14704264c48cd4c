"""The winner with one knob changed: which runs are asked, from which seeds, and what a knob is changed to."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from tissueclock.settings import Budget
from tissueclock.storage.ledger import LedgerState
from tissueclock.sweeping.contrast import contrasts_to_ask, other_value
from tissueclock.sweeping.space import Space

SPACE = Space(
    domains={},
    distributions={
        "attention": CategoricalDistribution(("softmax", "off")),
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
    },
    fixed={"freeze_depth": 0},
)
BUDGET = Budget(confirm=2, confirm_seeds=2, contrast=("attention", "freeze_depth", "lr"))


def ledger(*, winners: dict[str, float]) -> LedgerState:
    state = LedgerState()
    for i, (name, value) in enumerate(winners.items()):
        asked = {"time_s": 0.0, "hyperparameters": {"attention": "softmax", "lr": 1e-3, "freeze_depth": 0}}
        state.apply({"kind": "asked", "trial": name, "seed": i, **asked})
        for k in (1, 2):
            again = f"{name}c{k}"
            state.apply({"kind": "asked", "trial": again, "confirms": name, "seed": 10 * i + k, **asked})
            metrics = {"best_value": value, "epoch": 1.0}
            state.apply({"kind": "reported", "trial": again, "epoch": 1, "metrics": metrics, "time_s": 1.0})
            state.apply({"kind": "ended", "trial": again, "status": "finished", "time_s": 2.0})
    return state


def test_the_confirmed_winner_is_run_again_from_its_own_seeds_with_one_knob_changed() -> None:
    state = ledger(winners={"t0001": 0.7, "t0002": 0.8})
    asked = contrasts_to_ask(state, BUDGET, SPACE)
    assert [(run.name, run.confirms, run.changed, run.seed) for run in asked] == [
        ("t0002c1-attention", "t0002", "attention", 11),
        ("t0002c2-attention", "t0002", "attention", 12),
        ("t0002c1-lr", "t0002", "lr", 11),  # freeze_depth is pinned: nothing else can be tried
        ("t0002c2-lr", "t0002", "lr", 12),
    ]
    assert asked[0].hyperparameters == {"attention": "off", "lr": 1e-3, "freeze_depth": 0}
    first = asked[0]
    told = {"confirms": first.confirms, "changed": first.changed, "seed": first.seed, "time_s": 3.0}
    state.apply({"kind": "asked", "trial": first.name, "hyperparameters": first.hyperparameters, **told})
    assert [run.name for run in contrasts_to_ask(state, BUDGET, SPACE)] == [run.name for run in asked[1:]]
    assert contrasts_to_ask(state, BUDGET.model_copy(update={"contrast": ()}), SPACE) == []


@pytest.mark.parametrize(
    ("value", "distribution", "other"),
    [
        ("softmax", CategoricalDistribution(("sigmoid", "softmax", "off")), "off"),
        ("off", CategoricalDistribution(("off", "softmax")), "softmax"),
        ("softmax", CategoricalDistribution(("softmax",)), None),
        (3, IntDistribution(0, 4), 0),
        (0, IntDistribution(0, 4), 4),
        (0.03, FloatDistribution(0.001, 0.1, log=True), 0.01),
        (0.002, FloatDistribution(0.001, 0.1, log=True), 0.006),
        (0.002, FloatDistribution(0.0015, 0.003, log=True), None),
    ],
)
def test_what_a_knob_is_changed_to(value: object, distribution: object, other: object) -> None:
    assert other_value(value, distribution) == (pytest.approx(other) if isinstance(other, float) else other)


def test_a_contrast_without_confirmation_is_refused() -> None:
    with pytest.raises(ValidationError, match="contrast needs confirm"):
        Budget(contrast=("lr",))
    with pytest.raises(ValidationError, match="names a knob twice"):
        Budget(confirm=1, contrast=("lr", "lr"))
