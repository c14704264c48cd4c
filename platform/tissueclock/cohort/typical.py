"""What is typical of a group of patients, and how far another one is from it: so that one unlike all others is told.

A distance over all figures at once (Mahalanobis 1936), its covariance shrunk (Ledoit & Wolf 2004, doi
10.1016/S0047-259X(03)00096-4); its bound is what patients have who were left out of the fit in turn, so that of sound
patients about one in 200 lies beyond, or one in n + 1 where there are fewer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.covariance import LedoitWolf

from tissueclock.errors import CohortError

BEYOND = 0.005
FEWEST = 10
"""Patients below which nothing is called typical."""

_N_PARTS = 10
_LEAST_SD = 0.02
"""A figure that all patients have to the last digit is given this standard deviation: rounding is no difference."""


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """What is typical of a group of patients.

    Attributes:
        names: The figures.
        mean: Of each.
        sd: Of each, at least .02.
        precision: The inverse of the shrunk covariance of the standardised figures.
        limit: The distance beyond which a patient is unlike all others.
        n: Patients it was made of.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " figure"]
    sd: Float[np.ndarray, " figure"]
    precision: Float[np.ndarray, "figure figure"]
    limit: float
    n: int

    def distance(self, figures: Mapping[str, float]) -> float:
        """How far a patient is from what is typical; infinite where a figure cannot be said."""
        return float(_distances(self._standardised([figures]), self.precision)[0])

    def oddest(self, figures: Mapping[str, float]) -> str:
        """The figure that is furthest from what it typically is, in words."""
        z = self._standardised([figures])[0]
        i = int(np.argmax(np.where(np.isfinite(z), np.abs(z), np.inf)))
        value = figures[self.names[i]]
        low, high = self.mean[i] - 3 * self.sd[i], self.mean[i] + 3 * self.sd[i]
        return f"{self.names[i]}: {value:.2f}; typical is {low:.2f} to {high:.2f}"

    def as_facts(self) -> dict[str, Any]:
        """All of it as JSON facts, which `from_facts` takes."""
        return {
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "precision": self.precision.tolist(),
            "limit": self.limit,
            "n": self.n,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Typical":
        """What `as_facts` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        names = tuple(str(name) for name in facts["names"])
        mean, sd, precision = (np.asarray(facts[key], dtype=float) for key in ("mean", "sd", "precision"))
        if not (mean.shape == sd.shape == (len(names),) and precision.shape == (len(names), len(names))):
            raise ValueError(f"{len(names)} figures, but {mean.shape}, {sd.shape} and {precision.shape} numbers")
        return cls(names, mean, sd, precision, float(facts["limit"]), int(facts["n"]))

    def _standardised(self, patients: Sequence[Mapping[str, float]]) -> Float[np.ndarray, "patient figure"]:
        values = np.array([[figures.get(name, np.nan) for name in self.names] for figures in patients])
        return np.asarray((values - self.mean) / self.sd)


def find_typical(patients: Sequence[Mapping[str, float]]) -> Typical:
    """What is typical of these patients.

    Args:
        patients: The figures of each by name, the same names for all; a patient without one of them is left out.

    Raises:
        CohortError: There are fewer than 10.
    """
    names = tuple(patients[0]) if patients else ()
    values = np.array([[figures[name] for name in names] for figures in patients]).reshape(len(patients), len(names))
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < FEWEST:
        raise CohortError(f"{len(values)} patients with all figures; at least {FEWEST} are needed to call any typical")
    part = np.arange(len(values)) % min(_N_PARTS, len(values))
    distances = np.empty(len(values))
    for own in np.unique(part):
        mean, sd, precision = _fit(values[part != own])
        distances[part == own] = _distances((values[part == own] - mean) / sd, precision)
    rank = max(1, int(BEYOND * (len(values) + 1)))
    return Typical(names, *_fit(values), limit=float(np.sort(distances)[-rank]), n=len(values))


def _fit(
    values: Float[np.ndarray, "patient figure"],
) -> tuple[Float[np.ndarray, " figure"], Float[np.ndarray, " figure"], Float[np.ndarray, "figure figure"]]:
    mean, sd = values.mean(axis=0), np.maximum(values.std(axis=0), _LEAST_SD)
    return mean, sd, np.asarray(LedoitWolf(assume_centered=True).fit((values - mean) / sd).precision_)


def _distances(
    standardised: Float[np.ndarray, "patient figure"], precision: Float[np.ndarray, "figure figure"]
) -> Float[np.ndarray, " patient"]:
    known = np.isfinite(standardised).all(axis=1)
    filled = np.where(known[:, None], standardised, 0.0)
    squares = np.einsum("pi,ij,pj->p", filled, precision, filled)
    return np.asarray(np.where(known, np.sqrt(np.maximum(squares, 0.0)), np.inf))
