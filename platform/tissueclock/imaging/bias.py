"""Uneven coils' fields, estimated to be divided out: N4 (Tustison et al. 2010, doi 10.1109/TMI.2010.2046908).

The field is smooth, so it is estimated on a coarse copy and evaluated on the full one; nothing is lost but time.
"""

import numpy as np
import SimpleITK
from jaxtyping import Bool, Float

from tissueclock.imaging.transform import to_itk
from tissueclock.imaging.volume import Volume

ESTIMATE_MM = 8.0
ITERATIONS = (30, 20, 10)
CONTROL_POINTS = 4


def estimate_bias(volume: Volume, *, mask: Bool[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """The field that multiplies an image.

    Args:
        volume: Values at least 0; those inside `mask` decide.
        mask: Where there is tissue.

    Returns:
        Positive factors on the volume's voxels, with a geometric mean of 1 inside `mask`.
    """
    image, where = to_itk(volume), to_itk(volume.like(mask))
    shrink = [max(1, round(ESTIMATE_MM / edge)) for edge in volume.spacing_mm]
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    n4.SetNumberOfControlPoints([CONTROL_POINTS] * 3)
    n4.SetNumberOfThreads(1)
    n4.Execute(SimpleITK.Shrink(image, shrink), SimpleITK.Cast(SimpleITK.Shrink(where, shrink), SimpleITK.sitkUInt8))
    log_field = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return np.asarray(np.exp(log_field - log_field[mask].mean()), dtype=np.float32)
