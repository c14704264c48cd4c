"""How a head lies in the scanner, and how it moves between series: affine maps of millimetres, 4 by 4.

Knows no images. All maps act on column vectors (x, y, z, 1): right, anterior, superior.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Affine = Float[np.ndarray, "4 4"]

HEAD_CENTRE_MM = (0.0, -17.0, 10.0)
"""MNI point that lies in the magnet's middle before the head is shifted; about the middle of the brain."""

SCALE_SD, SCALE_RANGE, SHEAR_SD = 0.04, (0.88, 1.12), 0.02
PITCH_SD_DEG, ROLL_SD_DEG, YAW_SD_DEG, MAX_TURN_DEG = 8.0, 5.0, 5.0, 20.0
SHIFT_SD_MM, MAX_SHIFT_MM = 8.0, 20.0
"""Spreads of heads and of their places are assumptions about ordinary ones."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How far a head may have moved between two series: a shift in mm and a turn in degrees, both at most."""

    shift_mm: float
    turn_deg: float


FLAIR_MOVEMENT, B1000_MOVEMENT = Movement(3.0, 2.0), Movement(0.7, 0.4)


def draw_pose(rng: np.random.Generator) -> Affine:
    """Draws the size, shape, turn and place of a head: from MNI (or the person's own, bent MNI) to scanner mm."""
    scales = np.clip(1.0 + SCALE_SD * rng.standard_normal(3), *SCALE_RANGE)
    shape = np.diag(scales)
    shape[np.triu_indices(3, 1)] = SHEAR_SD * np.clip(rng.standard_normal(3), -2.5, 2.5)
    spread = np.array([PITCH_SD_DEG, ROLL_SD_DEG, YAW_SD_DEG])
    angles = np.clip(spread * rng.standard_normal(3), -MAX_TURN_DEG, MAX_TURN_DEG)
    shift = np.clip(SHIFT_SD_MM * rng.standard_normal(3), -MAX_SHIFT_MM, MAX_SHIFT_MM)
    pose = np.eye(4)
    pose[:3, :3] = rotation(angles) @ shape
    pose[:3, 3] = shift - pose[:3, :3] @ np.array(HEAD_CENTRE_MM)
    return pose


def draw_movement(movement: Movement, rng: np.random.Generator, *, about_mm: Float[np.ndarray, " 3"]) -> Affine:
    """Draws a rigid movement between two series: to scanner mm in the later one from scanner mm in the earlier.

    Args:
        movement: Its limits. The shift is that of the point turned about.
        rng: Where chance comes from.
        about_mm: What the head turns about, scanner mm.
    """
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 3)))
    moved = np.eye(4)
    moved[:3, :3] = rotation(axis * movement.turn_deg * rng.uniform(-1.0, 1.0))
    moved[:3, 3] = about_mm - moved[:3, :3] @ about_mm + direction * movement.shift_mm * rng.uniform(0.0, 1.0)
    return moved


def rotation(angles_deg: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Turns about x (pitch), then y (roll), then z (yaw), right-handed, in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(angles_deg)), np.sin(np.deg2rad(angles_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def apply(affine: Affine, points_mm: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
    """Maps points by a 4 by 4 matrix."""
    return np.asarray(points_mm @ affine[:3, :3].T + affine[:3, 3])
