"""Three simulated readers of DWI-FLAIR mismatch: they see the FLAIR ratio through noise, each with an own cut.

Cuts and noise were set on 4,000 `paper-like` patients to the sensitivities for < 4.5 h of the three neuroradiologists
in Zhang et al. 2021 (23/42, 18/42, 24/42) and to Fleiss' kappa 0.46; their specificities (34/40, 37/40, 26/40) then
come out at 0.78, 0.85 and 0.63.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

VISIBLE_B1000_RATIO = 1.10
"""Below this a reader sees no lesion on DWI, and so no mismatch."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader: calls mismatch where the FLAIR ratio, seen with noise of SD `log_noise_sd`, is below `flair_cut`."""

    name: str
    flair_cut: float
    log_noise_sd: float


READERS = (
    Reader("reader_1", flair_cut=1.112, log_noise_sd=0.06),
    Reader("reader_2", flair_cut=1.072, log_noise_sd=0.05),
    Reader("reader_3", flair_cut=1.155, log_noise_sd=0.13),
)


def read_mismatch(features: Mapping[str, float], rng: np.random.Generator) -> dict[str, bool]:
    """Whether each reader calls a mismatch.

    Args:
        features: `ratio_b1000` and `ratio_flair` of the lesion.
        rng: Where chance comes from.
    """
    noise = rng.standard_normal(len(READERS))
    seen = features["ratio_b1000"] >= VISIBLE_B1000_RATIO
    return {
        reader.name: bool(
            seen and math.log(features["ratio_flair"]) + reader.log_noise_sd * noise[i] < math.log(reader.flair_cut)
        )
        for i, reader in enumerate(READERS)
    }
