"""How alike two images are whose brightness means different things: normalised mutual information on coarse points.

So coarse that a whole search costs less than one fine registration: it finds where to begin, whether a header is upside
down, and how well the end agrees (Studholme et al. 1999, doi 10.1016/S0031-3203(98)00091-0).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from tissueclock.imaging.transform import Affine, coarsen, voxel_centres_mm
from tissueclock.imaging.volume import Volume

N_BINS = 24
MIN_COVERED = 0.35
"""Share of the fixed points that must lie within the moving image for the two to be compared at all."""

FULLY_COVERED = 0.6
_TOP_PERCENTILE = 99.0


class Similarity:
    """Compares a moving image, seen through an affine, with a fixed one at the points of a mask.

    Args:
        fixed: What is compared with.
        mask: Where, on the voxels of `fixed`.
        moving: What is compared.
        spacing_mm: How coarse both are made.
    """

    def __init__(self, fixed: Volume, mask: Bool[np.ndarray, "x y z"], moving: Volume, *, spacing_mm: float) -> None:
        coarse = _soften(fixed, spacing_mm=spacing_mm)
        inside = coarsen(fixed.like(mask), spacing_mm=spacing_mm).data >= 0.5
        self._points = voxel_centres_mm(inside, coarse.affine)
        self._fixed_bins = _bins(coarse.data[inside]).astype(np.int64)
        self._moving = _soften(moving, spacing_mm=spacing_mm)
        self._binned = _bins(self._moving.data)
        self._voxel_from_mm = np.linalg.inv(self._moving.affine)
        self._shape = np.array(self._moving.data.shape)[:, None]

    @property
    def moving(self) -> Volume:
        """The moving image, as coarse as it is compared."""
        return self._moving

    def __call__(self, moving_from_fixed: Affine) -> float:
        """Normalised mutual information above chance: 0 for none, 1 for identity; -1 where too little overlaps."""
        chain = self._voxel_from_mm @ moving_from_fixed
        voxels = chain[:3, :3] @ self._points.T + chain[:3, 3:]
        inside = ((voxels > -0.5) & (voxels < self._shape - 0.5)).all(axis=0)
        covered = float(inside.mean())
        if covered < MIN_COVERED:
            return -1.0
        values = map_coordinates(self._binned, voxels[:, inside], order=1, mode="nearest")
        pairs = self._fixed_bins[inside] * N_BINS + (values + 0.5).astype(np.int64)
        return _mutual_information(pairs) * min(1.0, covered / FULLY_COVERED)


def climb(
    similarity: Similarity, pose: "Pose", *, rounds: int, steps: Sequence[float] = (10.0,) * 3 + (8.0,) * 4
) -> tuple["Pose", float]:
    """Betters a pose until it is as similar as it gets near by (Powell's method).

    Args:
        similarity: How alike head and atlas are in a pose.
        pose: The pose to begin at.
        rounds: Most rounds through the parameters.
        steps: Scale of each parameter; a pose has as many as there are steps (3: shifts, 6: rigid, 7: with one scale).

    Returns:
        The better pose and its similarity.
    """
    scale = np.asarray(steps)
    found = minimize(
        lambda x: -similarity(pose.moved(x * scale).affine),
        np.zeros(len(scale)),
        method="Powell",
        options={"maxiter": rounds, "xtol": 0.03, "ftol": 1e-4},
    )
    return pose.moved(found.x * scale), -float(found.fun)


class Pose:
    """A rigid map with one scale, changed by small amounts that mean something: mm, degrees, per cent.

    Args:
        affine: Fixed to moving.
        pivot_mm: A point of the fixed space about which it turns and grows.
    """

    def __init__(self, affine: Affine, *, pivot_mm: npt.NDArray[np.float64]) -> None:
        self.affine = affine
        self._pivot = pivot_mm

    def moved(self, change: npt.NDArray[np.float64]) -> "Pose":
        """This pose after shifts along x, y, z (mm), turns about them (degrees) and, if given, growth (per cent)."""
        change = np.pad(change, (0, 7 - len(change)))
        turn = Rotation.from_euler("xyz", change[3:6], degrees=True).as_matrix() * np.exp(change[6] / 100.0)
        step = np.eye(4)
        step[:3, :3] = turn
        step[:3, 3] = self._pivot + change[:3] - turn @ self._pivot
        return Pose(self.affine @ step, pivot_mm=self._pivot)


def _soften(volume: Volume, *, spacing_mm: float) -> Volume:
    blocks = coarsen(volume, spacing_mm=spacing_mm)
    wanted = np.array([spacing_mm / 2.355] * 3) / np.array(blocks.spacing_mm)
    sigma = np.where(np.array(blocks.spacing_mm) < 0.8 * spacing_mm, wanted, 0.4)
    return blocks.like(gaussian_filter(blocks.data, sigma))


def _bins(data: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Values as bins 0 to N_BINS - 1, not rounded; the brightest per cent shares the last one."""
    low = float(data.min())
    bright = data[data > low + 0.05 * (float(data.max()) - low)]
    top = float(np.percentile(bright, _TOP_PERCENTILE)) if bright.size else low + 1.0
    return np.asarray(np.clip((data - low) / max(top - low, 1e-12), 0.0, 1.0) * (N_BINS - 1), dtype=np.float32)


def _mutual_information(pairs: npt.NDArray[np.int64]) -> float:
    joint = np.bincount(pairs, minlength=N_BINS * N_BINS).reshape(N_BINS, N_BINS) / max(len(pairs), 1)
    together = _entropy(joint.ravel())
    return float((_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together - 1.0) if together > 0 else 0.0


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    filled = shares[shares > 0]
    return -float((filled * np.log(filled)).sum())
