"""One patient, from tissue fractions to three series: signals mixed, moved, gained, noisy, normalised.

Where the physics of `signal`, the time of `clock` and the mischief of `nuisance` meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tissueclock.channels import SERIES, SeriesName
from tissueclock.grid import Grid
from tissueclock.phantom.anatomy import Brain, Tissues
from tissueclock.phantom.clock import ADC_SHARES, TissueClock, tissue_changes
from tissueclock.phantom.fields import draw_field
from tissueclock.phantom.nuisance import (
    AIR_SHARE,
    BIAS_FACTOR,
    GLIOSIS_T2_RISE_MS,
    SHIFT_MM,
    WMH_T2_RISE_MS,
    Scan,
    add_rician,
    draw_coil,
    draw_coverage,
    draw_gain,
    draw_old_infarct,
    draw_pile_up,
    draw_shift,
    draw_wmh,
    move,
)
from tissueclock.phantom.presets import Preset
from tissueclock.phantom.signal import FieldStrength, Tissue, TissueChange, change_tissue, normal_tissue, signals

SUBREGION_LENGTH_MM = 10.0
SUBREGION_EDGE = 0.5
"""Over which part of the patches' SD one subregion fades into the next."""
BRAIN_SHARE = 0.5
"""A voxel belongs to the brain if at least this share of it does."""


@dataclass(frozen=True, slots=True)
class Background:
    """What the acute lesion lies in: shares of each voxel, 0 to 1."""

    tissues: Tissues
    wmh: Brain
    cavity: Brain
    gliosis: Brain


@dataclass(frozen=True, slots=True)
class Rendered:
    """The images of a patient, and how far the lesion stands out in them.

    Attributes:
        series: b0, b1000 and FLAIR of the whole brain, 1.0 typical tissue, 0 outside the brain.
        clean_ratios: Per series, noise-free signal of the lesion's tissue over that of the same tissue without it.
    """

    series: Float[np.ndarray, "series slice height width"]
    clean_ratios: Mapping[SeriesName, float]


def mix_signals(background: Background, field: FieldStrength) -> dict[SeriesName, Brain]:
    """Noise-free series without an acute lesion: the tissues' signals, weighted by their shares."""
    tissues = background.tissues
    kept = 1.0 - background.cavity
    healthy = kept * (1.0 - background.gliosis)
    parts: list[tuple[Brain, dict[SeriesName, float]]] = [
        (tissues.csf + tissues.solid * background.cavity, _signals("csf", field)),
        (tissues.gm * healthy, _signals("gm", field)),
        (tissues.wm * healthy * (1.0 - background.wmh), _signals("wm", field)),
        (tissues.wm * healthy * background.wmh, _signals("wm", field, TissueChange(t2_delta_ms=WMH_T2_RISE_MS))),
        (
            tissues.solid * kept * background.gliosis,
            _signals("wm", field, TissueChange(t2_delta_ms=GLIOSIS_T2_RISE_MS, adc_factor=1.4)),
        ),
    ]
    return {name: np.asarray(sum(share * signal[name] for share, signal in parts), np.float32) for name in SERIES}


def lesion_signals(
    background: Background,
    *,
    field: FieldStrength,
    lesion: Brain,
    clock: TissueClock,
    subregions: tuple[Brain, Brain, Brain],
) -> tuple[dict[SeriesName, Brain], dict[SeriesName, float]]:
    """What the acute lesion adds to the noise-free series, and its noise-free ratios.

    Args:
        background: What it lies in; white matter disease and old infarcts keep their own contrast beneath.
        field: Of the scanner.
        lesion: Share of each voxel's grey and white matter that is lesion.
        clock: What time has done.
        subregions: Where diffusion is low, near normal, raised: shares that add up to 1 everywhere.
    """
    changes = tissue_changes(clock)
    added: dict[SeriesName, Brain] = {}
    ratios: dict[SeriesName, float] = {}
    shares = {"gm": lesion * background.tissues.gm, "wm": lesion * background.tissues.wm}
    normal: dict[Tissue, dict[SeriesName, float]] = {"gm": _signals("gm", field), "wm": _signals("wm", field)}
    for name in SERIES:
        total, before = np.zeros_like(lesion), 0.0
        for tissue in ("gm", "wm"):
            factor = sum(
                region * (_signals(tissue, field, change)[name] - normal[tissue][name])
                for region, change in zip(subregions, changes, strict=True)
            )
            total += shares[tissue] * factor
            before += float(shares[tissue].sum()) * normal[tissue][name]
        added[name] = total
        ratios[name] = 1.0 + float(total.sum()) / before
    return added, ratios


def draw_subregions(grid: Grid, *, lesion: Brain, rng: np.random.Generator) -> tuple[Brain, Brain, Brain]:
    """Draws where in the lesion diffusion is low, near normal and raised: smooth patches of 72, 20 and 8 %."""
    field = draw_field(grid, length_mm=SUBREGION_LENGTH_MM, rng=rng)
    inside = field[lesion > 0]
    low_below, normal_below = np.quantile(inside, np.cumsum(ADC_SHARES)[:2])
    low = np.clip(0.5 + (low_below - field) / SUBREGION_EDGE, 0.0, 1.0).astype(np.float32)
    raised = np.clip(0.5 + (field - normal_below) / SUBREGION_EDGE, 0.0, 1.0).astype(np.float32) * (1.0 - low)
    return low, 1.0 - low - raised, raised


def render_patient(
    grid: Grid,
    *,
    tissues: Tissues,
    lesion: Brain,
    clock: TissueClock,
    scan: Scan,
    preset: Preset,
    rng: np.random.Generator,
) -> Rendered:
    """Renders the three series of one patient.

    Args:
        grid: The voxels of the result.
        tissues: The person's tissue fractions.
        lesion: Share of each voxel's grey and white matter that is acute lesion.
        clock: What time has done to it.
        scan: What else is in the scan.
        preset: How much scatter.
        rng: Where chance comes from.
    """
    clean, added, ratios = draw_clean(grid, tissues=tissues, lesion=lesion, clock=clock, scan=scan, rng=rng)
    covered = draw_coverage(grid, lesion=lesion, rng=rng)
    brain = brain_mask(tissues, covered=covered)
    pile_up = draw_pile_up(grid, strength=preset.pile_up, rng=rng) if preset.pile_up else None
    series = []
    for name in SERIES:
        typical = float(np.median(clean[name][brain]))
        signal = (clean[name] + added[name]) * draw_gain(
            grid, bias_sd=BIAS_FACTOR[name] * preset.residual_bias_sd, rng=rng
        )
        if pile_up is not None:
            signal = signal * (1.0 + AIR_SHARE[name] * pile_up)
        if preset.coil_sd:
            signal = signal * draw_coil(grid, sd=preset.coil_sd, rng=rng)
        if SHIFT_MM[name] > 0:
            matrix, offset = draw_shift(grid, max_mm=SHIFT_MM[name], rng=rng)
            signal = move(signal, matrix=matrix, offset=offset)
        gain = float(np.median(signal[brain])) / typical
        series.append(normalise(add_rician(signal, sd=scan.noise * typical * gain, rng=rng), brain=brain))
    return Rendered(series=np.stack(series), clean_ratios=ratios)


def draw_clean(
    grid: Grid, *, tissues: Tissues, lesion: Brain, clock: TissueClock, scan: Scan, rng: np.random.Generator
) -> tuple[dict[SeriesName, Brain], dict[SeriesName, Brain], dict[SeriesName, float]]:
    """Draws what else is in the brain, and gives the series before scanner, movement and noise.

    Returns:
        Signals without the acute lesion, what the lesion adds to them, and its noise-free ratios.
    """
    cavity, gliosis = draw_old_infarct(grid, tissues=tissues, lesion=lesion, rng=rng)
    wmh = draw_wmh(grid, tissues=tissues, load=scan.wmh_load, rng=rng)
    background = Background(tissues, wmh=wmh, cavity=cavity, gliosis=gliosis)
    subregions = draw_subregions(grid, lesion=lesion, rng=rng)
    clean = mix_signals(background, scan.field)
    return clean, *lesion_signals(background, field=scan.field, lesion=lesion, clock=clock, subregions=subregions)


def brain_mask(tissues: Tissues, *, covered: slice) -> Bool[np.ndarray, "slice height width"]:
    """Where there is brain and a slice was scanned."""
    brain = tissues.inside >= BRAIN_SHARE
    brain[: covered.start] = False
    brain[covered.stop :] = False
    return brain


def normalise(signal: Brain, *, brain: Bool[np.ndarray, "slice height width"]) -> Brain:
    """Divides by the median over the brain of both halves, and clears what is outside."""
    return np.where(brain, signal / np.median(signal[brain]), np.float32(0.0)).astype(np.float32)


def _signals(tissue: Tissue, field: FieldStrength, change: TissueChange | None = None) -> dict[SeriesName, float]:
    return signals(change_tissue(normal_tissue(tissue, field), change or TissueChange()))
