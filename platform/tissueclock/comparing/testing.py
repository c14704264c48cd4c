"""Whether two answers to one question differ: calls (McNemar), many tests (Holm), no difference that matters (TOST).

References:
    McNemar 1947, doi 10.1007/BF02295996.
    Holm 1979, https://www.jstor.org/stable/4615733.
    Schuirmann 1987 (two one-sided tests), doi 10.1007/BF01068419.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from scipy.special import ndtr
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tissueclock.comparing.statistics import CONFIDENCE, AucDifference
from tissueclock.errors import InputError

Verdict = Literal["first is better", "second is better", "equivalent", "undecided"]


@dataclass(frozen=True, slots=True)
class PairedCalls:
    """Where two calls on the same units disagree.

    Attributes:
        n_first: Units that the first alone calls rightly.
        n_second: Units that the second alone calls rightly.
        p: Two-sided, exact (McNemar); 1 where they never disagree.
    """

    n_first: int
    n_second: int
    p: float


def compare_calls(
    labels: Bool[np.ndarray, " unit"], first: Bool[np.ndarray, " unit"], second: Bool[np.ndarray, " unit"]
) -> PairedCalls:
    """McNemar's exact test of two yes/no calls on the same independent units."""
    right_first, right_second = first == labels, second == labels
    table = [[int((a & b).sum()) for b in (right_second, ~right_second)] for a in (right_first, ~right_first)]
    return PairedCalls(table[0][1], table[1][0], float(mcnemar(table, exact=True).pvalue))


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values, in the order given; what has none keeps none and counts for none."""
    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def equivalence_p(difference: AucDifference, *, margin: float) -> float | None:
    """P value of two one-sided tests that the AUCs differ by less than the margin; None where the variance is 0.

    Args:
        difference: Of two AUCs on the same units.
        margin: In (0, 1).

    Raises:
        InputError: The margin is out of bounds.
    """
    if not 0 < margin < 1:
        raise InputError(f"margin is {margin}; allowed: above 0 and below 1, in AUC")
    if difference.variance <= 0:
        return None
    error = math.sqrt(difference.variance)
    return float(max(ndtr((abs(difference.difference) - margin) / error), 0.0))


def judge_difference(
    difference: AucDifference, *, p: float | None, margin: float, alpha: float = 1.0 - CONFIDENCE
) -> Verdict:
    """What two AUCs on the same units allow to say.

    A difference that is certain but smaller than the margin is called equivalent: it does not matter.

    Args:
        difference: First minus second.
        p: That they are equal, adjusted for the tests beside it; None where it is not known.
        margin: Differences below it do not matter.
        alpha: Below which a p value decides.
    """
    equivalent = equivalence_p(difference, margin=margin)
    if equivalent is not None and equivalent < alpha:
        return "equivalent"
    if p is None or p >= alpha:
        return "undecided"
    return "first is better" if difference.difference > 0 else "second is better"
