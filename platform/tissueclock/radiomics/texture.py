"""Texture of a region: co-occurrence and run lengths of grey levels, and local binary patterns, in the plane.

Matrices of the slices and of four directions are summed (co-occurrence) or their figures averaged (runs); distance 1.

References:
    Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314 (co-occurrence).
    Galloway 1975, doi:10.1016/S0146-664X(75)80008-6 (run lengths).
    Ojala et al. 2002, doi:10.1109/TPAMI.2002.1017623 (local binary patterns).
    Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145 (definitions, IBSI).
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from skimage.feature import graycomatrix, local_binary_pattern

_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1))
"""Row and column of the next pixel in each of four directions."""


def cooccurrence_figures(levels: Int[ndarray, "slice height width"], *, n_levels: int) -> dict[str, float]:
    """Haralick's figures of neighbouring grey levels; 0 where no two pixels of the region touch.

    Args:
        levels: 1 to `n_levels` in the region, 0 outside.
        n_levels: Grey levels.
    """
    counts = np.zeros((n_levels, n_levels))
    for plane in levels[levels.any(axis=(1, 2))]:
        pairs = graycomatrix(plane.astype(np.uint8), [1], _ANGLES, levels=n_levels + 1, symmetric=True)
        counts += pairs[1:, 1:, 0].sum(axis=-1)  # level 0 is outside
    if not counts.any():
        counts[0, 0] = 1.0
    return _haralick(counts / counts.sum())


def _haralick(p: Float[ndarray, "level level"]) -> dict[str, float]:
    n = len(p)
    i, j = np.indices(p.shape) + 1.0
    marginal, grey = p.sum(axis=1), np.arange(1, n + 1)
    mean = float(marginal @ grey)
    variance = float(marginal @ (grey - mean) ** 2)
    of_difference = np.bincount(np.abs(i - j).astype(int).ravel(), weights=p.ravel(), minlength=n)
    of_sum = np.bincount((i + j).astype(int).ravel(), weights=p.ravel(), minlength=2 * n + 1)
    steps, sums = np.arange(n), np.arange(2 * n + 1)
    difference_mean, product = float(of_difference @ steps), np.outer(marginal, marginal)
    joint, single = _entropy(p), _entropy(marginal)
    independent = -float((p * _log2(product)).sum())
    off = np.abs(i - j)
    return {
        "autocorrelation": float((p * i * j).sum()),
        "contrast": float((p * off**2).sum()),
        "correlation": float((p * (i - mean) * (j - mean)).sum() / variance) if variance > 0 else 1.0,
        "cluster_prominence": float((p * (i + j - 2 * mean) ** 4).sum()),
        "cluster_shade": float((p * (i + j - 2 * mean) ** 3).sum()),
        "dissimilarity": difference_mean,
        "energy": float((p**2).sum()),
        "entropy": joint,
        "inverse_difference": float((p / (1 + off)).sum()),
        "inverse_difference_moment": float((p / (1 + off**2)).sum()),
        "inverse_difference_normalised": float((p / (1 + off / n)).sum()),
        "inverse_difference_moment_normalised": float((p / (1 + (off / n) ** 2)).sum()),
        "maximum": float(p.max()),
        "variance": variance,
        "sum_average": float(of_sum @ sums),
        "sum_variance": float(of_sum @ (sums - 2 * mean) ** 2),
        "sum_entropy": _entropy(of_sum),
        "difference_variance": float(of_difference @ (steps - difference_mean) ** 2),
        "difference_entropy": _entropy(of_difference),
        "information_correlation_1": (joint - independent) / single if single > 0 else 0.0,
        "information_correlation_2": float(np.sqrt(max(0.0, 1 - np.exp(-2 * (_entropy(product) - joint))))),
    }


def run_length_figures(levels: Int[ndarray, "slice height width"], *, n_levels: int) -> dict[str, float]:
    """Galloway's figures of runs of one grey level, averaged over the directions; 0 where the region is empty.

    Args:
        levels: 1 to `n_levels` in the region, 0 outside.
        n_levels: Grey levels.
    """
    directions = [_galloway(_runs(levels, step, n_levels=n_levels)) for step in _STEPS]
    return {name: float(np.mean([figures[name] for figures in directions])) for name in directions[0]}


def _runs(
    levels: Int[ndarray, "slice height width"], step: tuple[int, int], *, n_levels: int
) -> Float[ndarray, "level length"]:
    """How many runs of each level have each length, along one direction of the plane."""
    length = np.ones(levels.shape, dtype=int)
    goes_on = np.zeros(levels.shape, dtype=bool)
    down, right = step
    height, width = levels.shape[1:]
    here = (slice(None), slice(down, height), slice(max(right, 0), width + min(right, 0)))
    before = (slice(None), slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
    same = (levels[here] == levels[before]) & (levels[here] > 0)
    goes_on[before] = same
    for _ in range(max(height, width)):  # a run's length, counted at its last pixel
        longer = np.where(same, length[before] + 1, length[here])
        if (longer == length[here]).all():
            break
        length[here] = longer
    last = (levels > 0) & ~goes_on
    table = np.zeros((n_levels, max(height, width)))
    np.add.at(table, (levels[last] - 1, length[last] - 1), 1.0)
    return table


def _galloway(runs: Float[ndarray, "level length"]) -> dict[str, float]:
    grey = np.arange(1.0, runs.shape[0] + 1)[:, None]
    length = np.arange(1.0, runs.shape[1] + 1)
    n = max(1.0, runs.sum())
    return {
        "short_runs": float((runs / length**2).sum() / n),
        "long_runs": float((runs * length**2).sum() / n),
        "grey_nonuniformity": float((runs.sum(axis=1) ** 2).sum() / n),
        "run_nonuniformity": float((runs.sum(axis=0) ** 2).sum() / n),
        "run_percentage": float(n / max(1.0, (runs * length).sum())),
        "low_grey_runs": float((runs / grey**2).sum() / n),
        "high_grey_runs": float((runs * grey**2).sum() / n),
        "short_low_grey_runs": float((runs / grey**2 / length**2).sum() / n),
        "short_high_grey_runs": float((runs * grey**2 / length**2).sum() / n),
        "long_low_grey_runs": float((runs * length**2 / grey**2).sum() / n),
        "long_high_grey_runs": float((runs * grey**2 * length**2).sum() / n),
    }


def binary_patterns(
    levels: Int[ndarray, "slice height width"], roi: Bool[ndarray, "slice height width"]
) -> Float[ndarray, " pixel"]:
    """The rotation-invariant pattern of each of the region's pixels: 8 neighbours at radius 1, 0 to 255."""
    planes = np.flatnonzero(roi.any(axis=(1, 2)))
    return np.concatenate([local_binary_pattern(levels[i], P=8, R=1, method="ror")[roi[i]] for i in planes])


def _entropy(p: Float[ndarray, "*shape"]) -> float:
    return -float((p * _log2(p)).sum())


def _log2(p: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    found: Float[ndarray, "*shape"] = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return found
