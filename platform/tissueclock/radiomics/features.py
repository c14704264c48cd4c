"""What a region of interest looks like, in numbers: its size, and for each sequence its own and its ratio map's.

Sequences are ADC, b1000 and FLAIR; a ratio map holds each voxel over the one at the same place of the other half. The
published features but for means over white matter, for which a packed cohort has no map.

References:
    Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from tissueclock.radiomics.roi import TISSUE_ADC, RoiSettings, dilate, find_roi, log_ratio_adc
from tissueclock.radiomics.texture import binary_patterns, cooccurrence_figures, run_length_figures

VERSION = 1
"""Of how regions are found and measured; one more whenever that changes: what was measured before is then not read."""

N_LEVELS = 32
_RATIOS = {"adc": (0.25, 4.0), "b1000": (0.25, 4.0), "flair": (0.25, 2.0)}
_HEAVY_TAILED = ("cluster_prominence", "cluster_shade", "grey_runs", "long_runs", "nonuniformity", "size", "sum_var")
"""Figures that span decades, and are told by their inverse hyperbolic sine."""


def measure_region(
    halves: Float[ndarray, "6 slice height width"], settings: RoiSettings, *, voxel_ml: float
) -> tuple[Float32[ndarray, " feature"], float]:
    """The features of the region in the first of two halves, in the order of `FEATURES`, and its volume in ml.

    Both are 0 where there is no region.

    Args:
        halves: b0, b1000, FLAIR of one half, then of the other; 0 outside the brain.
        settings: What a region is.
        voxel_ml: Volume of a voxel.
    """
    roi = find_roi(halves, settings, voxel_ml=voxel_ml)
    if not roi.any():
        return np.zeros(len(FEATURES), dtype=np.float32), 0.0
    found = _measure(halves, dilate(roi, halves[0] != 0, radius=settings.dilation), size_ml=float(roi.sum()) * voxel_ml)
    return np.array([found[name] for name in FEATURES], dtype=np.float32), float(roi.sum()) * voxel_ml


def _measure(
    halves: Float[ndarray, "6 slice height width"], region: Bool[ndarray, "slice height width"], *, size_ml: float
) -> dict[str, float]:
    own, other = _sequences(halves[:3]), _sequences(halves[3:])
    both = (halves[0] != 0) & (halves[3] != 0)
    box = _box(region)
    found = {"size": size_ml}
    for name, (least, most) in _RATIOS.items():
        brain = own[name][halves[0] != 0]
        darkest, brightest = np.percentile(brain, (1, 99))
        bins = np.linspace(darkest, brightest, N_LEVELS + 1)
        ratio = np.ones_like(own[name])
        if name == "adc":  # it has no zero: a difference stands for a ratio
            ratio[both] = 1.0 + (own[name][both] - other[name][both]) / TISSUE_ADC
        else:
            ratio[both] = own[name][both] / np.maximum(other[name][both], 1e-6)
        ratio = ratio.clip(least, most)
        for kind, image, edges in (("", own[name], bins), ("_ratio", ratio, np.linspace(0.25, 4.0, N_LEVELS + 1))):
            figures = _describe(image[box], region[box], edges)
            found |= {f"{name}{kind}_{figure}": value for figure, value in figures.items()}
    return {name: float(np.arcsinh(value)) if _is_heavy(name) else value for name, value in found.items()}


def _sequences(half: Float[ndarray, "3 slice height width"]) -> Mapping[str, Float[ndarray, "slice height width"]]:
    return {"adc": log_ratio_adc(half[0], half[1]), "b1000": half[1], "flair": half[2]}


def _box(region: Bool[ndarray, "slice height width"]) -> tuple[slice, ...]:
    """The region's bounding box, a pixel wider: patterns and gradients look at neighbours."""
    inside = [np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    first, *plane = [slice(int(index[0]), int(index[-1]) + 1) for index in inside]
    return first, *(slice(max(0, part.start - 1), part.stop + 1) for part in plane)


def _describe(
    image: Float[ndarray, "slice height width"],
    region: Bool[ndarray, "slice height width"],
    edges: Float[ndarray, " edge"],
) -> dict[str, float]:
    everywhere: Int[ndarray, "slice height width"] = np.digitize(image, edges[1:-1]) + 1
    levels = np.where(region, everywhere, 0)
    gradient = np.hypot(*(np.gradient(image, axis=axis) if image.shape[axis] > 1 else 0 * image for axis in (1, 2)))
    return {
        **_moments(image[region], "value"),
        **_moments(gradient[region], "gradient"),
        **_moments(binary_patterns(everywhere, region), "pattern"),
        **{f"pairs_{name}": value for name, value in cooccurrence_figures(levels, n_levels=N_LEVELS).items()},
        **{f"runs_{name}": value for name, value in run_length_figures(levels, n_levels=N_LEVELS).items()},
    }


def _moments(values: Float[ndarray, " pixel"], name: str) -> dict[str, float]:
    """Mean, standard deviation, skewness and kurtosis (3 for a normal distribution); the last two 0 of equal values."""
    mean, sd = float(values.mean()), float(values.std())
    z = (values - mean) / sd if sd > 1e-9 else np.zeros_like(values)
    return {
        f"{name}_mean": mean,
        f"{name}_sd": sd,
        f"{name}_skewness": float((z**3).mean()),
        f"{name}_kurtosis": float((z**4).mean()),
    }


def _is_heavy(name: str) -> bool:
    return any(part in name for part in _HEAVY_TAILED)


def _names() -> tuple[str, ...]:
    some = np.zeros((6, 1, 2, 2))
    some[:, :, 0, 0] = 1.0
    return tuple(_measure(some, some[0] != 0, size_ml=1.0))


FEATURES = _names()
"""The features' names, in order."""
