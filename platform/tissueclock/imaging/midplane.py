"""The plane that a brain is symmetric about, found by folding it: where a registration put it against x = 0.

Knows nothing of the atlas: only that left and right are alike, but for the lesion.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from tissueclock.imaging.transform import coarsen, voxel_centres_mm
from tissueclock.imaging.volume import Volume

_SCALE = np.array([4.0, 4.0, 4.0])
_WORK_MM, _SOFTEN_MM = 3.0, 2.0


@dataclass(frozen=True, slots=True)
class MidPlane:
    """The mid-sagittal plane as seen from x = 0.

    Attributes:
        roll_deg: Its tilt about the front-back axis.
        yaw_deg: Its turn about the foot-head axis.
        shift_mm: How far it lies to the right, at the middle of the brain.
    """

    roll_deg: float
    yaw_deg: float
    shift_mm: float

    @property
    def tilt_deg(self) -> float:
        """Angle between the plane and x = 0, never negative."""
        normal = _turn(self.roll_deg, self.yaw_deg)[:, 0]
        return float(np.degrees(np.arccos(np.clip(abs(normal[0]), 0.0, 1.0))))


def find_midplane(brain: Volume, *, mask: Bool[np.ndarray, "x y z"], middle_mm: Float[np.ndarray, "3"]) -> MidPlane:
    """Finds the plane about which a brain agrees best with its mirror image.

    Args:
        brain: Registered, so that the plane is within about 15 degrees and 15 mm of x = 0.
        mask: Where the brain is.
        middle_mm: A point of x = 0 about which tilts are meant.
    """
    inside = coarsen(brain.like(mask), spacing_mm=_WORK_MM).data >= 0.5
    brain = coarsen(brain, spacing_mm=_WORK_MM)
    soft = gaussian_filter(brain.data, _SOFTEN_MM / np.array(brain.spacing_mm))
    voxel_from_mm = np.linalg.inv(brain.affine)

    def seen(points_mm: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
        voxels = voxel_from_mm[:3, :3] @ points_mm.T + voxel_from_mm[:3, 3:]
        return np.asarray(map_coordinates(soft, voxels, order=1, mode="constant"))

    # Off the voxels' centres, or x = 0 itself would be favoured: there alone nothing is interpolated.
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, size=(int(inside.sum()), 3)) * brain.spacing_mm
    points = voxel_centres_mm(inside, brain.affine) + jitter
    values = seen(points)

    def unlike(x: Float[np.ndarray, "3"]) -> float:
        turn = _turn(*(x[:2] * _SCALE[:2]))
        origin = middle_mm + np.array([x[2] * _SCALE[2], 0.0, 0.0])
        mirrored = points - 2.0 * ((points - origin) @ turn[:, :1]) @ turn[:, :1].T
        return -_correlation(values, seen(mirrored))

    found = minimize(unlike, np.zeros(3), method="Powell", options={"maxiter": 5, "xtol": 0.005, "ftol": 1e-7})
    roll, yaw, shift = (float(x) for x in found.x * _SCALE)
    return MidPlane(roll, yaw, shift)


def _turn(roll_deg: float, yaw_deg: float) -> Float[np.ndarray, "3 3"]:
    return np.asarray(Rotation.from_euler("yz", [roll_deg, yaw_deg], degrees=True).as_matrix())


def _correlation(a: Float[np.ndarray, " voxel"], b: Float[np.ndarray, " voxel"]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
