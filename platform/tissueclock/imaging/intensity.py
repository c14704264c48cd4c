"""One scale for all scanners: the brain's median becomes 1, then a reference study's histogram becomes everybody's.

Histogram matching: Nyul and Udupa 1999, doi 10.1002/(SICI)1522-2594(199912)42:6<1072::AID-MRM11>3.0.CO;2-M, as
SimpleITK has it, over brain voxels alone.
"""

import numpy as np
import SimpleITK
from jaxtyping import Bool, Float

from tissueclock.imaging.volume import Volume

N_LEVELS, N_MATCH_POINTS = 1024, 15
N_QUANTILES = 2001


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
    """Gives the voxels of `mask` the histogram of the reference's brain; order among them is kept.

    Args:
        volume: 0 outside `mask`.
        mask: Where the brain is.
        reference: Of `quantiles`.
    """
    matching = SimpleITK.HistogramMatchingImageFilter()
    matching.SetNumberOfHistogramLevels(N_LEVELS)
    matching.SetNumberOfMatchPoints(N_MATCH_POINTS)
    matching.SetThresholdAtMeanIntensity(False)
    matching.SetNumberOfThreads(1)
    values = SimpleITK.GetImageFromArray(volume.data[mask].reshape(1, 1, -1))
    matched = matching.Execute(values, SimpleITK.GetImageFromArray(reference.reshape(1, 1, -1)))
    data = np.zeros_like(volume.data)
    # A brain voxel stays distinguishable from the outside, which is exactly 0.
    data[mask] = np.maximum(SimpleITK.GetArrayFromImage(matched).ravel(), 1e-3)
    return volume.like(data)
