"""One patient's visit to the scanner: pose, planes, movement between series, and the images that come out.

Where the head of `head`, the maps of `pose` and the slices of `scanner` meet; writes nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int16, UInt8

from tissueclock.channels import SeriesName
from tissueclock.grid import split_halves
from tissueclock.phantom.anatomy import Brain
from tissueclock.phantom.nuisance import add_rician
from tissueclock.phantom.raw.head import FINE_GRID, HEAD_GRID, Head
from tissueclock.phantom.raw.pose import (
    B1000_MOVEMENT,
    FLAIR_MOVEMENT,
    HEAD_CENTRE_MM,
    Affine,
    apply,
    draw_movement,
    draw_pose,
    rotation,
)
from tissueclock.phantom.raw.scanner import (
    BIAS_PEAK_TO_PEAK,
    CUT_ABOVE_MM,
    CUT_BELOW_MM,
    ORIENTATIONS,
    Frame,
    Image,
    Protocol,
    bias_field,
    draw_bias,
    prescribe,
    sample,
    to_integers,
)
from tissueclock.phantom.render import BRAIN_SHARE
from tissueclock.phantom.signal import B_VALUE_S_MM2

Variant = Literal["trace", "directions", "adc"]
"""DWI as b0 and a trace image; as b0 and three directions; as a trace image and an ADC map without b0."""

AnyImage = Float[np.ndarray, "_ _ _"]
"""Where b0's and FLAIR's images are beside each other: their shapes differ."""

Points = Float[np.ndarray, "_ 3"]

N_DIRECTIONS = 3
OBLIQUE_SHARE, MAX_TILT_DEG, SMALL_TILT_SD_DEG = 0.5, 25.0, 3.0
OTHER_PLANE_SHARE, OTHER_PLANE_SD_DEG = 1.0 / 3.0, 4.0
DWI_MATRIX_MM: Mapping[int, tuple[float, float]] = {112: (1.95, 2.0), 128: (1.75, 2.0), 144: (1.7, 1.8)}
FLAIR_MATRIX_MM: Mapping[tuple[int, int], tuple[float, float]] = {
    (256, 256): (0.88, 0.95),
    (232, 256): (0.9, 0.95),
    (272, 320): (0.75, 0.8),
}
"""Columns (and rows) and the edges in the plane that go with them: fields of view of 215 to 260 mm."""

THICKNESS_MM, GAP_MM = (5.0, 6.0), (0.0, 1.0)
LOG_GAIN = (5.0, 6.8)
"""Natural log of the stored value of typical tissue on b0 and FLAIR (150 to 900); a scanner's scale is arbitrary."""

COIL_CHANGE = 0.15
"""How much b1000's unevenness differs from b0's: the coil is the same, the head has moved (assumed)."""

ADC_BACKGROUND = 0.15
"""Where b0 is below this part of typical tissue, a scanner's ADC map is empty (assumed)."""

MASK_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    """The head that is scanned, with its lesion.

    Attributes:
        head: Noise-free series on `HEAD_GRID`.
        brain: Share of each voxel of `FINE_GRID` that is brain.
        lesion: Share of each voxel's grey and white matter there that is lesion.
        typical: Per series, the signal of typical tissue.
        noise: SD of the noise over that.
    """

    head: Mapping[SeriesName, Head]
    brain: Brain
    lesion: Brain
    typical: Mapping[SeriesName, float]
    noise: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What came out, and how it came about.

    Attributes:
        variant: Of the DWI.
        dwi: Its images, as they are stored.
        b_values: Of each, s/mm2.
        adc: 1e-6 mm2/s, in the variant that has it.
        flair: As it is stored.
        frames: Where the voxels lie: b0 (and all DWI) and FLAIR.
        scanner_from_mni: The pose at the time of b0.
        movements: Scanner mm in that series from scanner mm in b0.
        biases: Gain fields on each series' own frame.
        gains: Stored value over signal: DWI and FLAIR.
        brain: Brain or not, on b0's frame.
        lesion: Lesion or not, there.
    """

    variant: Variant
    dwi: Int16[np.ndarray, "x y z volume"]
    b_values: tuple[float, ...]
    adc: Int16[np.ndarray, "x y z"] | None
    flair: Int16[np.ndarray, "flair_x flair_y flair_z"]
    frames: Mapping[SeriesName, Frame]
    scanner_from_mni: Affine
    movements: Mapping[SeriesName, Affine]
    biases: Mapping[SeriesName, AnyImage]
    gains: Mapping[str, float]
    brain: UInt8[np.ndarray, "x y z"]
    lesion: UInt8[np.ndarray, "x y z"]


def scan_subject(subject: Subject, *, variant: Variant, rng: np.random.Generator) -> Visit:
    """Scans a head: DWI first, FLAIR after some movement."""
    pose = draw_pose(rng)
    middle = apply(pose, np.array([HEAD_CENTRE_MM]))[0]
    movements: dict[SeriesName, Affine] = {
        "b0": np.eye(4),
        "b1000": draw_movement(B1000_MOVEMENT, rng, about_mm=middle),
        "flair": draw_movement(FLAIR_MOVEMENT, rng, about_mm=middle),
    }
    poses = {name: movement @ pose for name, movement in movements.items()}
    brain = _points_mm(subject.brain[::2, ::2, ::2] >= BRAIN_SHARE)
    brains: dict[SeriesName, Points] = {name: apply(poses[name], brain) for name in ("b0", "b1000", "flair")}
    lesion = _points_mm(subject.lesion >= MASK_SHARE / 5)
    frames = _draw_frames(brains, {name: apply(poses[name], lesion) for name in brains}, rng)
    biases = _draw_biases(frames, brains, rng)
    seen: dict[SeriesName, Image] = {
        name: sample(subject.head[name], HEAD_GRID, frame=frames[name], grid_from_scanner=np.linalg.inv(poses[name]))
        * biases[name]
        for name in frames
    }
    stored = {name: math.exp(rng.uniform(*LOG_GAIN)) for name in ("dwi", "flair")}
    gains = {"dwi": stored["dwi"] / subject.typical["b0"], "flair": stored["flair"] / subject.typical["flair"]}
    dwi, b_values, adc = _store_dwi(subject, seen, variant=variant, gain=gains["dwi"], rng=rng)
    flair = add_rician(seen["flair"], sd=subject.noise * subject.typical["flair"], rng=rng)
    return Visit(
        variant=variant,
        dwi=dwi,
        b_values=b_values,
        adc=adc,
        flair=to_integers(flair, gain=gains["flair"]),
        frames=frames,
        scanner_from_mni=pose,
        movements=movements,
        biases=biases,
        gains=gains,
        brain=(_see(subject.brain, frame=frames["b0"], pose=pose) >= MASK_SHARE).astype(np.uint8),
        lesion=_lesion_mask(subject.lesion, frame=frames["b0"], pose=pose),
    )


def _draw_frames(
    brains_mm: Mapping[SeriesName, Points], lesions_mm: Mapping[SeriesName, Points], rng: np.random.Generator
) -> dict[SeriesName, Frame]:
    """Draws the planes of DWI and FLAIR and lays them over the head as it lies at the time of each."""
    tilt = np.append(rng.uniform(-MAX_TILT_DEG, MAX_TILT_DEG), SMALL_TILT_SD_DEG * rng.standard_normal(2))
    plane = rotation(tilt) if rng.uniform() < OBLIQUE_SHARE else np.eye(3)
    turn = rotation(OTHER_PLANE_SD_DEG * rng.standard_normal(3))
    flair_plane = turn @ plane if rng.uniform() < OTHER_PLANE_SHARE else plane
    columns = int(rng.choice(list(DWI_MATRIX_MM)))
    flair_matrix = list(FLAIR_MATRIX_MM)[int(rng.integers(len(FLAIR_MATRIX_MM)))]
    protocols: dict[SeriesName, Protocol] = {
        "b0": _draw_protocol((columns, columns), DWI_MATRIX_MM[columns], plane=plane, rng=rng),
        "flair": _draw_protocol(flair_matrix, FLAIR_MATRIX_MM[flair_matrix], plane=flair_plane, rng=rng),
    }
    frames = {
        name: prescribe(protocol, brain_mm=brains_mm[name], lesion_mm=lesions_mm[name])
        for name, protocol in protocols.items()
    }
    return {"b0": frames["b0"], "b1000": frames["b0"], "flair": frames["flair"]}


def _draw_protocol(
    matrix: tuple[int, int],
    edges_mm: tuple[float, float],
    *,
    plane: Float[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Protocol:
    return Protocol(
        matrix=matrix,
        voxel_mm=round(float(rng.uniform(*edges_mm)), 3),
        thickness_mm=round(float(rng.uniform(*THICKNESS_MM)), 1),
        gap_mm=round(float(rng.uniform(*GAP_MM)), 1),
        plane=plane,
        orientation=ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))],
        cut_mm=(float(rng.uniform(*CUT_BELOW_MM)), float(rng.uniform(*CUT_ABOVE_MM))),
    )


def _draw_biases(
    frames: Mapping[SeriesName, Frame], brains_mm: Mapping[SeriesName, Points], rng: np.random.Generator
) -> dict[SeriesName, AnyImage]:
    coil, flair_coil = draw_bias(rng), draw_bias(rng)
    dwi_peak, flair_peak = (float(rng.uniform(*BIAS_PEAK_TO_PEAK)) for _ in range(2))
    coils: dict[SeriesName, tuple[Float[np.ndarray, " term"], float]] = {
        "b0": (coil, dwi_peak),
        "b1000": (coil + COIL_CHANGE * draw_bias(rng), dwi_peak),
        "flair": (flair_coil, flair_peak),
    }
    return {
        name: bias_field(coefficients, frame=frames[name], brain_mm=brains_mm[name], peak_to_peak=peak)
        for name, (coefficients, peak) in coils.items()
    }


def _store_dwi(
    subject: Subject, seen: Mapping[SeriesName, AnyImage], *, variant: Variant, gain: float, rng: np.random.Generator
) -> tuple[Int16[np.ndarray, "x y z volume"], tuple[float, ...], Int16[np.ndarray, "x y z"] | None]:
    """The DWI's images, their b-values and, where b0 was not kept, the ADC map.

    A trace image's noise is that of typical tissue's b1000; a single direction has been averaged three times less.
    """
    n_directions = N_DIRECTIONS if variant == "directions" else 1
    b0 = add_rician(seen["b0"], sd=subject.noise * subject.typical["b0"], rng=rng)
    sd = subject.noise * subject.typical["b1000"] * math.sqrt(n_directions)
    weighted = [add_rician(seen["b1000"], sd=sd, rng=rng) for _ in range(n_directions)]
    if variant == "adc":
        shown = b0 > ADC_BACKGROUND * subject.typical["b0"]
        um2_ms = np.log(np.maximum(b0, 1e-6) / np.maximum(weighted[0], 1e-6)) / (B_VALUE_S_MM2 * 1e-3)
        adc = to_integers(np.where(shown, um2_ms, 0.0).astype(np.float32), gain=1000.0)
        return to_integers(weighted[0], gain=gain)[..., None], (B_VALUE_S_MM2,), adc
    images = [to_integers(image, gain=gain) for image in (b0, *weighted)]
    return np.stack(images, axis=-1), (0.0, *[B_VALUE_S_MM2] * n_directions), None


def _see(volume: Brain, *, frame: Frame, pose: Affine) -> Image:
    return sample(volume, FINE_GRID, frame=frame, grid_from_scanner=np.linalg.inv(pose))


def _lesion_mask(lesion: Brain, *, frame: Frame, pose: Affine) -> UInt8[np.ndarray, "x y z"]:
    """Voxels of which at least half is lesion; on a side where there is none, the one of which most is."""
    mask = np.zeros(frame.shape, dtype=np.uint8)
    left = np.zeros_like(lesion)
    split_halves(left)[0][...] = split_halves(lesion)[0]
    for half in (left, lesion - left):
        if half.any():
            share = _see(half, frame=frame, pose=pose)
            mask |= share >= min(MASK_SHARE, float(share.max()))
    return mask


def _points_mm(held: np.ndarray) -> Float[np.ndarray, "point 3"]:
    """Where the voxels of `FINE_GRID`, or of every n-th along each axis, that are true lie in MNI."""
    z, y, x = (axis[:: max(1, round(len(axis) / n))] for axis, n in zip(FINE_GRID.axes_mm(), held.shape, strict=True))
    i, j, k = np.nonzero(held)
    return np.stack([x[k], y[j], z[i]], axis=1)
