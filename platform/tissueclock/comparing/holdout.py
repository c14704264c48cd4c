"""What one promoted checkpoint scored on the holdout, judged at the threshold of validation.

The figures are made anew from the scores; those in `holdout.json` are held against them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tissueclock.comparing.calibration import Calibration, fit_temperature, measure_calibration, temperature_of_mean
from tissueclock.comparing.operating import Operating, measure_operating
from tissueclock.comparing.scores import COLUMNS, Confusion, Scores, count_calls, read_regions, read_scores
from tissueclock.comparing.statistics import AucEstimate, Interval, bootstrap_auc, estimate_auc
from tissueclock.errors import InputError
from tissueclock.storage.folders import WITHOUT_FLAIR, PromotedFolder
from tissueclock.storage.tsv import read_rows

_TOLERANCE = 1e-3
"""`holdout.json` may be this far from its scores: rounded logits move it less, one patient of 500 more."""


@dataclass(frozen=True, slots=True, eq=False)
class HoldoutResult:
    """A checkpoint, judged on the holdout.

    Attributes:
        unit: What was scored: `hemisphere` or `patient`.
        onset_before_min: The cut of an onset question, minutes; None for any other question.
        threshold: The logit from which on a unit is called positive, chosen on validation.
        scores: The scores.
        auc: With DeLong's interval; None where the holdout holds one class only.
        bootstrap: Of the AUC, over patients; None where it was not asked for or there is no AUC.
        confusion: At the threshold.
        validation: The AUC of the units that judged it, by networks that never learned from them; None where a study
            before 0.2 kept no such scores.
        operating: At other points, with what `bootstrap` was asked with; None where that is.
        calibration: Of the probability at the temperature that validation chose, 1 where it is not known; likewise.
        attention_in_lesion: The mean share, in [0, 1]; None where no lesions are known or no voxels are attended.
        with_region: The units in which the radiomics baseline found a region of interest; None for any network.
        without_flair: The same units, scored with their FLAIR taken away, where the network can do without.
        left_out: Where each fold was a site: who judged, each scored by networks that saw nobody of the same site.
        complaints: Where `holdout.json` and the scores disagree, a line each.
    """

    unit: str
    onset_before_min: float | None
    threshold: float
    scores: Scores
    auc: AucEstimate | None
    bootstrap: Interval | None
    confusion: Confusion
    validation: AucEstimate | None
    operating: Operating | None
    calibration: Calibration | None
    attention_in_lesion: float | None
    with_region: frozenset[str] | None
    without_flair: Scores | None
    left_out: Scores | None
    complaints: tuple[str, ...]


def judge_holdout(folder: PromotedFolder, *, generator: np.random.Generator | None = None) -> HoldoutResult:
    """Reads a promoted checkpoint's holdout scores and judges them.

    Args:
        folder: The checkpoint's.
        generator: For the bootstrap; None leaves out what needs it, and what only the first of a sweep is asked for.

    Raises:
        InputError: A file is missing or damaged.
    """
    facts = folder.read_holdout("threshold")
    scores = read_scores(folder.holdout_scores)
    judging = read_scores(folder.validation_scores) if folder.validation_scores.is_file() else None
    threshold = float(facts["threshold"])
    auc = bootstrap = operating = calibration = None
    if scores.has_both:
        auc = estimate_auc(scores.labels, scores.logits, patients=scores.patients)
        if generator is not None:
            bootstrap = bootstrap_auc(scores.labels, scores.logits, scores.patients, generator=generator)
            operating = measure_operating(scores, threshold=threshold, generator=generator)
            temperature = 1.0
            if judging:
                temperature = temperature_of_mean(fit_temperature(judging), judges=judging, others=scores)
            calibration = measure_calibration(scores, temperature=temperature)
    confusion = count_calls(scores.labels, scores.logits >= threshold)
    return HoldoutResult(
        unit=str(facts["unit"]),
        onset_before_min=facts.get("onset_before_min"),
        threshold=threshold,
        scores=scores,
        auc=auc,
        bootstrap=bootstrap,
        confusion=confusion,
        validation=_estimate(judging),
        operating=operating,
        calibration=calibration,
        attention_in_lesion=facts["metrics"].get("attention_in_lesion"),
        with_region=read_regions(folder.holdout_scores),
        without_flair=_without_flair(folder.holdout_scores, scores),
        left_out=judging if facts.get("by_site") else None,
        complaints=_complaints(folder.holdout, facts["metrics"], auc=auc, confusion=confusion),
    )


def _without_flair(path: Path, scores: Scores) -> Scores | None:
    cells = [row.cells.get(WITHOUT_FLAIR) for row in read_rows(path, required=COLUMNS)]
    try:
        logits = np.array([float(cell) for cell in cells if cell is not None])
    except ValueError as error:
        raise InputError(f"{path}: {WITHOUT_FLAIR}: {error}") from None
    return replace(scores, logits=logits, by_fold=None) if len(logits) == len(scores.units) else None


def _estimate(scores: Scores | None) -> AucEstimate | None:
    if scores is None or not scores.has_both:
        return None
    return estimate_auc(scores.labels, scores.logits, patients=scores.patients)


def _complaints(
    path: Path, claimed: dict[str, Any], *, auc: AucEstimate | None, confusion: Confusion
) -> tuple[str, ...]:
    found = {
        "auc": auc and auc.auc,
        "sensitivity": confusion.sensitivity and confusion.sensitivity.value,
        "specificity": confusion.specificity and confusion.specificity.value,
        "accuracy": confusion.accuracy and confusion.accuracy.value,
    }
    return tuple(
        f"{path}: {name} is {claimed[name]:.4f}, but the scores beside it give {value:.4f}"
        for name, value in found.items()
        if value is not None and claimed.get(name) is not None and abs(claimed[name] - value) > _TOLERANCE
    )
