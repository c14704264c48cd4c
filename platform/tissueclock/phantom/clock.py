"""When strokes began, and what time has done to the tissue since.

Knows no images. References: quartiles of onset to MRI from Zhang et al. 2021 (doi 10.1016/j.compmedimag.2021.101926),
the tails assumed; T2 +1.9 ms/h from Damion et al. 2019 (PMC6520250); diffusion low through the first days, back to
normal in the second week, from Lansberg et al. 2001; subregions 72/20/8 % from Nagesh et al. 1998.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtri

from tissueclock.phantom.presets import Preset
from tissueclock.phantom.sampling import spread_points
from tissueclock.phantom.signal import TissueChange

ONSET_QUANTILES_MIN = (
    (0.0, 30.0), (0.05, 58.0), (0.25, 105.0), (0.40, 180.0), (0.50, 222.0),
    (0.54, 270.0), (0.75, 715.0), (0.90, 1440.0), (0.97, 2880.0), (1.0, 4320.0),
)  # fmt: skip

T2_TIME_H, PD_TIME_H, ADC_FALL_H, ADC_LOW_UNTIL_H, ADC_RISE_H = 14.0, 12.0, 0.5, 24.0, 160.0
T2_AMPLITUDE_MS, T2_AMPLITUDE_SD = 30.0, 0.25
T1_AMPLITUDE, PD_AMPLITUDE, ADC_AMPLITUDE, ADC_SD = 0.18, 0.03, 0.30, 0.12

ADC_SHARES = (0.72, 0.20, 0.08)
"""Shares of a lesion where diffusion is low, near normal, raised."""

_NEAR_NORMAL, _RAISED = 0.15, -0.15
"""Depth of the ADC's fall in the other two subregions, relative to the lesion's mean fall; negative is a rise."""

INVISIBLE_FRACTION = 0.5
"""Share of the change that a lesion which DWI does not show has undergone in T1, T2 and PD (assumed); in ADC none."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What decides most about how old a patient's lesion looks.

    Attributes:
        onset_to_mri_min: By the clock on the wall.
        collateral: Standard normal; above 0 the tissue ages faster.
        t2_offset: Standard normal; the lesion's own shift of T2.
        t2_amplitude: Standard normal; above 0 its T2 rises further.
        field_rank: 0 to 1; the lowest are scanned at the higher field.
    """

    onset_to_mri_min: float
    collateral: float
    t2_offset: float
    t2_amplitude: float
    field_rank: float


@dataclass(frozen=True, slots=True)
class TissueClock:
    """A patient's stroke in time.

    Attributes:
        onset_to_mri_min: By the clock on the wall.
        effective_h: By the tissue's own, faster or slower with collateral flow.
        t2_amplitude_ms: Where the T2 rise of this patient ends.
        t2_offset_ms: The lesion's own T2 shift, whatever the time.
        adc_scatter: Factor of the lesion's ADC, whatever the time.
        visible: Whether DWI shows the lesion.
    """

    onset_to_mri_min: float
    effective_h: float
    t2_amplitude_ms: float
    t2_offset_ms: float
    adc_scatter: float
    visible: bool


def draw_fates(n_patients: int, rng: np.random.Generator) -> tuple[Fate, ...]:
    """Draws what decides most about how old the lesions of a cohort look, spread evenly over the patients.

    So the quantiles of onset are those asked for even in a small cohort, and what an observer can reach does not hang
    on a seed's luck.
    """
    points = spread_points(n_patients, n_axes=5, rng=rng)
    onsets = onset_quantile(points[:, 0])
    normals = ndtri(np.maximum(points[:, 1:4], 1e-9))
    return tuple(
        Fate(
            onset_to_mri_min=round(float(onsets[i]), 1),
            collateral=float(normals[i, 0]),
            t2_offset=float(normals[i, 1]),
            t2_amplitude=float(normals[i, 2]),
            field_rank=float(points[i, 4]),
        )
        for i in range(n_patients)
    )


def onset_quantile(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Minutes from onset to MRI below which a share of patients lies: a monotone cubic through their logs."""
    shares, minutes = np.array(ONSET_QUANTILES_MIN).T
    quantile: npt.NDArray[np.float64] = np.exp(PchipInterpolator(shares, np.log(minutes))(probability))
    return quantile


def draw_clock(fate: Fate, *, preset: Preset, invisible_probability: float, rng: np.random.Generator) -> TissueClock:
    """Draws what the tissue made of the time.

    Args:
        fate: Time, collaterals and T2 of this patient.
        preset: Scatter of collaterals and T2.
        invisible_probability: That DWI does not show the lesion, 0 to 1.
        rng: Where the rest of chance comes from.
    """
    return TissueClock(
        onset_to_mri_min=fate.onset_to_mri_min,
        effective_h=fate.onset_to_mri_min / 60.0 * math.exp(preset.collateral_sd * fate.collateral),
        t2_amplitude_ms=T2_AMPLITUDE_MS * math.exp(T2_AMPLITUDE_SD * fate.t2_amplitude),
        t2_offset_ms=preset.t2_offset_sd_ms * fate.t2_offset,
        adc_scatter=math.exp(ADC_SD * rng.standard_normal()),
        visible=bool(rng.uniform() >= invisible_probability),
    )


def mean_adc_ratio(effective_h: float) -> float:
    """Mean ADC of a lesion over that of normal tissue: falls within the first hour, recovers after a day."""
    rise = math.exp(-max(effective_h - ADC_LOW_UNTIL_H, 0.0) / ADC_RISE_H)
    return 1.0 - ADC_AMPLITUDE * (1.0 - math.exp(-effective_h / ADC_FALL_H)) * rise


def tissue_changes(clock: TissueClock) -> tuple[TissueChange, TissueChange, TissueChange]:
    """What has changed in the three subregions of a lesion: diffusion low, near normal, raised.

    Weighted by `ADC_SHARES` the ADC of the three has the mean of `mean_adc_ratio`; T1, T2 and PD are the same in all.
    """
    share = 1.0 if clock.visible else INVISIBLE_FRACTION
    t2_rise = clock.t2_amplitude_ms * (1.0 - math.exp(-clock.effective_h / T2_TIME_H))
    fall = 1.0 - mean_adc_ratio(clock.effective_h) if clock.visible else 0.0
    scatter = clock.adc_scatter if clock.visible else 1.0
    low_share, normal_share, raised_share = ADC_SHARES
    low = (1.0 - normal_share * _NEAR_NORMAL - raised_share * _RAISED) / low_share
    low_change, normal_change, raised_change = (
        TissueChange(
            pd_factor=1.0 + share * PD_AMPLITUDE * (1.0 - math.exp(-clock.effective_h / PD_TIME_H)),
            t1_factor=1.0 + share * T1_AMPLITUDE * (1.0 - math.exp(-clock.effective_h / T2_TIME_H)),
            t2_delta_ms=share * (t2_rise + clock.t2_offset_ms),
            adc_factor=(1.0 - depth * fall) * scatter,
        )
        for depth in (low, _NEAR_NORMAL, _RAISED)
    )
    return low_change, normal_change, raised_change
