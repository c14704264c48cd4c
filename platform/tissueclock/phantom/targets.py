"""What a phantom of 2,000 patients should measure: published figures, and those the observers were calibrated to."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and how far from it is near enough, at 2,000 patients."""

    value: float
    tolerance: float


OBSERVER_TOLERANCE, CHANCE_TOLERANCE = 0.03, 0.04

COMMON: Mapping[str, Target] = {
    "onset_p05_min": Target(58.0, 6.0),
    "onset_p25_min": Target(105.0, 5.0),
    "onset_p50_min": Target(222.0, 10.0),
    "onset_p75_min": Target(715.0, 35.0),
    "onset_p90_min": Target(1440.0, 75.0),
    "share_under_3h": Target(0.40, 0.01),
    "share_under_4h5": Target(0.54, 0.01),
    "volume_p25_ml": Target(2.7, 0.6),
    "volume_p50_ml": Target(8.0, 1.2),
    "volume_p75_ml": Target(23.5, 4.0),
    "share_left": Target(0.50, 0.04),
    "share_both_sides": Target(0.08, 0.02),
    "share_dwi_invisible": Target(0.05, 0.015),
    "flair_ratio_1h": Target(1.03, 0.03),
    "flair_ratio_3h": Target(1.08, 0.03),
    "flair_ratio_4.5h": Target(1.11, 0.03),
    "flair_ratio_6h": Target(1.14, 0.03),
    "flair_ratio_12h": Target(1.21, 0.03),
    "flair_ratio_24h": Target(1.29, 0.03),
}

_OBSERVED = (
    "auc_flair_4h5",
    "auc_observer_4h5",
    "auc_observer_3h",
    "r_flair_48h",
    "sensitivity_1.18_6h",
    "specificity_1.18_6h",
    "sensitivity_1.12_4h5",
    "specificity_1.12_4h5",
)

_OBSERVED_BY_PRESET: Mapping[str, tuple[float, ...]] = {
    "easy": (0.92, 0.94, 0.92, 0.72, 0.94, 0.68, 0.84, 0.70),
    "paper-like": (0.80, 0.85, 0.82, 0.53, 0.83, 0.63, 0.70, 0.64),
    "hard": (0.76, 0.81, 0.79, 0.45, 0.78, 0.61, 0.65, 0.62),
}

_READERS: Mapping[str, Target] = {
    # Zhang et al. 2021: kappa 0.46; 23/42, 18/42, 24/42 and 34/40, 37/40, 26/40; majority 24/42 and 35/40. The shares
    # may be off by one and a half standard errors of those fractions.
    "readers_kappa": Target(0.46, 0.05),
    "reader_1_sensitivity": Target(0.55, 0.12),
    "reader_1_specificity": Target(0.85, 0.12),
    "reader_2_sensitivity": Target(0.43, 0.12),
    "reader_2_specificity": Target(0.92, 0.12),
    "reader_3_sensitivity": Target(0.57, 0.12),
    "reader_3_specificity": Target(0.65, 0.12),
    "majority_sensitivity": Target(0.57, 0.12),
    "majority_specificity": Target(0.88, 0.12),
}

_CHANCE: Mapping[str, Target] = {
    f"auc_{name}": Target(0.5, CHANCE_TOLERANCE)
    for name in (
        "flair_4h5", "b0_4h5", "b1000_4h5", "observer_4h5", "observer_3h",
        "reader_1_4h5", "reader_2_4h5", "reader_3_4h5", "majority_4h5",
    )
} | {"r_flair_48h": Target(0.0, CHANCE_TOLERANCE * 2)}  # fmt: skip


def targets_for(preset: str, *, permuted: bool) -> dict[str, Target]:
    """The targets of a preset, by the names that `describe` uses; with permuted onset times every observer's is chance.

    A preset of one's own has only the targets that all share. Readers are tuned on `paper-like` alone.
    """
    if permuted:
        return {**COMMON, **_CHANCE}
    values = _OBSERVED_BY_PRESET.get(preset, ())
    observed = {name: Target(value, OBSERVER_TOLERANCE) for name, value in zip(_OBSERVED, values, strict=False)}
    return {**COMMON, **observed, **(_READERS if preset == "paper-like" else {})}
