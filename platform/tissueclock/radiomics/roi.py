"""The region of interest: where diffusion is restricted and b1000 is bright, found without a reader.

Two things differ from the publication, since a packed cohort scales each series on its own. Its ADC, ln(b0 / b1000),
has no zero: so a threshold that was a fraction of normal tissue's ADC is a distance below it. And there is no map of
white matter: b1000 is held against the brain's tissue, its fluid left out.

References:
    Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from numpy.polynomial import Polynomial
from scipy import ndimage

TISSUE_ADC = 0.8
"""Of normal brain tissue, 1e-3 mm2/s: what a fraction of it is a distance of."""

_DARKEST = 0.02
"""Below this fraction of typical tissue a signal is noise, and its logarithm would be an outlier."""

_FLUID_FRACTION = 0.2
"""Of a brain's voxels, those whose ADC is highest: fluid, and tissue mixed with it."""

_QUANTILES = np.linspace(0.05, 0.5, 46)
_IN_PLANE = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)


@dataclass(frozen=True, slots=True)
class RoiSettings:
    """What a region is.

    Attributes:
        adc_factor: ADC below this fraction of where the brain's ADC begins to be normal is restricted.
        b1000_sd: b1000 above the tissue's mean by so many standard deviations is bright.
        least_ml: A connected part with a smaller volume is left out; what is left of a brain without one is no region.
        dilation: Pixels in the plane by which a region is widened before it is described; a diamond's radius.
    """

    adc_factor: float = 0.835
    b1000_sd: float = 1.5
    least_ml: float = 0.2
    dilation: int = 2


def find_roi(
    halves: Float[ndarray, "6 slice height width"], settings: RoiSettings, *, voxel_ml: float
) -> Bool[ndarray, "slice height width"]:
    """The region in the first of two halves; empty where there is none.

    Args:
        halves: b0, b1000, FLAIR of the half that is searched, then of the other; 0 outside the brain.
        settings: What a region is.
        voxel_ml: Volume of a voxel.
    """
    brain = halves[::3] != 0
    if brain.sum() < len(_QUANTILES):
        return np.zeros(halves.shape[1:], dtype=bool)
    adc = log_ratio_adc(halves[::3], halves[1::3])
    searched = ndimage.binary_erosion(brain[0], _IN_PLANE, border_value=1)  # the midline is the array's edge
    restricted = adc < _begin_of_normal(adc[brain]) - (1.0 - settings.adc_factor) * TISSUE_ADC
    tissue = brain & ~restricted & (adc < np.quantile(adc[brain], 1.0 - _FLUID_FRACTION))
    if not tissue.any():
        return np.zeros(halves.shape[1:], dtype=bool)
    b1000 = halves[1::3]
    bright = float(b1000[tissue].mean() + settings.b1000_sd * b1000[tissue].std())
    candidate = searched & restricted[0]
    labels, n = ndimage.label(candidate)
    means = ndimage.mean(b1000[0], labels, np.arange(1, n + 1)) if n else np.empty(0)
    kept = np.isin(labels, 1 + np.flatnonzero(np.asarray(means) >= bright)) | (candidate & (b1000[0] >= bright))
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in kept]) & brain[0]
    labels, n = ndimage.label(filled)
    large = 1 + np.flatnonzero(np.bincount(labels.ravel(), minlength=n + 1)[1:] * voxel_ml >= settings.least_ml)
    return np.asarray(np.isin(labels, large), dtype=bool)


def dilate(
    roi: Bool[ndarray, "slice height width"], brain: Bool[ndarray, "slice height width"], *, radius: int
) -> Bool[ndarray, "slice height width"]:
    """A region widened in the plane by a diamond, within the brain."""
    if not radius:
        return roi
    return np.asarray(ndimage.binary_dilation(roi, _IN_PLANE, iterations=radius, mask=brain), dtype=bool)


def log_ratio_adc(b0: Float[ndarray, "*grid"], b1000: Float[ndarray, "*grid"]) -> Float[ndarray, "*grid"]:
    """The ADC, 1e-3 mm2/s, but for a constant: each packed series is scaled on its own."""
    adc: Float[ndarray, "*grid"] = np.log(np.maximum(b0, _DARKEST)) - np.log(np.maximum(b1000, _DARKEST))
    return adc


def _begin_of_normal(adc: Float[ndarray, " voxel"]) -> float:
    """Where a brain's ADC begins to be that of most of it.

    The quantiles' curve climbs from the few low values to the many normal ones: where the tangent at its foot meets the
    one at its flattest point. The foot's own value where they do not meet.
    """
    curve = Polynomial.fit(_QUANTILES, np.quantile(adc, _QUANTILES), deg=3)
    slope = curve.deriv()
    foot, flattest = _QUANTILES[0], _QUANTILES[int(np.argmin(slope(_QUANTILES)))]
    if np.isclose(slope(foot), slope(flattest)):
        return float(curve(foot))
    meet = (curve(flattest) - curve(foot) + slope(foot) * foot - slope(flattest) * flattest) / (
        slope(foot) - slope(flattest)
    )
    return float(curve(foot) + slope(foot) * (meet - foot))
