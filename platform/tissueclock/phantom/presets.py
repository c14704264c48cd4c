"""How hard the phantom is: what is set, to which value, and why.

`collateral_sd` and `t2_offset_sd_ms` are the tissue's scatter and given (SCIENCE 8.3); they alone bound what an
observer can reach (with T2 known exactly: AUC 0.95, 0.85 and 0.81 for < 4.5 h). `residual_bias_sd` and
`csf_asymmetry_sd` are free: they were set so that a large lesion's ratios scatter by about 0.03 to 0.04 and 2,000
patients of `paper-like` give SCIENCE's observers. The same was done, once for all presets, with `nuisance.SHARE_3T` (a
higher field raises FLAIR ratios), `nuisance.BIAS_FACTOR` (FLAIR alone tells less than b0 and b1000 beside it),
`lesions.WHITE_PREFERENCE_MM` (white matter's ratios are higher), `lesions.EDGE_MM` and the movement of FLAIR (both blur
ratios towards 1). `describe` prints what comes out, and a benchmark test holds it.

The second version of the presets adds `pile_up` and `coil_sd`: in the first, summaries of a whole half alone (mean, SD,
median and 98th percentile of each series) told a half with a lesion from one without with an AUC of .88 on `easy`, so
that a detector at .9 had not shown that it knows where the lesion is. They were set so that the observers stay where
they were, and by real heads: two, without a stroke, in four scans (Philips, b 1000; Canon three times, b 1500), through
`preprocess`, on 12x48x24. There the log ratio of the halves' medians is -.01 and .03 to .04 on b1000, -.03 to .02 on
b0; the phantom's SD is .025 on either, .005 in the first version. The brightest 2 % of b1000's lower third are 1.11 to
1.24 times those above; the phantom's median is 1.21, from 1.03. From slice to slice real halves differ more: SD .03 to
.05 of b1000's log ratio, the phantom's .016. T2 shine-through was there before, in white matter disease: its T2 is
raised, its diffusion is not (Burdette et al. 1999, Radiology 212:333-339).
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from tissueclock.errors import CohortError

PILE_UP, COIL_SD = 0.4, 0.03


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
        pile_up: Median height of the bright spots above the skull base on b1000, as a share of the signal.
        coil_sd: SD of the log gain at the brain's side, per series, by which a coil sees one half better.
        version: Of the preset; 1 is that of 0.1.
    """

    name: str
    collateral_sd: float
    t2_offset_sd_ms: float
    residual_bias_sd: float
    csf_asymmetry_sd: float
    pile_up: float = 0.0
    coil_sd: float = 0.0
    version: int = 1

    def as_facts(self) -> dict[str, Any]:
        """`preset` and its `parameters`, as `cohort.json` has them; what 0.1 did not know where it is not off."""
        later = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        facts = {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}
        return {"preset": self.name, "parameters": facts}


_FIRST = (
    Preset("easy", collateral_sd=0.4, t2_offset_sd_ms=2.0, residual_bias_sd=0.006, csf_asymmetry_sd=0.06),
    Preset("paper-like", collateral_sd=0.8, t2_offset_sd_ms=5.0, residual_bias_sd=0.014, csf_asymmetry_sd=0.06),
    Preset("hard", collateral_sd=1.0, t2_offset_sd_ms=6.0, residual_bias_sd=0.022, csf_asymmetry_sd=0.06),
)

PRESETS: Mapping[str, Preset] = {
    preset.name: replace(preset, pile_up=PILE_UP, coil_sd=COIL_SD, version=2) for preset in _FIRST
} | {f"{preset.name}@1": preset for preset in _FIRST}


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
