"""The searcher that remembers by the ledger alone."""

from pathlib import Path

import pytest
from ray import tune
from ray.tune.search import Searcher

from tests.sweeping.specs import SPEC, vary
from tissueclock.records import SweepSpec
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.sweeping.searcher import LedgerSearcher
from tissueclock.sweeping.space import make_space

SPACE = {"lr": tune.uniform(0.0, 1.0), "attention": tune.choice(["off", "mean_flow"])}
ACCEPTED = frozenset(SPACE)


def searcher(writer: LedgerWriter, spec: SweepSpec = SPEC, space: dict[str, object] = SPACE) -> LedgerSearcher:
    return LedgerSearcher(writer=writer, space=make_space(space, spec, accepted=ACCEPTED), spec=spec)


def end(writer: LedgerWriter, search: LedgerSearcher, tune_id: str, value: float) -> None:
    name = search.names[tune_id]
    writer.append("reported", trial=name, epoch=1, metrics={"best_value": value})
    writer.append("ended", trial=name, status="finished")
    search.on_trial_complete(tune_id)


def quality(lr: float) -> float:
    return 1 - (lr - 0.3) ** 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_what_is_suggested_stands_in_the_ledger_before_it_is_handed_out(path: Path) -> None:
    with LedgerWriter(path) as writer:
        suggested = searcher(writer).suggest("tune-1")

        assert isinstance(suggested, dict)
        assert writer.state.trials["t0001"].hyperparameters == suggested["hyperparameters"]


def test_a_new_searcher_hands_out_trials_in_flight_first_and_then_asks_for_what_is_left(path: Path) -> None:
    spec = vary(trials=3)
    with LedgerWriter(path) as writer:
        first = searcher(writer, spec)
        in_flight = first.suggest("a")
        first.suggest("b")
        end(writer, first, "b", 0.6)
    with LedgerWriter(path) as writer:
        second = searcher(writer, spec)
        assert second.suggest("c") == in_flight
        assert second.names["c"] == "t0001"
        second.suggest("d")
        assert second.names["d"] == "t0003"
        assert second.suggest("e") == Searcher.FINISHED


def test_trials_in_flight_end_also_where_fewer_are_asked_for_by_now(path: Path) -> None:
    with LedgerWriter(path) as writer:
        first = searcher(writer, vary(trials=5))
        suggested = [first.suggest(f"a{i}") for i in range(4)]
        for i in range(3):
            end(writer, first, f"a{i}", 0.6)
    with LedgerWriter(path) as writer:
        second = searcher(writer, vary(trials=2))
        assert second.n_left == 1
        assert second.suggest("b") == suggested[3]
        assert second.n_left == 0
        assert second.suggest("c") == Searcher.FINISHED
    with LedgerWriter(path) as writer:
        assert searcher(writer, vary(trials=6)).n_left == 1 + 2


def test_a_searcher_interrupted_after_every_trial_still_learns(path: Path) -> None:
    spec = vary(trials=30)
    rates = []
    for i in range(30):
        with LedgerWriter(path) as writer:
            search = searcher(writer, spec)
            suggested = search.suggest(f"tune-{i}")
            assert isinstance(suggested, dict)
            rates.append(suggested["hyperparameters"]["lr"])
            end(writer, search, f"tune-{i}", quality(rates[-1]))

    assert len(set(rates)) == 30, "the same seed must not repeat its points"
    random_error = sum(abs(lr - 0.3) for lr in rates[:10]) / 10
    assert sum(abs(lr - 0.3) for lr in rates[-10:]) / 10 < 0.6 * random_error


def test_the_same_seed_gives_the_same_suggestions(tmp_path: Path) -> None:
    suggested = []
    for name in ("one", "two"):
        with LedgerWriter(tmp_path / name / "ledger.jsonl") as writer:
            search = searcher(writer)
            suggested.append([search.suggest(f"t{i}") for i in range(4)])

    assert suggested[0] == suggested[1]


def test_a_grid_asks_for_each_point_once_and_no_more(path: Path) -> None:
    space = {"attention": tune.choice(["off", "mean_flow"])}
    spec = vary(searcher="grid")
    with LedgerWriter(path) as writer:
        search = searcher(writer, spec, space)
        asked = [search.suggest(f"t{i}") for i in range(3)]

    assert {point["hyperparameters"]["attention"] for point in asked[:2]} == {"off", "mean_flow"}  # type: ignore[index]
    assert asked[2] == Searcher.FINISHED


def test_a_failed_trial_without_a_value_is_told_as_failed(path: Path) -> None:
    with LedgerWriter(path) as writer:
        search = searcher(writer)
        search.suggest("a")
        writer.append("ended", trial="t0001", status="failed", error="it broke")
        search.on_trial_complete("a", error=True)

        again = searcher(writer)
        assert isinstance(again.suggest("b"), dict)
