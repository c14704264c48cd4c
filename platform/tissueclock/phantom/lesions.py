"""Lesions: planned by territory, side and volume, and grown like blobs in grey and white matter.

Knows no signals. Volumes are log-normal (median 8 ml, SD of the log 1.6) and rise with time by an assumed 0.15 per
natural log of t/4 h.
"""

import math
from dataclasses import dataclass

import numpy as np

from tissueclock.cohort.manifest import LesionSide
from tissueclock.errors import CohortError
from tissueclock.grid import Grid, Side
from tissueclock.phantom.anatomy import Brain, Tissues
from tissueclock.phantom.fields import draw_field
from tissueclock.phantom.territories import POSTERIOR_SHARE, TERRITORIES, Territory, draw_territory

MEDIAN_ML, LOG_SD, LOG_RISE, REFERENCE_H = 8.0, 1.6, 0.15, 4.0
MIN_ML, MAX_ML = 0.05, 300.0
BILATERAL_SHARE, SECOND_FOCUS_SHARE, MIDLINE_BRAINSTEM_SHARE = 0.08, 0.25, 0.25
INVISIBLE_SHARE_POSTERIOR, INVISIBLE_SHARE_ANTERIOR = 0.12, 0.02
"""DWI misses 19 % of posterior and 2 % of anterior strokes (Oppenheim et al. 2000); scaled to 5 % over all."""

WHITE_PREFERENCE_MM = 4.0
EDGE_MM, ROUGHNESS, ROUGHNESS_LENGTH_MM = 1.0, 0.45, 14.0


@dataclass(frozen=True, slots=True)
class Focus:
    """A blob to be grown: where, on which side and how large."""

    territory: Territory
    side: Side
    volume_ml: float


@dataclass(frozen=True, slots=True)
class LesionPlan:
    """What a patient's stroke will be.

    Attributes:
        foci: One or more; the first one's territory names the stroke.
        side: Where the foci lie.
        invisible_probability: That DWI misses it.
    """

    foci: tuple[Focus, ...]
    side: LesionSide
    invisible_probability: float

    @property
    def territory(self) -> str:
        """The vessel territory of the first focus."""
        return self.foci[0].territory.name


def draw_volume_ml(onset_to_mri_min: float, rng: np.random.Generator) -> float:
    """Draws a lesion's volume, 0.05 to 300 ml."""
    log_volume = math.log(MEDIAN_ML) + LOG_SD * float(rng.standard_normal())
    log_volume += LOG_RISE * math.log(onset_to_mri_min / 60.0 / REFERENCE_H)
    return min(max(math.exp(log_volume), MIN_ML), MAX_ML)


def plan_lesion(onset_to_mri_min: float, rng: np.random.Generator) -> LesionPlan:
    """Draws territory, side, foci and volume.

    A quarter of brainstem strokes lie across the midline; with other strokes in both halves they make 8 % bilateral.
    """
    volume_ml = draw_volume_ml(onset_to_mri_min, rng)
    territory = draw_territory(rng)
    side: Side = "left" if rng.uniform() < 0.5 else "right"
    other: Side = "right" if side == "left" else "left"
    two_foci, both_sides, share = rng.uniform() < SECOND_FOCUS_SHARE, rng.uniform(), float(rng.uniform(0.1, 0.4))
    if territory.name == "brainstem" and both_sides < MIDLINE_BRAINSTEM_SHARE:
        middle = Territory("brainstem", "posterior", 0.0, (-32.0, -29.0, 2.0), (14.0, 8.0, 1.0))
        foci = [Focus(middle, side, volume_ml / 2), Focus(middle, other, volume_ml / 2)]
    elif territory.name != "brainstem" and both_sides < _other_bilateral_share():
        foci = [Focus(territory, side, volume_ml * (1 - share)), Focus(draw_territory(rng), other, volume_ml * share)]
    elif two_foci:
        foci = [Focus(territory, side, volume_ml * (1 - share)), Focus(territory, side, volume_ml * share)]
    else:
        foci = [Focus(territory, side, volume_ml)]
    posterior = territory.circulation == "posterior"
    return LesionPlan(
        foci=tuple(foci),
        side="both" if len({focus.side for focus in foci}) == 2 else side,
        invisible_probability=INVISIBLE_SHARE_POSTERIOR if posterior else INVISIBLE_SHARE_ANTERIOR,
    )


def grow_lesion(plan: LesionPlan, *, grid: Grid, tissues: Tissues, rng: np.random.Generator) -> Brain:
    """Grows the foci of a plan.

    Args:
        plan: What to grow.
        grid: The voxels that it grows on.
        tissues: A person's; CSF is spared.
        rng: Where chance comes from.

    Returns:
        The share of each voxel's grey and white matter that is lesion, 0 to 1; somewhere on each planned side > 0.5.

    Raises:
        CohortError: The grid is so coarse that a planned side has no tissue.
    """
    lesion = np.zeros(grid.whole_shape, dtype=np.float32)
    for focus in plan.foci:
        np.maximum(lesion, _grow_focus(focus, grid=grid, tissues=tissues, rng=rng), out=lesion)
    return lesion


def _other_bilateral_share() -> float:
    """The chance of a second half among strokes outside the brainstem that makes `BILATERAL_SHARE` of all bilateral."""
    brainstem = POSTERIOR_SHARE * next(t.share for t in TERRITORIES if t.name == "brainstem")
    return (BILATERAL_SHARE - brainstem * MIDLINE_BRAINSTEM_SHARE) / (1.0 - brainstem)


def _grow_focus(focus: Focus, *, grid: Grid, tissues: Tissues, rng: np.random.Generator) -> Brain:
    z, y, x = grid.axes_mm()
    width = grid.shape[2]
    half = slice(0, width) if focus.side == "left" else slice(width, 2 * width)
    solid = tissues.solid[:, :, half]
    squared = [
        ((axis - centre) / radius) ** 2
        for axis, centre, radius in zip(
            (z, y, np.abs(x[half])), focus.territory.centre_mm, focus.territory.radius_mm, strict=True
        )
    ]
    away = squared[0][:, None, None] + squared[1][None, :, None] + squared[2][None, None, :]
    room = solid > min(0.6, float(solid.max()) / 2)
    if not room.any():
        raise CohortError(
            f"grid: shape {grid.shape} found; too coarse for a phantom: a half has no grey or white matter"
        )
    weight = np.where(room, solid * np.exp(-0.5 * np.minimum(away - away[room].min(), 60.0)), 0.0).ravel()
    seed = np.unravel_index(int(np.searchsorted(np.cumsum(weight), rng.uniform() * weight.sum())), solid.shape)
    radius_mm = (focus.volume_ml * 1000.0 * 3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
    apart = [((axis - axis[i]) ** 2) for axis, i in zip((z, y, x[half]), seed, strict=True)]
    distance = np.sqrt(apart[0][:, None, None] + apart[1][None, :, None] + apart[2][None, None, :])
    noise = draw_field(grid, length_mm=ROUGHNESS_LENGTH_MM, rng=rng)[:, :, half]
    reach = (
        distance - WHITE_PREFERENCE_MM * tissues.wm[:, :, half] + radius_mm * (ROUGHNESS * noise + 0.1 * np.sqrt(away))
    )
    reach -= reach[seed]
    lesion = np.zeros(grid.whole_shape, dtype=np.float32)
    lesion[:, :, half] = _fill(
        reach, solid=np.where(room, solid, 0.0), volume_ml=focus.volume_ml, voxel_ml=grid.voxel_ml
    )
    place = (seed[0], seed[1], seed[2] + half.start)
    lesion[place] = max(lesion[place], 0.55)
    return lesion


def _fill(reach: Brain, *, solid: Brain, volume_ml: float, voxel_ml: float) -> Brain:
    """Fills tissue in the order of `reach` (mm) up to a volume, with an edge that fades over `EDGE_MM`."""
    edge = np.float32(EDGE_MM)
    inside = solid > 0
    order, tissue_ml = reach[inside].astype(np.float32), solid[inside].astype(np.float32) * np.float32(voxel_ml)
    low, high = float(order.min()) - EDGE_MM, float(order.max()) + EDGE_MM
    for _ in range(24):
        middle = (low + high) / 2
        filled = float((np.clip(0.5 + (middle - order) / edge, 0.0, 1.0) * tissue_ml).sum())
        low, high = (middle, high) if filled < volume_ml else (low, middle)
    share = np.zeros(reach.shape, dtype=np.float32)
    share[inside] = np.clip(0.5 + (high - order) / edge, 0.0, 1.0)
    return share
