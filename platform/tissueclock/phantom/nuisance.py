"""What else is in a scan and must not betray the time: old lesions, white matter disease, gain, noise, movement.

Nothing here takes the onset as an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from tissueclock.channels import SeriesName
from tissueclock.grid import Grid, mirror
from tissueclock.phantom.anatomy import Brain, Tissues
from tissueclock.phantom.fields import draw_field
from tissueclock.phantom.signal import FieldStrength

SHARE_3T = 0.75
AGE_MEAN_Y, AGE_SD_Y, AGE_RANGE_Y = 69.0, 13.0, (25.0, 98.0)
NOISE_RANGE = (0.03, 0.05)
"""SD of the complex noise over the signal of typical tissue, per voxel."""

GAIN_LOG_SD = 0.3
BIAS_LENGTH_MM = 60.0
BIAS_FACTOR: Mapping[SeriesName, float] = {"b0": 1.0, "b1000": 1.0, "flair": 2.3}
"""FLAIR's inversion pulse adds an unevenness of its own (assumed)."""

AIR_SITES_MM = ((-12.0, 40.0, 18.0), (-28.0, 5.0, 42.0), (-30.0, -45.0, 45.0))
"""MNI z, y and distance from the midline of where air lies beneath the brain: above the orbits, the middle ear in front
and behind (signal piles up there in echo-planar images: Jezzard & Balaban 1995, doi 10.1002/mrm.1910340111; Le Bihan et
al. 2006, doi 10.1002/jmri.20683; artefacts within the tissue of 41 of 57 patients who were scanned for infratentorial
stroke in 5 mm slices: Khalil et al. 2016, doi 10.1371/journal.pone.0161416)."""

AIR_SITE_SD_MM, AIR_SIZE_MM = 6.0, (8.0, 14.0, 9.0)
AIR_LOG_SD = 0.5
AIR_SHARE: Mapping[SeriesName, float] = {"b0": 0.7, "b1000": 1.0, "flair": 0.0}
"""How much of a pile-up a series shows; FLAIR is no echo-planar image. `presets` has what real heads show."""

COIL_SCALE_MM = 74.0

MAX_SHIFT_MM, MAX_TURN_DEG = 2.0, 1.5
OLD_INFARCT_SHARE, OLD_INFARCT_MEDIAN_ML, OLD_INFARCT_LOG_SD = 0.18, 3.0, 0.9
WMH_T2_RISE_MS, GLIOSIS_T2_RISE_MS = 45.0, 60.0
MAX_CUT_MM = (14.0, 10.0)
"""How much of the lower and of the upper end of the brain a scan may miss."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a patient and the scanner bring along, whenever the stroke began.

    Attributes:
        field: Strength of the scanner.
        age_y: Of the patient.
        sex: `F` or `M`.
        noise: SD of the noise, relative to typical tissue.
        wmh_load: 0 (none) to about 3 (confluent).
    """

    field: FieldStrength
    age_y: float
    sex: str
    noise: float
    wmh_load: float


def draw_scan(field_rank: float, rng: np.random.Generator) -> Scan:
    """Draws age, sex, noise and white matter disease (which grows with age); the lowest ranks get the higher field."""
    age = float(np.clip(AGE_MEAN_Y + AGE_SD_Y * rng.standard_normal(), *AGE_RANGE_Y))
    return Scan(
        field="3T" if field_rank < SHARE_3T else "1.5T",
        age_y=round(age, 1),
        sex="F" if rng.uniform() < 0.56 else "M",
        noise=float(rng.uniform(*NOISE_RANGE)),
        wmh_load=float(np.exp(0.03 * (age - AGE_MEAN_Y) + 0.6 * rng.standard_normal() - 0.8)),
    )


def draw_wmh(grid: Grid, *, tissues: Tissues, load: float, rng: np.random.Generator) -> Brain:
    """Draws white matter hyperintensities: caps around the ventricles on both sides alike, patches on either.

    Returns:
        The share of each voxel's white matter that is affected, 0 to 1.
    """
    z, y, x = grid.axes_mm()
    distance = np.sqrt(
        ((np.abs(x) - 20.0)[None, None, :] / 9.0) ** 2
        + ((np.abs(y + 10.0) - 30.0)[None, :, None] / 22.0) ** 2
        + ((z - 24.0)[:, None, None] / 12.0) ** 2
    )
    field = draw_field(grid, length_mm=16.0, rng=rng)
    caps = np.clip(load * 0.9 + 0.35 * (field + mirror(field)) / np.sqrt(2.0) - distance, 0.0, 1.0)
    patches = np.clip(3.0 * (draw_field(grid, length_mm=12.0, rng=rng) - 3.0 + 0.45 * min(load, 3.0)), 0.0, 1.0)
    patches *= distance < 3.0
    return np.where(tissues.wm > 0.3, np.maximum(caps, patches), 0.0).astype(np.float32)


def draw_old_infarct(grid: Grid, *, tissues: Tissues, lesion: Brain, rng: np.random.Generator) -> tuple[Brain, Brain]:
    """Draws a chronic infarct in some patients: a cavity and its gliotic rim, away from the acute lesion.

    Returns:
        The shares of each voxel's grey and white matter that are cavity and rim; zeros where there is none.
    """
    nothing = np.zeros(grid.whole_shape, dtype=np.float32)
    present = rng.uniform() < OLD_INFARCT_SHARE
    volume_ml = OLD_INFARCT_MEDIAN_ML * np.exp(OLD_INFARCT_LOG_SD * rng.standard_normal())
    room = (tissues.solid > 0.7) & (lesion == 0)
    if not present or not room.any():
        return nothing, nothing
    i_slice, i_row, i_column = np.argwhere(room)[int(rng.integers(room.sum()))]
    z, y, x = grid.axes_mm()
    distance = np.sqrt(
        ((z - z[i_slice]) ** 2)[:, None, None]
        + ((y - y[i_row]) ** 2)[None, :, None]
        + ((x - x[i_column]) ** 2)[None, None, :]
    )
    radius = (volume_ml * 1000.0 * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    same_side = (x[None, None, :] * x[i_column]) > 0
    free = same_side & (lesion == 0) & (tissues.solid > 0.2)
    whole = np.where(free, np.clip(0.5 + (radius - distance) / 3.0, 0.0, 1.0), 0.0)
    core = np.where(free, np.clip(0.5 + (0.7 * radius - distance) / 3.0, 0.0, 1.0), 0.0)
    return core.astype(np.float32), (whole - core).astype(np.float32)


def draw_gain(grid: Grid, *, bias_sd: float, rng: np.random.Generator) -> Brain:
    """Draws a series' gain: one factor, and the smooth field that bias correction left behind."""
    factor = np.exp(GAIN_LOG_SD * rng.standard_normal())
    field = draw_field(grid, length_mm=BIAS_LENGTH_MM, rng=rng)
    return np.asarray(factor * np.exp(bias_sd * field), dtype=np.float32)


def draw_pile_up(grid: Grid, *, strength: float, rng: np.random.Generator) -> Brain:
    """Draws where signal piles up above the skull base: by how much b1000 is raised, as a share of itself.

    Args:
        grid: The voxels of the result.
        strength: Median height of a site's peak, above 0; each half has each site, high or low.
        rng: Where chance comes from.
    """
    z, y, x = grid.axes_mm()
    raised = np.zeros(grid.whole_shape, dtype=np.float32)
    for side in (-1.0, 1.0):
        for site_z, site_y, site_x in AIR_SITES_MM:
            centre = np.array([site_z, site_y, side * site_x]) + AIR_SITE_SD_MM * rng.standard_normal(3)
            height = strength * np.exp(AIR_LOG_SD * rng.standard_normal())
            near = [
                np.exp(-0.5 * ((axis - middle) / size) ** 2)
                for axis, middle, size in zip((z, y, x), centre, AIR_SIZE_MM, strict=True)
            ]
            raised += np.float32(height) * np.einsum("s,h,w->shw", *near).astype(np.float32)
    return raised


def draw_coil(grid: Grid, *, sd: float, rng: np.random.Generator) -> Brain:
    """Draws a coil that sees one half better than the other: a gain that rises evenly from side to side.

    What bias correction leaves of it, so each series has its own (on three scans of a Canon head b0's and b1000's have
    opposite signs). For the kind: Vovk et al. 2007, doi 10.1109/TMI.2006.891486.

    Args:
        grid: The voxels of the result.
        sd: SD of the log gain at the brain's side, `COIL_SCALE_MM` from the midline.
        rng: Where chance comes from.
    """
    x = grid.axes_mm()[2] / COIL_SCALE_MM
    return np.asarray(np.exp(sd * rng.standard_normal() * x), dtype=np.float32)[None, None, :]


def add_rician(signal: Brain, *, sd: float, rng: np.random.Generator) -> Brain:
    """The magnitude of the signal with complex Gaussian noise of SD `sd` in both parts."""
    real = signal + np.float32(sd) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sd) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.sqrt(real * real + imaginary * imaginary))


def draw_shift(grid: Grid, *, max_mm: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a rigid movement: a quarter of `max_mm` (SD) along each axis, never more in all, a small turn in the plane.

    Returns:
        Matrix (3, 3) and offset (3,) in voxels, as scipy's `affine_transform` takes them.
    """
    spacing = np.array(grid.spacing_mm)
    angle = np.deg2rad(rng.uniform(-1, 1) * MAX_TURN_DEG * max_mm / MAX_SHIFT_MM)
    shift_mm = max_mm / 4.0 * rng.standard_normal(3)
    shift_mm *= min(1.0, max_mm / max(float(np.linalg.norm(shift_mm)), 1e-6))
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix = turn * spacing[None, :] / spacing[:, None]
    middle = (np.array(grid.whole_shape) - 1) / 2
    return matrix, middle - matrix @ middle + shift_mm / spacing


def move(signal: Brain, *, matrix: np.ndarray, offset: np.ndarray) -> Brain:
    """The series as it looks after the head moved, by linear interpolation."""
    return np.asarray(affine_transform(signal, matrix, offset=offset, order=1, mode="nearest"), dtype=np.float32)


def draw_coverage(grid: Grid, *, lesion: Brain, rng: np.random.Generator) -> slice:
    """Draws which slices were scanned; those that hold lesion always were."""
    n_slices = grid.shape[0]
    below, above = (int(rng.uniform(0, cut) / grid.spacing_mm[0]) for cut in MAX_CUT_MM)
    held = np.flatnonzero(lesion.any(axis=(1, 2)))
    return slice(min(below, int(held[0])), max(n_slices - above, int(held[-1]) + 1))


SHIFT_MM: Mapping[SeriesName, float] = {"b0": 0.0, "b1000": 0.7, "flair": MAX_SHIFT_MM}
"""The packed space is b0's; b1000 is of the same acquisition, FLAIR is not."""
