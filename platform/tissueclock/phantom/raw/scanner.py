"""The scanner: where its slices lie, what they see of a head, and what it adds: unevenness, noise, integers.

Knows volumes and maps, not anatomy. Slices are averages over their thickness; a gap is not seen at all.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int16
from scipy.ndimage import affine_transform

from tissueclock.grid import Grid
from tissueclock.phantom.anatomy import Brain
from tissueclock.phantom.raw.pose import Affine

Orientation = Literal["RAS", "LAS", "LPS"]
ORIENTATIONS: tuple[Orientation, ...] = ("RAS", "LAS", "LPS")
Image = Float[np.ndarray, "x y z"]

N_SLICES = (22, 30)
CUT_BELOW_MM, CUT_ABOVE_MM = (-8.0, 14.0), (-8.0, 10.0)
"""How much of the brain's ends a scan may miss; below zero it shows some more. Lesions are always covered."""

BIAS_PEAK_TO_PEAK = (0.2, 0.4)
"""Over the brain, as BrainWeb's 20 to 40 % (SCIENCE 8.1)."""

_SUBSLICES = 5
_BIAS_SCALE_MM = 100.0
_MAX_INT16 = 32767


@dataclass(frozen=True, slots=True)
class Protocol:
    """What the operator sets for a series.

    Attributes:
        matrix: Columns and rows.
        voxel_mm: Edge of a voxel in the plane.
        thickness_mm: Of a slice.
        gap_mm: Between slices; more where the slices would not suffice.
        plane: Columns are the directions of the image's columns, rows and slices in the scanner (right-handed).
        orientation: Which ways the stored axes run.
        cut_mm: How much of the brain's lower and upper end is missed.
    """

    matrix: tuple[int, int]
    voxel_mm: float
    thickness_mm: float
    gap_mm: float
    plane: Float[np.ndarray, "3 3"]
    orientation: Orientation
    cut_mm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the voxels of a series lie.

    Attributes:
        shape: Voxels along the stored axes.
        affine: From voxel to scanner mm.
        thickness_mm: Of a slice; the third axis' step is that and the gap.
    """

    shape: tuple[int, int, int]
    affine: Affine
    thickness_mm: float


def prescribe(
    protocol: Protocol, *, brain_mm: Float[np.ndarray, "point 3"], lesion_mm: Float[np.ndarray, "lesion_point 3"]
) -> Frame:
    """Lays the slices over a brain.

    Args:
        protocol: What the operator sets.
        brain_mm: Points of the brain in the scanner, its ends among them.
        lesion_mm: Points of the lesion, at least one; they are always covered.
    """
    brain, lesion = brain_mm @ protocol.plane, lesion_mm @ protocol.plane
    low = min(brain[:, 2].min() + protocol.cut_mm[0], lesion[:, 2].min())
    high = max(brain[:, 2].max() - protocol.cut_mm[1], lesion[:, 2].max())
    step = max(protocol.thickness_mm + protocol.gap_mm, (high - low) / N_SLICES[1])
    n_slices = min(max(int(np.ceil((high - low) / step)), N_SLICES[0]), N_SLICES[1])
    middle = np.append((brain[:, :2].min(axis=0) + brain[:, :2].max(axis=0)) / 2, (low + high) / 2)
    shape = (*protocol.matrix, n_slices)
    signs = np.array([1 if stored == way else -1 for stored, way in zip(protocol.orientation, "RAS", strict=True)])
    affine = np.eye(4)
    affine[:3, :3] = protocol.plane * signs * np.array([protocol.voxel_mm, protocol.voxel_mm, step])
    affine[:3, 3] = protocol.plane @ middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Frame(shape, affine, protocol.thickness_mm)


def sample(volume: Brain, grid: Grid, *, frame: Frame, grid_from_scanner: Affine) -> Image:
    """What the slices see of a volume: its average over each slice's thickness, by linear interpolation.

    Args:
        volume: On the grid, (slice, height, width).
        grid: Of the volume.
        frame: Where the slices lie.
        grid_from_scanner: From scanner mm to the grid's mm.
    """
    to_grid = (np.linalg.inv(grid.affine) @ grid_from_scanner @ frame.affine)[[2, 1, 0]]
    matrix, offset = to_grid[:, :3], to_grid[:, 3]
    share = frame.thickness_mm / float(np.linalg.norm(frame.affine[:3, 2]))
    total = np.zeros(frame.shape, dtype=np.float32)
    for i in range(_SUBSLICES):
        depth = ((i + 0.5) / _SUBSLICES - 0.5) * share
        total += affine_transform(
            volume, matrix, offset=offset + depth * matrix[:, 2], output_shape=frame.shape, order=1, prefilter=False
        )
    return np.asarray(total / np.float32(_SUBSLICES))


def draw_bias(rng: np.random.Generator) -> Float[np.ndarray, " term"]:
    """Draws how uneven a coil is: coefficients of a polynomial of third order in scanner mm."""
    order = np.array([1.0] * 3 + [2.0] * 6 + [3.0] * 3)
    return np.asarray(rng.standard_normal(12) / order)


def bias_field(
    coefficients: Float[np.ndarray, " term"],
    *,
    frame: Frame,
    brain_mm: Float[np.ndarray, "point 3"],
    peak_to_peak: float,
) -> Image:
    """The gain of a coil at each voxel: mean 1 over the brain, from lowest to highest there as asked.

    Args:
        coefficients: As drawn.
        frame: Where the voxels lie.
        brain_mm: Points of the brain in the scanner, evenly spread.
        peak_to_peak: Highest minus lowest gain over the brain (0.5th to 99.5th percentile).
    """
    inside = _polynomial(coefficients, *brain_mm.T)
    low, high = np.quantile(inside, [0.005, 0.995])
    i, j, k = np.ogrid[tuple(slice(0, n) for n in frame.shape)]
    x, y, z = (row[0] * i + row[1] * j + row[2] * k + row[3] for row in frame.affine[:3])
    field = 1.0 + peak_to_peak * (_polynomial(coefficients, x, y, z) - inside.mean()) / (high - low)
    # Far from the head the polynomial may run anywhere; a gain stays above zero.
    return np.asarray(np.clip(np.round(field, 4), 0.2, 3.0), dtype=np.float32)


def _polynomial(
    coefficients: Float[np.ndarray, " term"],
    x_mm: Float[np.ndarray, "..."],
    y_mm: Float[np.ndarray, "..."],
    z_mm: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    x, y, z = (axis.astype(np.float32) / np.float32(_BIAS_SCALE_MM) for axis in (x_mm, y_mm, z_mm))
    a = coefficients.astype(np.float32)
    # Nested, so that volumes of millions of voxels are passed over few times.
    return np.asarray(
        x * (a[0] + x * (a[3] + x * a[9]) + y * a[6] + z * a[7])
        + y * (a[1] + y * (a[4] + y * a[10]) + z * a[8])
        + z * (a[2] + z * (a[5] + z * a[11]))
    )


def to_integers(signal: Image, *, gain: float) -> Int16[np.ndarray, "x y z"]:
    """What is stored: the signal times the gain, rounded, cut at what 16 bits hold."""
    return np.clip(np.rint(signal * gain), 0, _MAX_INT16).astype(np.int16)
