"""Spin echo and FLAIR signals of brain tissue, normal and ischaemic.

Knows tissues, not anatomy. References: relaxation times from A * B0**C fits of brain tissue (mrtwin's single-pool
table; Bojorquez et al. 2017, doi 10.1016/j.mri.2016.08.021, for the spread), diffusivities from JNNP tables of normal
adults; sequence times are typical of clinical stroke protocols.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tissueclock.channels import SeriesName

FieldStrength = Literal["1.5T", "3T"]
Tissue = Literal["gm", "wm", "csf"]

SPIN_ECHO_TR_MS, SPIN_ECHO_TE_MS = 6000.0, 90.0
FLAIR_TR_MS, FLAIR_TE_MS, FLAIR_TI_MS = 9000.0, 120.0, 2500.0
B_VALUE_S_MM2 = 1000.0

_T2_FACTOR_3T = 0.87
"""T2 shortens with the field; the factor is an assumption."""

_LONG_T2_MS = 3000.0


@dataclass(frozen=True, slots=True)
class TissueParameters:
    """What a tissue's signal depends on.

    Attributes:
        pd: Proton density, relative to water.
        t1_ms: Longitudinal relaxation time.
        t2_ms: Transverse relaxation time.
        adc_um2_ms: Apparent diffusion coefficient (1 um2/ms = 1e-3 mm2/s).
    """

    pd: float
    t1_ms: float
    t2_ms: float
    adc_um2_ms: float


@dataclass(frozen=True, slots=True)
class TissueChange:
    """What ischaemia has changed in a tissue; the defaults change nothing.

    Attributes:
        pd_factor: Of proton density.
        t1_factor: Of T1.
        t2_delta_ms: Added to T2.
        adc_factor: Of the diffusion coefficient.
    """

    pd_factor: float = 1.0
    t1_factor: float = 1.0
    t2_delta_ms: float = 0.0
    adc_factor: float = 1.0


_T1_MS: Mapping[FieldStrength, Mapping[Tissue, float]] = {
    "1.5T": {"gm": 998.0, "wm": 681.0, "csf": 4200.0},
    "3T": {"gm": 1295.0, "wm": 887.0, "csf": 4200.0},
}
_PD: Mapping[Tissue, float] = {"gm": 0.86, "wm": 0.77, "csf": 1.0}
_T2_MS: Mapping[Tissue, float] = {"gm": 100.0, "wm": 80.0, "csf": 1990.0}
_ADC_UM2_MS: Mapping[Tissue, float] = {"gm": 0.88, "wm": 0.79, "csf": 3.0}


def normal_tissue(tissue: Tissue, field: FieldStrength) -> TissueParameters:
    """The parameters of healthy tissue at a field strength.

    >>> normal_tissue("wm", "1.5T").t1_ms
    681.0
    """
    factor = _T2_FACTOR_3T if field == "3T" and tissue != "csf" else 1.0
    return TissueParameters(
        pd=_PD[tissue],
        t1_ms=_T1_MS[field][tissue],
        t2_ms=_T2_MS[tissue] * factor,
        adc_um2_ms=_ADC_UM2_MS[tissue],
    )


def change_tissue(normal: TissueParameters, change: TissueChange) -> TissueParameters:
    """The parameters of tissue after a change; T2 stays above zero."""
    return TissueParameters(
        pd=normal.pd * change.pd_factor,
        t1_ms=normal.t1_ms * change.t1_factor,
        t2_ms=min(max(normal.t2_ms + change.t2_delta_ms, 1.0), _LONG_T2_MS),
        adc_um2_ms=normal.adc_um2_ms * change.adc_factor,
    )


def spin_echo(tissue: TissueParameters, *, b_s_mm2: float) -> float:
    """Signal of a diffusion-weighted spin echo: PD (1 - exp(-TR/T1)) exp(-TE/T2) exp(-b ADC)."""
    recovery = 1.0 - math.exp(-SPIN_ECHO_TR_MS / tissue.t1_ms)
    decay = math.exp(-SPIN_ECHO_TE_MS / tissue.t2_ms)
    return tissue.pd * recovery * decay * math.exp(-b_s_mm2 * tissue.adc_um2_ms * 1e-3)


def flair(tissue: TissueParameters) -> float:
    """Signal of a magnitude inversion recovery: PD exp(-TE/T2) |1 - 2 exp(-TI/T1) + exp(-TR/T1)|."""
    recovery = abs(1.0 - 2.0 * math.exp(-FLAIR_TI_MS / tissue.t1_ms) + math.exp(-FLAIR_TR_MS / tissue.t1_ms))
    return tissue.pd * math.exp(-FLAIR_TE_MS / tissue.t2_ms) * recovery


def signals(tissue: TissueParameters) -> dict[SeriesName, float]:
    """The tissue's signal in each series, relative to fully relaxed water without decay."""
    return {
        "b0": spin_echo(tissue, b_s_mm2=0.0),
        "b1000": spin_echo(tissue, b_s_mm2=B_VALUE_S_MM2),
        "flair": flair(tissue),
    }
