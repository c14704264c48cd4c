"""How far readers agree: Fleiss' kappa, with an interval.

References:
    Fleiss 1971, doi 10.1037/h0031619.
    Gwet 2021 (its variance where readers do agree), doi 10.1177/0013164420973080.
"""

import math

import numpy as np
from jaxtyping import Int
from statsmodels.stats.inter_rater import fleiss_kappa

from tissueclock.comparing.statistics import Estimate, Interval, normal_z


def estimate_kappa(counts: Int[np.ndarray, "patient category"]) -> Estimate | None:
    """Fleiss' kappa of readers who each read every patient.

    Args:
        counts: How many readers chose each category; every patient has the same number of readers, at least 2.

    Returns:
        None where fewer than 2 patients were read, or all readings are the same.
    """
    n_patients, n_readers = len(counts), int(counts[0].sum()) if len(counts) else 0
    shares = counts / max(n_readers, 1)
    overall = shares.mean(axis=0) if n_patients else shares.sum(axis=0)
    if n_patients < 2 or (overall > 0).sum() < 2:
        return None
    by_chance = float((overall**2).sum())
    agreed = (counts * (counts - 1)).sum(axis=1) / (n_readers * (n_readers - 1))
    kappa = float(fleiss_kappa(counts))
    each = (agreed - by_chance) / (1 - by_chance)
    influence = each - 2 * (1 - kappa) * (shares @ overall - by_chance) / (1 - by_chance)
    half = normal_z() * math.sqrt(float(((influence - kappa) ** 2).sum()))
    half /= math.sqrt(n_patients * (n_patients - 1))
    return Estimate(kappa, Interval(max(-1.0, kappa - half), min(1.0, kappa + half)))
