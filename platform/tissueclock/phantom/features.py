"""What an observer can measure who is told where the lesion is: lesion against mirror image, in packed hemispheres.

A patient's lesion is taken whole, both halves together; contralateral voxels that are lesion themselves are left out.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

FEATURES = (
    "ratio_b0",
    "ratio_b1000",
    "ratio_flair",
    "log_adc_ratio",
    "difference_b0",
    "difference_flair",
    "sd_flair",
    "mirror_b0",
    "csf_b0",
    "log_volume_ml",
)

_CSF_QUANTILE = 0.98


def measure_lesion(
    halves: Float[np.ndarray, "half series slice height width"],
    masks: Bool[np.ndarray, "half slice height width"],
    *,
    voxel_ml: float,
) -> dict[str, float]:
    """Measures one patient's lesion.

    Args:
        halves: Left, and right mirrored onto the left; b0, b1000, FLAIR.
        masks: Where the lesion is, in the same halves; at least one voxel.
        voxel_ml: Volume of a voxel.

    Returns:
        `FEATURES`: ratios of means (dimensionless) and their ADC (log b0 ratio over b1000 ratio), differences of means,
        SD of the lesion's FLAIR over the contralateral mean, the contralateral b0 (which tells grey from white matter),
        the brain's CSF on b0 (which tells the field strength), log of the volume in ml.
    """
    i_half, *place = np.nonzero(masks)
    by_voxel = np.moveaxis(halves, 1, -1).astype(np.float64)
    lesion, opposite = by_voxel[(i_half, *place)], by_voxel[(1 - i_half, *place)]
    usable = (opposite.min(axis=1) > 0) & ~masks[(1 - i_half, *place)]
    mirror = opposite[usable].mean(axis=0) if usable.any() else np.ones(lesion.shape[1])
    mean, b0 = lesion.mean(axis=0), halves[:, 0]
    ratio = mean / mirror
    return {
        "ratio_b0": float(ratio[0]),
        "ratio_b1000": float(ratio[1]),
        "ratio_flair": float(ratio[2]),
        "log_adc_ratio": math.log(ratio[0] / ratio[1]),
        "difference_b0": float(mean[0] - mirror[0]),
        "difference_flair": float(mean[2] - mirror[2]),
        "sd_flair": float(lesion[:, 2].std() / mirror[2]),
        "mirror_b0": float(mirror[0]),
        "csf_b0": float(np.quantile(b0[b0 > 0], _CSF_QUANTILE)),
        "log_volume_ml": math.log(len(lesion) * voxel_ml),
    }
