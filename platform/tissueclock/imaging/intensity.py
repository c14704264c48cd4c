"""One scale for all scanners: the brain's median becomes 1, then the bulk of its histogram a reference study's.

Only the bulk is matched. Matched whole, as is often done, a patient's brightest voxels become exactly as bright as the
reference's: a lesion is given the brightness of the reference's lesion, and its contrast, which tells its age, is gone.
Histogram matching: Nyul and Udupa 1999, doi 10.1002/(SICI)1522-2594(199912)42:6<1072::AID-MRM11>3.0.CO;2-M, as
SimpleITK has it, over brain voxels alone.
"""

import numpy as np
import numpy.typing as npt
import SimpleITK
from jaxtyping import Bool, Float

from tissueclock.imaging.volume import Volume

BULK = (0.05, 0.75)
"""Shares of the brain's voxels between which histograms are matched; beyond them the map goes on straight. A bright
lesion of up to a fifth of the brain leaves these quantiles in normal tissue."""

N_LEVELS, N_MATCH_POINTS = 1024, 15
N_QUANTILES = 2001
_N_KNOTS = 64
_DARKEST = 1e-3
"""A brain voxel stays distinguishable from the outside, which is exactly 0."""


def scale_to_median(volume: Volume, *, mask: Bool[np.ndarray, "x y z"]) -> Volume:
    """Divides by the median over `mask`, and clears what is outside."""
    middle = float(np.median(volume.data[mask]))
    return volume.like(np.where(mask, volume.data / max(middle, 1e-12), 0.0))


def quantiles(volume: Volume, *, mask: Bool[np.ndarray, "x y z"]) -> Float[np.ndarray, " quantile"]:
    """What histogram matching needs to know of a reference: its brain's brightness at even shares of its voxels."""
    shares = np.linspace(0.0, 1.0, N_QUANTILES)
    return np.asarray(np.quantile(volume.data[mask].astype(np.float64), shares), dtype=np.float32)


def match_histogram(
    volume: Volume, *, mask: Bool[np.ndarray, "x y z"], reference: Float[np.ndarray, " quantile"]
) -> Volume:
    """Gives the bulk of the voxels of `mask` the histogram of the reference's bulk; order among all is kept.

    Args:
        volume: The image, 0 outside `mask`.
        mask: Where the brain is.
        reference: What `quantiles` gave of the reference's brain.
    """
    values = volume.data[mask].astype(np.float64)
    low, high = (float(value) for value in np.quantile(values, BULK))
    first, last = (round(share * (len(reference) - 1)) for share in BULK)
    bulk, wanted = np.sort(values[(values >= low) & (values <= high)]), reference[first : last + 1]
    if bulk[0] == bulk[-1] or wanted[0] == wanted[-1]:  # nothing to match: one value
        return volume
    matched = _match(bulk, wanted)
    knots = np.linspace(0, len(bulk) - 1, min(_N_KNOTS, len(bulk))).astype(np.int64)
    slope = float(matched[-1] - matched[0]) / float(bulk[-1] - bulk[0])
    inside = np.interp(values, bulk[knots], matched[knots])
    beyond = slope * (np.minimum(values - bulk[0], 0.0) + np.maximum(values - bulk[-1], 0.0))
    data = np.zeros_like(volume.data)
    data[mask] = np.maximum(inside + beyond, _DARKEST)
    return volume.like(data)


def _match(values: npt.NDArray[np.float64], wanted: Float[np.ndarray, " wanted"]) -> npt.NDArray[np.float64]:
    """The values, ascending, with the histogram of `wanted`."""
    matching = SimpleITK.HistogramMatchingImageFilter()
    matching.SetNumberOfHistogramLevels(N_LEVELS)
    matching.SetNumberOfMatchPoints(N_MATCH_POINTS)
    matching.SetThresholdAtMeanIntensity(False)
    matching.SetNumberOfThreads(1)
    source, target = (SimpleITK.GetImageFromArray(np.float32(x).reshape(1, 1, -1)) for x in (values, wanted))
    found = SimpleITK.GetArrayFromImage(matching.Execute(source, target)).ravel().astype(np.float64)
    return np.asarray(np.maximum.accumulate(found))
