"""What is around a person's brain: CSF, skull, scalp, eyes, face and neck, as layers at a distance from the brain.

Coarse on purpose: skull stripping, registration and bias correction need a head, not an atlas of it. Thicknesses are
ordinary adult ones, shapes and places in MNI space were set by eye (assumptions). Relaxation times: muscle about those
of Stanisz et al. 2005 (doi 10.1002/mrm.20605), fat about those of Gold et al. 2004 (doi 10.2214/ajr.183.2.1830343),
both rounded; that 90 % of fat is suppressed on EPI, and that fat has a proton density of 0.6, is assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, zoom

from tissueclock.channels import SERIES, SeriesName
from tissueclock.grid import make_grid
from tissueclock.phantom.anatomy import Brain
from tissueclock.phantom.fields import draw_field
from tissueclock.phantom.render import BRAIN_SHARE
from tissueclock.phantom.signal import FieldStrength, TissueParameters, flair, normal_tissue, signals, spin_echo

Head = Float[np.ndarray, "head_slice head_height head_width"]

SPACING_MM = (1.5, 1.5, 1.5)
FINE_GRID = make_grid((132, 138, 57), SPACING_MM)
"""The whole brain, from brainstem to vertex, and at least 12 mm around it: there the warp is at its strongest."""

HEAD_GRID = make_grid((152, 160, 68), SPACING_MM)
"""The head, its voxels where the brain's are: MNI x +-101, y -136 to 102, z -98 to 128 mm."""

CSF_MM, SKULL_MM, SCALP_MM = (2.5, 4.0), (5.0, 8.0), (4.0, 8.0)
CSF_WAVE_MM, CSF_WAVE_LENGTH_MM = 0.6, 40.0
HULL_MM = 20.0
"""Hollows of the brain narrower than twice this are bridged: the skin does not follow them."""

CISTERN_MM = 6.0
"""Within the hull, CSF reaches this far from the brain; beyond is the bone of the skull's base."""

SKIN_MM, EDGE_MM = 2.0, 1.5
EYE_RADIUS_MM, ORBIT_RADIUS_MM = 12.0, 19.0
MARROW_SHARE = 0.25
FAT_LEFT_ON_EPI = 0.1
TEXTURE_SD, TEXTURE_LENGTH_MM = 0.12, 12.0

_MUSCLE: Mapping[FieldStrength, TissueParameters] = {
    "1.5T": TissueParameters(pd=0.8, t1_ms=1000.0, t2_ms=44.0, adc_um2_ms=1.5),
    "3T": TissueParameters(pd=0.8, t1_ms=1400.0, t2_ms=50.0, adc_um2_ms=1.5),
}
_FAT: Mapping[FieldStrength, TissueParameters] = {
    "1.5T": TissueParameters(pd=0.6, t1_ms=290.0, t2_ms=165.0, adc_um2_ms=0.1),
    "3T": TissueParameters(pd=0.6, t1_ms=370.0, t2_ms=135.0, adc_um2_ms=0.1),
}

_COARSE = 2
"""The distance from the brain is measured on a grid this much coarser: it is smooth, and eight times as fast."""


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A place in the head: MNI centre x, y, z and radii; a mirrored one lies on both sides."""

    centre_mm: tuple[float, float, float]
    radius_mm: tuple[float, float, float]
    mirrored: bool = False


_FLESH = (
    Ellipsoid((0.0, 38.0, -66.0), (64.0, 56.0, 62.0)),  # face
    Ellipsoid((62.0, 26.0, -32.0), (15.0, 32.0, 34.0), mirrored=True),  # temples
    Ellipsoid((0.0, 92.0, -56.0), (15.0, 22.0, 17.0)),  # nose
    Ellipsoid((0.0, -42.0, -110.0), (62.0, 70.0, 95.0)),  # neck
    Ellipsoid((84.0, -22.0, -42.0), (9.0, 15.0, 26.0), mirrored=True),  # ears
)
_AIR = (
    Ellipsoid((26.0, 58.0, -66.0), (12.0, 14.0, 14.0), mirrored=True),  # maxillary sinuses
    Ellipsoid((0.0, 62.0, -58.0), (9.0, 28.0, 20.0)),  # nasal cavity
    Ellipsoid((0.0, 34.0, -42.0), (11.0, 10.0, 9.0)),  # sphenoid sinus
    Ellipsoid((0.0, 16.0, -82.0), (11.0, 8.0, 30.0)),  # pharynx
    Ellipsoid((9.0, 80.0, -14.0), (8.0, 4.0, 9.0), mirrored=True),  # frontal sinuses
    Ellipsoid((54.0, -34.0, -50.0), (8.0, 11.0, 11.0), mirrored=True),  # mastoids
)
_EYES = Ellipsoid((32.0, 68.0, -40.0), (EYE_RADIUS_MM,) * 3, mirrored=True)
_ORBITS = Ellipsoid((31.0, 62.0, -40.0), (ORBIT_RADIUS_MM,) * 3, mirrored=True)
_SPINE_MM = {"cord": 6.0, "canal": 11.0, "bone": 20.0}
_SPINE_CENTRE_MM = (0.0, -44.0)
"""MNI x and y of the axis of cord, canal and vertebra below the brain."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Shares of each voxel of the head, 0 to 1, outside the brain; what they leave is brain, air or cortical bone."""

    csf: Head
    cord: Head
    marrow: Head
    fat: Head
    flesh: Head


def draw_surroundings(brain: Brain, *, rng: np.random.Generator) -> Surroundings:
    """Draws what is around a brain.

    Args:
        brain: Share of each voxel of `FINE_GRID` that is brain.
        rng: Where thicknesses and the CSF's unevenness come from.

    Returns:
        Shares on `HEAD_GRID`.
    """
    inside = embed(np.minimum(brain, 1.0))
    csf_mm, skull_mm, scalp_mm = (float(rng.uniform(*limits)) for limits in (CSF_MM, SKULL_MM, SCALP_MM))
    brain_mm, hull_mm = _distances_mm(inside)
    above = hull_mm - csf_mm
    above -= CSF_WAVE_MM * draw_field(HEAD_GRID, length_mm=CSF_WAVE_LENGTH_MM, rng=rng)
    outside = np.minimum(above - skull_mm - scalp_mm, _apart_mm(*_FLESH))
    eyes, orbits, air = _share(_apart_mm(_EYES)), _share(_apart_mm(_ORBITS)), _share(_apart_mm(*_AIR))
    cord, canal, spine = _spine(above)
    cranium, skull = _share(np.maximum(above, brain_mm - CISTERN_MM)), _share(above - skull_mm)
    cavity = np.maximum(cranium, canal)
    bone = np.maximum(np.maximum(skull, spine) - cavity, 0.0)
    soft = np.maximum(_share(outside) - np.maximum(skull, spine), 0.0) * (1.0 - air)
    fat = np.minimum(soft, _share(outside + SKIN_MM) - _share(outside + scalp_mm))
    fat = np.maximum(np.maximum(fat, 0.0), soft * orbits)
    marrow = bone * MARROW_SHARE * _share(np.abs(above - skull_mm / 2) - skull_mm / 5) * (1.0 - air)
    return Surroundings(
        csf=np.maximum(np.maximum(cavity - inside - cord, 0.0), eyes * soft),
        cord=cord * (1.0 - inside),
        marrow=marrow,
        fat=fat * (1.0 - eyes),
        flesh=(soft - fat) * (1.0 - eyes),
    )


def render_head(
    brain: Mapping[SeriesName, Brain], around: Surroundings, *, field: FieldStrength, rng: np.random.Generator
) -> dict[SeriesName, Head]:
    """The noise-free series of a head.

    Args:
        brain: Signals of the brain on `FINE_GRID`, 0 outside it.
        around: What is around it.
        field: Of the scanner.
        rng: Where the unevenness of fat and flesh comes from.

    Returns:
        Signals on `HEAD_GRID`.
    """
    texture = 1.0 + TEXTURE_SD * draw_field(HEAD_GRID, length_mm=TEXTURE_LENGTH_MM, rng=rng)
    fluid, white = (signals(normal_tissue(tissue, field)) for tissue in ("csf", "wm"))
    flesh, fat = signals(_MUSCLE[field]), _fat_signals(field)
    heads: dict[SeriesName, Head] = {}
    for name in SERIES:
        head = around.flesh * flesh[name] + (around.fat + around.marrow) * fat[name]
        head *= texture
        head += around.csf * fluid[name] + around.cord * white[name] + embed(brain[name])
        heads[name] = np.asarray(head, dtype=np.float32)
    return heads


def embed(volume: Brain) -> Head:
    """A volume on `FINE_GRID` put on `HEAD_GRID`, 0 around it."""
    width = [(big - small) // 2 for big, small in zip(HEAD_GRID.whole_shape, FINE_GRID.whole_shape, strict=True)]
    return np.pad(volume, [(n, n) for n in width])


def _fat_signals(field: FieldStrength) -> dict[SeriesName, float]:
    fat = _FAT[field]
    return {
        "b0": FAT_LEFT_ON_EPI * spin_echo(fat, b_s_mm2=0.0),
        "b1000": FAT_LEFT_ON_EPI * spin_echo(fat, b_s_mm2=1000.0),
        "flair": flair(fat),
    }


def _distances_mm(inside: Head) -> tuple[Head, Head]:
    """Distance from the brain, and from its hull, hollows bridged; the latter is below zero inside."""
    n_slices, height, width = (n // _COARSE for n in inside.shape)
    coarse = inside.reshape(n_slices, _COARSE, height, _COARSE, width, _COARSE).mean(axis=(1, 3, 5)) >= BRAIN_SHARE
    spacing = [spacing * _COARSE for spacing in SPACING_MM]
    apart = distance_transform_edt(~coarse, sampling=spacing)
    near = apart <= HULL_MM
    within = HULL_MM - distance_transform_edt(near, sampling=spacing)
    beyond = distance_transform_edt(~near, sampling=spacing) + HULL_MM
    brain_mm, hull_mm = (
        zoom(distance.astype(np.float32), _COARSE, order=1, mode="nearest", grid_mode=True)
        for distance in (apart, np.where(near, within, beyond))
    )
    return brain_mm, hull_mm


def _apart_mm(*places: Ellipsoid) -> Head:
    """About how far each voxel of the head is from the nearest of some ellipsoids; below zero inside."""
    z, y, x = (axis.astype(np.float32) for axis in HEAD_GRID.axes_mm())
    nearest = np.full(HEAD_GRID.whole_shape, np.inf, dtype=np.float32)
    for place in places:
        (x_mm, y_mm, z_mm), radius = place.centre_mm, place.radius_mm
        across = np.abs(x) if place.mirrored else x
        squared = (
            (((z - z_mm) / radius[2]) ** 2)[:, None, None]
            + (((y - y_mm) / radius[1]) ** 2)[None, :, None]
            + (((across - x_mm) / radius[0]) ** 2)[None, None, :]
        )
        np.minimum(nearest, (np.sqrt(squared) - 1.0) * min(radius), out=nearest)
    return nearest


def _spine(above: Head) -> tuple[Head, Head, Head]:
    """Cord, canal and vertebra: tubes below the skull."""
    z, y, x = HEAD_GRID.axes_mm()
    radius = np.hypot((y - _SPINE_CENTRE_MM[1])[:, None], (x - _SPINE_CENTRE_MM[0])[None, :]).astype(np.float32)
    below = (z < -60.0)[:, None, None]
    cord, canal, bone = (_share(radius - mm)[None] * below for mm in _SPINE_MM.values())
    return cord, canal, bone * (above > 0)


def _share(distance_mm: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """1 well inside a surface (distances below zero), 0 well outside, and a ramp between."""
    return np.clip(0.5 - distance_mm / np.float32(EDGE_MM), 0.0, 1.0)
