"""What the patients who judged a checkpoint say of its logit for another one: a probability, and what can be ruled out.

References:
    Guo et al. 2017 (temperature), arXiv 1706.04599.
    Vovk et al. 2005 (conformal prediction, by class), doi 10.1007/b106715.
    Vovk 2015 (cross-conformal: each fold by its own networks), doi 10.1007/s10472-013-9368-4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy.special import expit

from tissueclock.cohort.typical import FEWEST, Typical, find_typical
from tissueclock.comparing.calibration import fit_temperature, temperature_of_mean
from tissueclock.comparing.scores import Scores, read_scores
from tissueclock.comparing.statistics import Rate, estimate_rate
from tissueclock.errors import CheckpointError
from tissueclock.storage.folders import ONSET_MIN, SEEN, PromotedFolder
from tissueclock.storage.tsv import read_rows

Told = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Similar:
    """A patient of known onset in whom the networks saw something similar.

    Attributes:
        onset_min: Minutes.
        distance: In standard deviations, the root mean square over the figures.
        figures: The logit, and what was seen.
    """

    onset_min: float
    distance: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """The patients who judged a checkpoint, scored by networks that never learned from them.

    Attributes:
        scores: Their logits.
        folds: Which of the checkpoint's folds each validated, from 0.
        temperature: What the mean logit of all folds is divided by, to be log-odds.
        fold_temperature: What the logit of one fold's networks is.
        seen: What their networks saw of each, by name; NaN where it cannot be said. Empty where they attend to nothing.
        onset_min: Of each, minutes; NaN where it is not known, or was not written.
    """

    scores: Scores
    folds: Int64[ndarray, " unit"]
    temperature: float
    fold_temperature: float
    seen: Mapping[str, Float[ndarray, " unit"]] = field(default_factory=dict)
    onset_min: Float[ndarray, " unit"] | None = None
    _typical: dict[tuple[str, ...], Typical | None] = field(default_factory=dict)

    def probability(self, logit: float) -> float:
        """The calibrated probability of yes for the mean logit of all folds: what the report judges on the holdout."""
        return float(expit(logit / self.temperature))

    def probability_of_fold(self, logit: float) -> float:
        """The same for the logit of one fold's networks."""
        return float(expit(logit / self.fold_temperature))

    def find_typical(self, names: Sequence[str]) -> Typical | None:
        """What of the logit and these figures is typical of the judges, found once; None where they are too few."""
        if (key := tuple(names)) not in self._typical:
            self._typical[key] = self._make_typical(key)
        return self._typical[key]

    def _make_typical(self, names: Sequence[str]) -> Typical | None:
        told = {n: own for n, own in self._figures(names).items() if np.isfinite(own).sum() >= 2 * FEWEST}
        if not told or np.isfinite(list(told.values())).all(axis=0).sum() < 2 * FEWEST:
            return None
        rows = [{name: float(own[i]) for name, own in told.items()} for i in range(len(self.scores.units))]
        return find_typical(rows)

    def find_similar(self, figures: Mapping[str, float], *, n: int) -> tuple[Similar, ...]:
        """The judges of known onset whose logit and figures are nearest, in standard deviations; the nearest first.

        Args:
            figures: The patient's `logit` and what the networks saw, by name.
            n: At most so many.
        """
        if self.onset_min is None:
            return ()
        told = self._figures([name for name in self.seen if name in figures])
        z = [(own - figures[name]) / max(float(np.nanstd(own)), 1e-6) for name, own in told.items()]
        distances = np.sqrt(np.mean(np.square(z), axis=0))
        distances[~np.isfinite(distances) | ~np.isfinite(self.onset_min)] = np.inf
        nearest = [int(i) for i in np.argsort(distances, kind="stable")[:n] if np.isfinite(distances[i])]
        return tuple(
            Similar(float(self.onset_min[i]), float(distances[i]), {name: float(own[i]) for name, own in told.items()})
            for i in nearest
        )

    def _figures(self, names: Sequence[str]) -> dict[str, Float[ndarray, " unit"]]:
        return {"logit": self.scores.logits, **{name: self.seen[name] for name in names}}

    def credibility(self, by_fold: Float[ndarray, " fold"]) -> tuple[float, float]:
        """How credible "no" and "yes" are for a patient: conformal p-values, each from the judges of that class.

        Of patients of a class, at most about a share e have one below e for it.

        Args:
            by_fold: The patient's logit by each fold's networks.
        """
        own = by_fold[self.folds]
        no, yes = ~self.scores.labels, self.scores.labels
        n_as_odd = (self.scores.logits >= own)[no].sum(), (self.scores.logits <= own)[yes].sum()
        return float((n_as_odd[0] + 1) / (no.sum() + 1)), float((n_as_odd[1] + 1) / (yes.sum() + 1))


def read_judges(promoted: PromotedFolder, *, n_folds: int) -> Judges:
    """Reads `validation.tsv` of a checkpoint.

    Raises:
        CheckpointError: The checkpoint was scored before folds were told.
        InputError: The table is missing or damaged.
    """
    path = promoted.validation_scores
    scores = read_scores(path)
    cells = [row.cells for row in read_rows(path, required=("unit",))]
    if "fold" not in cells[0]:
        raise CheckpointError(f"{path}: no column fold; delete holdout.json beside it and run tissueclock sweep again")
    told = {row["fold"] for row in cells}
    if wrong := told - {str(fold) for fold in range(1, n_folds + 1)}:
        raise CheckpointError(f"{path}: fold {min(wrong)!r} found; 1 to {n_folds} are allowed")
    folds = np.array([int(row["fold"]) - 1 for row in cells], dtype=np.int64)
    columns = {name: _numbers(cells, name) for name in (*SEEN, ONSET_MIN) if name in cells[0]}
    seen = {name: values for name, values in columns.items() if name in SEEN}
    one_fold = fit_temperature(scores)
    holdout = read_scores(promoted.holdout_scores)
    temperature = temperature_of_mean(one_fold, judges=scores, others=holdout)
    return Judges(scores, folds, temperature, one_fold, seen, columns.get(ONSET_MIN))


def _numbers(cells: Sequence[Mapping[str, str]], name: str) -> Float[ndarray, " unit"]:
    """A column's numbers; NaN where there is none."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(row[name]) for row in cells])


@dataclass(frozen=True, slots=True)
class Coverage:
    """How an error rate was met by patients who took no part.

    Attributes:
        covered: Of all, those for whom the right answer was credible: 1 less the error rate, if conformal prediction
            holds.
        right: Of all, those for whom the wrong answer was not told; where neither is credible nothing is told.
        told: Of all, those who were told yes or no.
    """

    covered: Rate
    right: Rate
    told: Rate


def measure_coverage(judges: Judges, holdout: Scores, *, error_rate: float) -> Coverage:
    """How the error rate is met on a holdout; where folds' logits were not kept, the mean stands for each."""
    n_folds = int(judges.folds.max()) + 1
    by_fold = np.tile(holdout.logits, (n_folds, 1)) if holdout.by_fold is None else holdout.by_fold
    credible = [judges.credibility(own) for own in by_fold.T]
    said = [tell(*both, error_rate=error_rate) for both in credible]
    labels = holdout.labels.tolist()
    n_covered = sum(both[label] > error_rate for both, label in zip(credible, labels, strict=True))
    n_wrong = sum(word == ("no" if label else "yes") for word, label in zip(said, labels, strict=True))
    n_told = sum(word != "cannot tell" for word in said)
    covered, right, told = (estimate_rate(hits, len(said)) for hits in (n_covered, len(said) - n_wrong, n_told))
    return Coverage(covered, right, told)


def tell(credible_no: float, credible_yes: float, *, error_rate: float) -> Told:
    """`yes` or `no` where that answer alone is credible; where both are or neither is, nothing can be told."""
    no, yes = credible_no > error_rate, credible_yes > error_rate
    return "cannot tell" if no == yes else "yes" if yes else "no"


def fit_side_temperature(judges: Scores, holdout: Scores) -> float:
    """The temperature of the difference between a patient's halves, mean over the folds.

    Args:
        judges: By halves; those with a lesion on one side alone count.
        holdout: By halves, with each fold's logits where there are several; the labels are not used.
    """
    differing = _between_halves(judges)
    sided = [i for i, unit in enumerate(differing.units) if _lesions_of(judges, unit) == 1]
    one_sided = differing.take(tuple(differing.units[i] for i in sided))
    return temperature_of_mean(fit_temperature(one_sided), judges=one_sided, others=_between_halves(holdout))


def _lesions_of(scores: Scores, patient: str) -> int:
    return sum(bool(label) for own, label in zip(scores.patients, scores.labels, strict=True) if own == patient)


def _between_halves(scores: Scores) -> Scores:
    """A unit a patient: the left half's logits less the right one's, and whether the left half holds a lesion."""
    place = {unit: i for i, unit in enumerate(scores.units)}
    names = tuple(p for p in dict.fromkeys(scores.patients) if {f"{p}/left", f"{p}/right"} <= place.keys())
    left, right = (np.array([place[f"{p}/{side}"] for p in names], dtype=np.int64) for side in ("left", "right"))
    by_fold = None if scores.by_fold is None else scores.by_fold[:, left] - scores.by_fold[:, right]
    return Scores(names, names, scores.labels[left], scores.logits[left] - scores.logits[right], by_fold)
