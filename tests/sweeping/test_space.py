"""A sweep's space: pins, parents and grids."""

from pathlib import Path
from typing import Any

import pytest
from ray import tune

from tests.sweeping.specs import SPEC, vary
from tissueclock.errors import StudyError
from tissueclock.sweeping.space import make_space, told_bounds

SPACE = {
    "lr": tune.loguniform(1e-5, 1e-2),
    "freeze_depth": tune.choice([0, 1, 2]),
    "attention": tune.choice(["off", "mean_flow"]),
}
ACCEPTED = frozenset({"lr", "freeze_depth", "attention", "batch_size", "parent"})
CHILD = vary(weights="previous", upstream="detection.1")


def test_a_pin_leaves_the_space_and_stays_in_every_configuration() -> None:
    space = make_space(SPACE, vary(CHILD, fix={"lr": 1e-3, "batch_size": 4}), accepted=ACCEPTED)

    assert set(space.domains) == {"freeze_depth", "attention"}
    assert space.fixed == {"lr": 1e-3, "batch_size": 4}


def test_which_parent_to_start_from_is_one_more_hyperparameter_where_there_are_several() -> None:
    assert "parent" not in make_space(SPACE, CHILD, accepted=ACCEPTED, n_parents=1).domains
    assert make_space(SPACE, CHILD, accepted=ACCEPTED, n_parents=3).domains["parent"].categories == [1, 2, 3]


def test_random_weights_are_never_frozen() -> None:
    assert make_space(SPACE, SPEC, accepted=ACCEPTED).fixed["freeze_depth"] == 0


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"learning_rate": 1e-3}, "learning_rate is unknown; this phase understands attention, batch_size"),
        ({"lr": 1.0}, "fix lr is 1.0; the space allows 1e-05 to 0.01, by its logarithm"),
        ({"attention": "on"}, "fix attention is 'on'; the space allows off, mean_flow"),
        ({"lr": "fast"}, "fix lr is 'fast'; the space allows"),
    ],
)
def test_a_wrong_pin_is_named_with_what_is_allowed(fixed: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=f"phase detection, space detection: {message}"):
        make_space(SPACE, vary(CHILD, fix=fixed), accepted=ACCEPTED)


def test_a_grid_is_every_point_of_a_discrete_space() -> None:
    spec = vary(CHILD, searcher="grid", fix={"lr": 1e-3})

    points = make_space(SPACE, spec, accepted=ACCEPTED, n_parents=2).grid()

    assert points is not None
    assert len(points) == 3 * 2 * 2
    assert len({tuple(sorted(point.items())) for point in points}) == 12


def test_a_grid_over_a_continuous_space_is_refused() -> None:
    with pytest.raises(StudyError, match="searcher is grid, but the space is continuous"):
        make_space(SPACE, vary(CHILD, searcher="grid"), accepted=ACCEPTED)


def test_the_digest_tells_bounds_apart(tmp_path: Path) -> None:
    narrower = {**SPACE, "lr": tune.loguniform(1e-5, 1e-3)}

    assert (
        make_space(SPACE, CHILD, accepted=ACCEPTED).digest
        == make_space(dict(SPACE), CHILD, accepted=ACCEPTED).digest
        != make_space(narrower, CHILD, accepted=ACCEPTED).digest
    )


def test_from_random_weights_all_of_a_network_learns() -> None:
    space = {"learned": tune.choice(["head", "network"]), "freeze_depth": tune.choice([0, 2])}

    assert make_space(space, SPEC, accepted=frozenset(space)).fixed == {"learned": "network", "freeze_depth": 0}


def test_a_part_of_the_space_is_searched() -> None:
    space = {**SPACE, "views": tune.randint(1, 9)}
    narrow = {"lr": (1e-4, 1e-3), "freeze_depth": (2, 1), "views": (2, 4)}

    made = make_space(space, vary(CHILD, narrow=narrow), accepted=ACCEPTED | {"views"}).distributions

    assert (made["lr"].low, made["lr"].high, made["lr"].log) == (1e-4, 1e-3, True)
    assert made["freeze_depth"].choices == (1, 2)
    assert (made["views"].low, made["views"].high) == (2, 4)
    assert (SPACE["lr"].lower, SPACE["lr"].upper) == (1e-5, 1e-2), "the phase's own space was changed"


@pytest.mark.parametrize(
    ("narrow", "message"),
    [
        (
            {"lr": (1e-6, 1e-3)},
            r"narrow lr is \[1e-06, 0.001\]; allowed: two numbers that the space holds \(1e-05 to 0.01",
        ),
        ({"lr": (1e-3, 1e-4)}, "the smaller first"),
        ({"lr": (1e-4, 1e-3, 1e-2)}, "allowed: two numbers"),
        ({"lr": ("low", "high")}, "allowed: two numbers"),
        ({"attention": ("off", "softmax")}, "allowed: two or more of off, mean_flow"),
        ({"attention": ("off", "off")}, "allowed: two or more of"),
        (
            {"attention": (False, "mean_flow")},
            "two or more of off, mean_flow; YAML reads a bare off as false: write 'off'",
        ),
        ({"freeze_depth": (True, 2)}, "allowed: two or more of 0, 1, 2"),
        ({"lr": (1e-4, 10**401)}, "allowed: two numbers"),
        ({"lr": (False, 1e-3)}, "allowed: two numbers"),
        ({"batch_size": (4, 8)}, "narrow batch_size: is not tuned there; tuned are lr, freeze_depth, attention"),
    ],
)
def test_what_is_no_part_of_the_space_is_named(narrow: dict[str, tuple[object, ...]], message: str) -> None:
    with pytest.raises(StudyError, match=f"phase detection, space detection: .*{message}"):
        make_space(SPACE, vary(CHILD, narrow=narrow), accepted=ACCEPTED)


WHOLE = {"n": tune.randint(0, 5)}
LATTICE = {"n": tune.qrandint(4, 16, 4), "x": tune.quniform(0.0, 0.5, 0.1)}


@pytest.mark.parametrize(
    ("space", "narrow", "values"),
    [
        (WHOLE, {"n": (1, 4)}, {"n": (1, 4)}),
        (WHOLE, {"n": (1.0, 4)}, {"n": (1, 4)}),
        (LATTICE, {"n": (8, 16)}, {"n": (8, 16)}),
        (LATTICE, {"x": (0.1, 0.3)}, {"x": (0.1, 0.3)}),
    ],
)
def test_a_part_of_whole_numbers_and_of_lattices_stays_in_the_space(
    space: dict[str, Any], narrow: dict[str, Any], values: dict[str, tuple[float, float]]
) -> None:
    made = make_space(space, vary(CHILD, narrow=narrow), accepted=frozenset(space)).distributions

    assert {name: (made[name].low, made[name].high) for name in values} == values


@pytest.mark.parametrize(
    ("space", "narrow"),
    [
        (WHOLE, {"n": (3, 5)}),
        (WHOLE, {"n": (0.5, 3)}),
        (LATTICE, {"n": (5, 9)}),
        (LATTICE, {"x": (0.12, 0.3)}),
    ],
)
def test_a_part_that_the_space_does_not_hold_is_refused(space: dict[str, Any], narrow: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="allowed: two numbers that the space holds"):
        make_space(space, vary(CHILD, narrow=narrow), accepted=frozenset(space))


def test_a_pin_at_the_end_that_whole_numbers_do_not_reach_is_refused() -> None:
    with pytest.raises(StudyError, match="fix n is 5; the space allows 0 to 4"):
        make_space(WHOLE, vary(CHILD, fix={"n": 5}), accepted=frozenset(WHOLE))


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (tune.randint(1, 5), "1 to 4"),
        (tune.qrandint(4, 16, 4), "4 to 16, in steps of 4"),
        (tune.lograndint(1, 100), "1 to 99, by its logarithm"),
        (tune.quniform(0.0, 0.5, 0.1), "0 to 0.5, in steps of 0.1"),
        (tune.sample_from(lambda _: 1), "drawn by a function"),
        (8, "always 8"),
    ],
)
def test_bounds_are_told_as_the_searcher_has_them(domain: object, words: str) -> None:
    assert told_bounds(domain) == words
