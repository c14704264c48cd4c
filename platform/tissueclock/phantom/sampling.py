"""A cohort's draws, spread evenly: so that 2,000 patients stand for the population and not for the luck of a seed.

Each patient still looks random; together they cover the unit cube more evenly than independent draws would (Halton
1960, shifted at random after Cranley and Patterson 1976), in random order.
"""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

_BASES = (2, 3, 5, 7, 11, 13)


def spread_points(n_points: int, *, n_axes: int, rng: np.random.Generator) -> Float[np.ndarray, "point axis"]:
    """Draws points in the unit cube that cover it evenly, in every axis and jointly.

    Args:
        n_points: Number of points.
        n_axes: Dimensions, 1 to 6.
        rng: Where chance comes from: one shift of all points, and their order.

    Returns:
        Points in [0, 1).
    """
    even = np.stack([_radical_inverse(n_points, base) for base in _BASES[:n_axes]], axis=1)
    points = (even + rng.uniform(size=n_axes)) % 1.0
    return np.asarray(rng.permutation(points))


def _radical_inverse(n_points: int, base: int) -> npt.NDArray[np.float64]:
    """The digits of 0, 1, 2, ... in a base, mirrored at the point: 0.1, 0.01, 0.11, 0.001 ... for base 2."""
    left, digit_value = np.arange(n_points), 1.0
    inverse = np.zeros(n_points)
    while left.any():
        digit_value /= base
        inverse += digit_value * (left % base)
        left = left // base
    return inverse
