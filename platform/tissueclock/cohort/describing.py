"""What a patient's packed images are like, in figures, so that one unlike all others can be told.

Knows nothing of networks or lesions: brightness, contrast between the series, symmetry, and where the brain lies.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from tissueclock.channels import SERIES

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_FEWEST_VOXELS = 16
_MOST_VOXELS = 20_000
"""Of larger brains every second, third, ... voxel is taken: quantiles and correlations need no more."""

Halves = Shaped[np.ndarray, "2 series slice height width"]
Brain = Bool[np.ndarray, "2 slice height width"]
Values = Float[np.ndarray, " voxel"]


def describe_halves(halves: Halves) -> dict[str, float]:
    """The figures of one patient, by name; NaN where one cannot be said.

    Args:
        halves: The left half, and the right one mirrored onto it; brain median about 1, 0 outside the brain.
    """
    volumes = np.nan_to_num(halves.astype(np.float32))
    brain = volumes[:, 0] != 0
    taken = _some(brain)
    edges = [_edges(volumes[:, i]).ravel()[taken] for i in range(len(SERIES))]
    inside = [volumes[:, i].ravel()[taken] for i in range(len(SERIES))]
    return dict([*_places(brain), *_brightness(inside), *_agreement(inside, edges), *_symmetry(volumes, brain)])


def _places(brain: Brain) -> Iterator[tuple[str, float]]:
    """Where the brain lies within the grid, and how much of it is in either half."""
    each = brain.sum(axis=(1, 2, 3)).astype(float)
    yield "share of the grid that is brain", float(brain.mean())
    yield "left brain over right (log ratio)", float(np.log((each[0] + 1) / (each[1] + 1)))
    for axis, name in enumerate(("from below", "from the front", "from the side"), start=1):
        counts = brain.sum(axis=tuple(other for other in range(brain.ndim) if other != axis)).astype(float)
        places = np.arange(len(counts)) / len(counts)
        total = counts.sum()
        centre = float(counts @ places / total) if total else np.nan
        yield f"the brain's centre, {name}", centre
        yield (
            f"the brain's spread, {name}",
            float(np.sqrt(counts @ (places - centre) ** 2 / total)) if total else np.nan,
        )


def _brightness(inside: Sequence[Values]) -> Iterator[tuple[str, float]]:
    """How bright each series is in the brain, and how much of the brain it does not cover."""
    for series, values in zip(SERIES, inside, strict=True):
        yield f"brain without {series}", float((values == 0).mean()) if values.size else np.nan
        levels = np.quantile(values, _LEVELS) if values.size else [np.nan] * len(_LEVELS)
        for level, value in zip(_LEVELS, levels, strict=True):
            yield f"{series}, brightness at {level:.0%} of the brain", float(value)


def _agreement(inside: Sequence[Values], edges: Sequence[Values]) -> Iterator[tuple[str, float]]:
    """How two series go together over the brain, in brightness and in where it changes."""
    for (i, one), (j, two) in combinations(enumerate(SERIES), 2):
        yield f"{one} with {two} (rank correlation)", _rank_correlation(inside[i], inside[j])
        yield f"edges of {one} with {two} (rank correlation)", _rank_correlation(edges[i], edges[j])


def _symmetry(volumes: Float[np.ndarray, "2 series slice height width"], brain: Brain) -> Iterator[tuple[str, float]]:
    """How alike the halves are."""
    taken = _some(brain[0] & brain[1])
    for i, series in enumerate(SERIES):
        left, right = (volumes[half, i].ravel()[taken] for half in (0, 1))
        yield f"{series}, left with right (rank correlation)", _rank_correlation(left, right)


def _some(brain: Bool[np.ndarray, "..."]) -> Int64[np.ndarray, " voxel"]:
    """The places of the brain's voxels, or of evenly many of them."""
    places = np.flatnonzero(brain)
    return places[:: max(1, -(-len(places) // _MOST_VOXELS))]


def _edges(volume: Float[np.ndarray, "2 slice height width"]) -> Float[np.ndarray, "2 slice height width"]:
    """How steeply a series changes within its slices."""
    rows, columns = np.gradient(volume, axis=(2, 3))
    return np.asarray(np.hypot(rows, columns), dtype=np.float32)


def _rank_correlation(one: Values, two: Values) -> float:
    """Spearman's, with ties broken by place; NaN where there are too few voxels or one value everywhere."""
    if len(one) < _FEWEST_VOXELS or np.ptp(one) == 0 or np.ptp(two) == 0:
        return np.nan
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, two)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
