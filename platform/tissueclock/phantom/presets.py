"""How hard the phantom is: what is set, to which value, and why.

`collateral_sd` and `t2_offset_sd_ms` are the tissue's scatter and given (SCIENCE 8.3); they alone bound what an
observer can reach (with T2 known exactly: AUC 0.95, 0.85 and 0.81 for < 4.5 h). `residual_bias_sd` and
`csf_asymmetry_sd` are free: they were set so that a large lesion's ratios scatter by about 0.03 to 0.04 and 2,000
patients of `paper-like` give SCIENCE's observers. The same was done, once for all presets, with `nuisance.SHARE_3T` (a
higher field raises FLAIR ratios), `nuisance.BIAS_FACTOR` (FLAIR alone tells less than b0 and b1000 beside it),
`lesions.WHITE_PREFERENCE_MM` (white matter's ratios are higher), `lesions.EDGE_MM` and the movement of FLAIR (both blur
ratios towards 1). `describe` prints what comes out, and a benchmark test holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tissueclock.errors import CohortError


@dataclass(frozen=True, slots=True)
class Preset:
    """The free parameters of the phantom.

    Attributes:
        name: What it is called in `cohort.json`.
        collateral_sd: SD of the natural log of tissue time over clock time (collateral flow).
        t2_offset_sd_ms: SD of a patient's own T2 shift in the lesion.
        residual_bias_sd: SD of the gain field, per series, that bias correction leaves behind (`nuisance.BIAS_FACTOR`
            times as much in FLAIR); a lesion and its mirror image sit far apart in it, so that it scatters their ratio.
        csf_asymmetry_sd: SD of the log exponent that widens or narrows sulci locally; scatters b0, where CSF is bright.
    """

    name: str
    collateral_sd: float
    t2_offset_sd_ms: float
    residual_bias_sd: float
    csf_asymmetry_sd: float


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("easy", collateral_sd=0.4, t2_offset_sd_ms=2.0, residual_bias_sd=0.006, csf_asymmetry_sd=0.06),
        Preset("paper-like", collateral_sd=0.8, t2_offset_sd_ms=5.0, residual_bias_sd=0.014, csf_asymmetry_sd=0.06),
        Preset("hard", collateral_sd=1.0, t2_offset_sd_ms=6.0, residual_bias_sd=0.022, csf_asymmetry_sd=0.06),
    )
}


def find_preset(preset: Preset | str) -> Preset:
    """The preset of that name; a preset is returned as it is.

    Raises:
        CohortError: There is no such preset.
    """
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise CohortError(f"phantom: preset {preset!r} found; allowed: {', '.join(PRESETS)}")
    return PRESETS[preset]
