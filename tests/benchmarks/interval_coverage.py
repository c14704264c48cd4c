"""How often the report's intervals hold the truth: simulated scores, `python -m tests.benchmarks.interval_coverage`.

Scores are normal, a standard deviation (or 1.8) apart between the classes, 40 % positive; told logits are 1.5 times too
extreme and .3 too high. Truth is what 400,000 units give, or a formula. Readers agree with a kappa of about .46.
"""

import sys
from collections import Counter

import numpy as np
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from tissueclock.comparing.agreement import estimate_kappa
from tissueclock.comparing.calibration import measure_calibration
from tissueclock.comparing.operating import SPECIFICITIES, estimate_auprc, estimate_sensitivity_at
from tissueclock.comparing.scores import Scores
from tissueclock.comparing.statistics import Estimate

N_TRUTH, N_DRAWS, PREVALENCE = 400_000, 1000, 0.4


def draw(n: int, apart: float, generator: np.random.Generator) -> Scores:
    labels = generator.random(n) < PREVALENCE
    log_odds = (
        apart * (generator.normal(size=n) + apart * labels) - apart**2 / 2 + np.log(PREVALENCE / (1 - PREVALENCE))
    )
    names = tuple(map(str, range(n)))
    return Scores(names, names, labels, 1.5 * log_odds + 0.3)


def readings(n: int, generator: np.random.Generator) -> np.ndarray:
    seen = generator.normal(size=n) + 1.2 * (generator.random(n) < 0.45)
    yes = sum((seen + 0.8 * generator.normal(size=n) > 0.6 + shift).astype(int) for shift in (-0.2, 0.0, 0.3))
    return np.stack([yes, 3 - yes], axis=1)


def measure(scores: Scores, counts: np.ndarray, generator: np.random.Generator) -> dict[str, Estimate | None]:
    told = measure_calibration(scores, temperature=1.0)
    at = {
        f"sensitivity at {s}": estimate_sensitivity_at(scores.labels, scores.logits, specificity=s, generator=generator)
        for s in SPECIFICITIES
    }
    return {
        "AUPRC": estimate_auprc(scores.labels, scores.logits),
        **at,
        "intercept": told.intercept,
        "slope": told.slope,
        "Brier": told.brier,
        "kappa": estimate_kappa(counts),
    }


def truth_of(apart: float, generator: np.random.Generator) -> dict[str, float]:
    large = draw(N_TRUTH, apart, generator)
    told = measure_calibration(large, temperature=1.0)
    kappa = estimate_kappa(readings(N_TRUTH, generator))
    assert told.intercept is not None
    assert kappa is not None
    return {
        "AUPRC": float(average_precision_score(large.labels, large.logits)),
        **{f"sensitivity at {s}": float(1 - norm.cdf(norm.ppf(s) - apart)) for s in SPECIFICITIES},
        "intercept": told.intercept.value,
        "slope": 1 / 1.5,
        "Brier": told.brier.value,
        "kappa": kappa.value,
    }


def main(n: int, apart: float) -> None:
    generator = np.random.default_rng(1)
    truth = truth_of(apart, generator)
    held: Counter[str] = Counter()
    for _ in range(N_DRAWS):
        found = measure(draw(n, apart, generator), readings(n, generator), generator)
        held.update(
            name
            for name, estimate in found.items()
            if estimate is not None and estimate.interval.low <= truth[name] <= estimate.interval.high
        )
    print(f"n = {n}, {apart} SD apart:", ", ".join(f"{name} {held[name] / N_DRAWS:.1%}" for name in truth))


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or ("40", "82", "400")):
        main(size, 1.0)
    main(82, 1.8)
