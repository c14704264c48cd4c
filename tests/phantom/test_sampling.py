import numpy as np
import pytest
from scipy.stats import qmc

from tissueclock.phantom.sampling import spread_points


@pytest.mark.parametrize("n_axes", [1, 4])
def test_points_cover_the_cube_more_evenly_than_chance(n_axes: int) -> None:
    rng = np.random.default_rng(0)
    spread = spread_points(500, n_axes=n_axes, rng=rng)
    assert spread.min() >= 0
    assert spread.max() < 1
    assert qmc.discrepancy(spread) < 0.2 * qmc.discrepancy(rng.uniform(size=(500, n_axes)))


def test_order_tells_nothing() -> None:
    spread = spread_points(2000, n_axes=4, rng=np.random.default_rng(1))
    for lag in (1, 2, 3):
        for i in range(4):
            for j in range(4):
                assert abs(np.corrcoef(spread[lag:, i], spread[:-lag, j])[0, 1]) < 0.08


def test_axes_are_unrelated() -> None:
    spread = spread_points(2000, n_axes=4, rng=np.random.default_rng(2))
    assert np.abs(np.corrcoef(spread.T) - np.eye(4)).max() < 0.01
