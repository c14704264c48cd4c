"""A sweep's space: the phase's own, with the study's pins, and with the parent as one more hyperparameter."""

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution, distribution_to_json
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized

from tissueclock.errors import StudyError
from tissueclock.records import SweepSpec
from tissueclock.storage.files import digest_facts

_GRID_LIMIT = 10_000
_OFF_LATTICE = 1e-6
"""Of a step: a number nearer to a lattice point than that lies on it."""
_LEARNS_ALL: Mapping[str, Any] = {"freeze_depth": 0, "learned": "network"}
"""What a trial from random weights has: what stood still would stay random."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is tuned and what is pinned.

    Attributes:
        domains: Ray Tune domains of what is tuned.
        distributions: The same for Optuna.
        fixed: Values of what is not.
    """

    domains: Mapping[str, Domain]
    distributions: Mapping[str, BaseDistribution]
    fixed: Mapping[str, Any]

    def as_facts(self) -> dict[str, Any]:
        """Bounds and choices of what is tuned, and the values of what is not, by name; for people to compare."""
        tuned = {name: json.loads(distribution_to_json(d))["attributes"] for name, d in self.distributions.items()}
        return {**tuned, **self.fixed}

    @property
    def digest(self) -> str:
        """What is tuned, pinned and within which bounds (SHA-256)."""
        tuned = {name: json.loads(distribution_to_json(d)) for name, d in self.distributions.items()}
        return digest_facts({"tuned": tuned, "fixed": dict(self.fixed)})

    def offered(self) -> dict[str, tuple[Any, ...]]:
        """The values that each hyperparameter may take; none where they are a continuum."""
        pinned = {name: (value,) for name, value in self.fixed.items()}
        return pinned | {name: tuple(_values(d) or ()) for name, d in self.distributions.items()}

    def grid(self) -> list[dict[str, Any]] | None:
        """Every point of a small discrete space; None where a domain is continuous or there are over 10,000 points."""
        choices = [_values(distribution) for distribution in self.distributions.values()]
        n_points = 1
        for values in choices:
            if values is None:
                return None
            n_points *= len(values)
        if n_points > _GRID_LIMIT:
            return None
        points = itertools.product(*[values for values in choices if values is not None])
        return [dict(zip(self.distributions, point, strict=True)) for point in points]


def told_bounds(domain: Any) -> str:
    """What a phase's space offers of a hyperparameter, in words; a value that is no domain is pinned."""
    match domain:
        case Categorical():
            return ", ".join(map(str, domain.categories))
        case Integer() | Float():
            low, high = _ends(domain)
            step = f", in steps of {_step(domain):g}" if _step(domain) else ""
            return f"{low:g} to {high:g}{step}{', by its logarithm' if _is_log(domain) else ''}"
        case Domain():
            return "drawn by a function"
    return f"always {domain}"


def make_space(
    space: Mapping[str, Any], spec: SweepSpec, *, accepted: frozenset[str], n_parents: int | None = None
) -> Space:
    """The space of a sweep.

    What stands still in a network with random first weights would stay random, so all of it learns there, also
    where the study pins it for the phase: the pin is meant for the arms that have something to keep.

    Args:
        space: The phase's `SPACE`.
        spec: The sweep; its pinned values leave the space.
        accepted: The hyperparameters that the phase understands.
        n_parents: Promoted checkpoints on offer; None: as many as the spec expects (2 or more become a choice).

    Raises:
        StudyError: A name that the phase does not understand, a pin outside its bounds, a part of the space that is
            none, a grid over a continuous space.
    """
    where = f"phase {spec.phase}, space {spec.inputs.space}"
    fixed = dict(spec.inputs.fix)
    for name in (*space, *fixed):
        if name not in accepted:
            raise StudyError(f"{where}: {name} is unknown; this phase understands {', '.join(sorted(accepted))}")
    if spec.inputs.weights == "random":
        fixed |= {name: value for name, value in _LEARNS_ALL.items() if name in space and _offers(space[name], value)}
    tuned = [name for name, domain in space.items() if isinstance(domain, Domain)]
    if idle := [name for name in spec.inputs.narrow if name not in tuned]:
        parent = "; fewer parents: promote in the phase before, or fix parent" if idle[0] == "parent" else ""
        raise StudyError(
            f"{where}: narrow {idle[0]}: is not tuned there; tuned are {', '.join(tuned)}{parent}; set it "
            "under phases, for those that tune it"
        )
    domains: dict[str, Domain] = {}
    for name, domain in space.items():
        if not isinstance(domain, Domain):
            fixed.setdefault(name, domain)
        elif name not in fixed:
            domains[name] = _narrowed(where, name, domain, spec.inputs.narrow.get(name))
        elif not _is_valid(domain, fixed[name]):
            raise StudyError(f"{where}: fix {name} is {fixed[name]!r}; the space allows {told_bounds(domain)}")
    domains |= _parent(where, fixed, n_parents or 0)
    made = Space(domains, _distributions(where, domains), fixed)
    if spec.inputs.searcher == "grid" and made.grid() is None:
        raise StudyError(
            f"{where}: searcher is grid, but the space is continuous or over {_GRID_LIMIT} points; pin its continuous "
            "hyperparameters under fix, or take tpe or random"
        )
    return made


def _narrowed(where: str, name: str, domain: Domain, part: Sequence[Any] | None) -> Domain:
    """The part of a domain that a study searches: some of its words, or numbers between two of its own, both included.

    Raises:
        StudyError: It is no part of the domain, or leaves nothing to search.
    """
    if part is None:
        return domain
    said = f"{where}: narrow {name} is {list(part)}; allowed:"
    if isinstance(domain, Categorical):
        kept = [value for value in domain.categories if any(_is_same(value, asked) for asked in part)]
        if len(kept) < len(part):
            no_off = "off" in domain.categories and False in [value for value in part if isinstance(value, bool)]
            hint = "; YAML reads a bare off as false: write 'off'" if no_off else ""
            raise StudyError(f"{said} two or more of {told_bounds(domain)}{hint}")
        return tune.choice(kept)
    ends = [number for value in part if (number := _number_of(domain, value)) is not None]
    if not (isinstance(domain, Float | Integer) and len(part) == len(ends) == 2 and ends[0] < ends[1]):
        raise StudyError(f"{said} two numbers that the space holds ({told_bounds(domain)}), the smaller first")
    left = copy.copy(domain)
    left.lower, left.upper = ends[0], ends[1] + 1 if _ends_before_upper(domain) else ends[1]
    return left


def _is_same(value: Any, asked: Any) -> bool:
    return isinstance(value, bool) == isinstance(asked, bool) and bool(value == asked)


def _number_of(domain: Domain, value: Any) -> float | None:
    """A number as the domain has it; None where the domain does not hold it."""
    if isinstance(value, bool | str) or not isinstance(domain, Float | Integer) or not _is_valid(domain, value):
        return None
    low, step = _ends(domain)[0], _step(domain)
    if step and abs((value - low) / step - round((value - low) / step)) > _OFF_LATTICE:
        return None
    return int(value) if isinstance(domain, Integer) else float(value)


def _ends(domain: Float | Integer) -> tuple[float, float]:
    """The least and the largest number that a domain holds."""
    return domain.lower, domain.upper - 1 if _ends_before_upper(domain) else domain.upper


def _ends_before_upper(domain: Float | Integer) -> bool:
    """Whether `upper` is the first number that the domain does not hold: Ray's rule for whole numbers without steps."""
    return isinstance(domain, Integer) and not isinstance(domain.sampler, Quantized)


def _step(domain: Float | Integer) -> float:
    """Between two numbers of a domain; 0: there is none that a study need care for."""
    return float(domain.sampler.q) if isinstance(domain.sampler, Quantized) else 0.0


def _is_log(domain: Float | Integer) -> bool:
    sampler = domain.sampler.get_sampler() if isinstance(domain.sampler, Quantized) else domain.sampler
    return isinstance(sampler, LogUniform)


def _parent(where: str, fixed: Mapping[str, Any], n_parents: int) -> dict[str, Domain]:
    """Which promoted checkpoint to start from, where there is a choice."""
    ranks = list(range(1, n_parents + 1))
    if ranks and fixed.get("parent", 1) not in ranks:
        raise StudyError(f"{where}: fix parent is {fixed['parent']!r}; allowed: a whole number from 1 to {n_parents}")
    return {"parent": tune.choice(ranks)} if n_parents > 1 and "parent" not in fixed else {}


def _distributions(where: str, domains: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    try:
        return dict(OptunaSearch.convert_search_space(dict(domains)))
    except ValueError as error:
        raise StudyError(f"{where}: {error}; allowed: choice, uniform, loguniform, quniform, randint") from error


def _is_valid(domain: Domain, value: Any) -> bool:
    try:
        if isinstance(domain, Integer):
            return bool(value == int(value)) and _ends(domain)[0] <= value <= _ends(domain)[1]
        return bool(domain.is_valid(value)) or (isinstance(value, int) and bool(domain.is_valid(float(value))))
    except (TypeError, ValueError, OverflowError):
        return False


def _offers(domain: Any, value: Any) -> bool:
    return not isinstance(domain, Domain) or _is_valid(domain, value)


def _values(distribution: BaseDistribution) -> list[Any] | None:
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case IntDistribution(log=False):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
    return None
