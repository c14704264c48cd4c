"""Each patient's answer: hemisphere, probabilities, what can be told at an error rate; or a refusal and its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import expit

from tissueclock.answering.judging import Told, tell
from tissueclock.answering.model import Asked, Model
from tissueclock.channels import SERIES
from tissueclock.cohort.descriptions import Description, describe_cohort
from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.grid import Side
from tissueclock.training.prediction import Predictions, predict

SIDES: tuple[Side, Side] = ("left", "right")
ChosenBy = Literal["detection", "participants.tsv", "brighter b1000"]

SURE_SIDE = 0.9
"""Below it the choice of the hemisphere is flagged."""

_BRIGHT = 0.995
_HIGHER_CUT_TOO_LOW = 0.05


@dataclass(frozen=True, slots=True)
class OnsetAnswer:
    """Whether the onset was less than a cut ago.

    Attributes:
        onset_before_min: The cut.
        probability: Calibrated on the patients who judged the checkpoint.
        lowest: Of the probabilities by each of its replicas and by the other promoted checkpoints.
        highest: Likewise.
        call: Whether the logit reaches the threshold that validation chose.
        told: `yes` or `no` where the other can be ruled out at the error rate, else `cannot tell`.
    """

    onset_before_min: float
    probability: float
    lowest: float
    highest: float
    call: bool
    told: Told


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered for a patient.

    Attributes:
        patient: Whose.
        refusal: Why nothing is answered; empty where something is.
        flags: What a reader should know of the answer.
        hemisphere: That was read; None where it was refused before.
        chosen_by: What chose it.
        side_probability: That the lesion lies there and not in the other half; None unless detection chose.
        onset: By cut, the lowest first; empty where it was refused.
        figures: What the networks read there, by name.
        row: The hemisphere's row of the cohort.
    """

    patient: str
    refusal: str = ""
    flags: tuple[str, ...] = ()
    hemisphere: Side | None = None
    chosen_by: ChosenBy | None = None
    side_probability: float | None = None
    onset: tuple[OnsetAnswer, ...] = ()
    figures: Mapping[str, float] | None = None
    row: int | None = None


def answer_cohort(model: Model, cohort: Cohort, *, error_rate: float) -> list[Answer]:
    """Answers for every patient of a packed cohort, in the manifest's order.

    Args:
        model: On the cohort's grid.
        cohort: Of patients whose onset may be unknown; no split of it counts.
        error_rate: In (0, 1): how often `yes` or `no` may be told of patients for whom it is wrong, in each class.

    Raises:
        CohortError: The cohort lies on another grid, or was preprocessed otherwise.
        InputError: A checkpoint is damaged.
    """
    check_same_way(model, cohort)
    described = describe_cohort(cohort)
    detected = None if model.detection is None else predict(model.detection.folders[0], cohort)
    onset = [(asked, [predict(folder, cohort) for folder in asked.folders]) for asked in model.onset]
    rows = {(half.patient, half.side): i for i, half in enumerate(cohort.table)}
    answers = []
    for patient in cohort.patients:
        name = patient.participant_id
        pair = tuple(rows[name, side] for side in SIDES)
        if refusal := _refusal(model, patient, described[name]):
            answers.append(Answer(name, refusal))
            continue
        answers.append(_answer(model, patient, described[name], pair, cohort, detected, onset, error_rate=error_rate))
    return answers


def check_same_way(model: Model, cohort: Cohort) -> None:
    """Raises CohortError where a cohort's images came to be in another way than the model's, or lie on another grid."""
    intake = model.intake
    if cohort.shape != intake.shape or not np.allclose(cohort.spacing_mm, intake.spacing_mm, rtol=1e-3):
        raise CohortError(
            f"{cohort.folder}: grid {_grid(cohort.shape)} at {_mm(cohort.spacing_mm)} mm found; {model.name} was "
            f"trained on {_grid(intake.shape)} at {_mm(intake.spacing_mm)} mm"
        )
    own, wanted = cohort.source.get("preprocessing"), intake.preprocessing
    if own is None or wanted is None:  # a phantom's images come as they are
        return
    differing = [key for key in {**wanted, **own} if key != "backend" and own.get(key) != wanted.get(key)]
    if differing:
        key = differing[0]
        raise CohortError(
            f"{cohort.folder}: preprocessed with {key} {own.get(key)!r}; {model.name} was trained on "
            f"{wanted.get(key)!r}: give the BIDS folder instead, and it is preprocessed as the model's cohort was"
        )
    if cohort.source.get("histogram") != intake.histogram:
        raise CohortError(
            f"{cohort.folder}: matched to another histogram than that of {model.name}: give the BIDS folder instead"
        )


def _refusal(model: Model, patient: Patient, described: Description) -> str:
    """Why nothing is answered for a patient, before any network is asked."""
    if patient.lesion_side == "none":
        return "participants.tsv says there is no lesion"
    if not patient.has_flair and not model.takes_missing_flair:
        return "no FLAIR, which the model reads of every patient"
    typical = model.intake.typical if patient.has_flair else model.intake.typical_without_flair
    if typical is not None and (distance := typical.distance(described.figures)) > typical.limit:
        return (
            f"unlike the {typical.n} patients learned from (distance {distance:.0f}, theirs at most "
            f"{typical.limit:.0f}); most of all, {typical.oddest(described.figures)}"
        )
    return ""


def _answer(
    model: Model,
    patient: Patient,
    described: Description,
    pair: tuple[int, ...],
    cohort: Cohort,
    detected: Predictions | None,
    onset: Sequence[tuple[Asked, list[Predictions]]],
    *,
    error_rate: float,
) -> Answer:
    flags = []
    if (known := model.intake.knows(patient.participant_id, described.voxels)) is not None:
        flags.append(f"known from the model's own cohort ({known}); the same person's answer is no new patient's")
    if model.intake.typical is None:
        flags.append("too few patients were learned from to tell who is unlike them")
    if not patient.has_flair:
        flags.append("answered without FLAIR, which is missing")
    side, chosen_by, sure = _choose(model, patient, pair, cohort, detected)
    row = pair[SIDES.index(side)]
    if detected is not None and sure is not None:
        flags += _side_flags(detected, pair, side, sure)
    if patient.lesion_side in SIDES and patient.lesion_side != side:
        flags.append(f"participants.tsv says {patient.lesion_side}")
    told = tuple(_tell(asked, each, row, error_rate=error_rate) for asked, each in onset)
    if any(low.probability > high.probability + _HIGHER_CUT_TOO_LOW for low, high in pairwise(told)):
        flags.append("the probabilities contradict each other: that of the lower cut is higher")
    figures: dict[str, float] = {}
    for each in (detected, *(predictions[0] for _, predictions in onset)):
        if each is not None:
            figures |= {n: float(values[row]) for n, values in each.figures.items() if np.isfinite(values[row])}
    return Answer(patient.participant_id, "", tuple(flags), side, chosen_by, sure, told, figures, row)


def _side_flags(detected: Predictions, pair: tuple[int, ...], side: Side, sure: float) -> list[str]:
    reached = [bool(detected.logits[each] >= detected.threshold) for each in pair]
    flags = [f"the hemisphere is uncertain ({side} at {sure:.2f})"] if sure < SURE_SIDE else []
    if all(reached):
        flags.append("a lesion is found in both halves; the likelier one is read")
    if not any(reached):
        flags.append("no lesion is found in either half")
    return flags


def _choose(
    model: Model, patient: Patient, pair: tuple[int, ...], cohort: Cohort, detected: Predictions | None
) -> tuple[Side, ChosenBy, float | None]:
    """The hemisphere to read, what chose it, and how sure that is."""
    if detected is not None:
        left = float(expit((detected.logits[pair[0]] - detected.logits[pair[1]]) / model.side_temperature))
        return ("left", "detection", left) if left >= 0.5 else ("right", "detection", 1 - left)
    if patient.lesion_side == "left" or patient.lesion_side == "right":
        return patient.lesion_side, "participants.tsv", None
    b1000 = [cohort.hemispheres[row, SERIES.index("b1000")].astype(np.float32) for row in pair]
    bright = [float(np.quantile(half[half != 0], _BRIGHT)) if half.any() else 0.0 for half in b1000]
    return SIDES[int(np.argmax(bright))], "brighter b1000", None


def _tell(asked: Asked, predictions: Sequence[Predictions], row: int, *, error_rate: float) -> OnsetAnswer:
    best, judges = predictions[0], asked.judges
    assert asked.onset_before_min is not None  # noqa: S101 (detection is asked elsewhere)
    logit = float(best.logits[row])
    each = [*best.by_replica[:, row], *(float(other.logits[row]) for other in predictions[1:])]
    spread = [judges.probability(float(one)) for one in each]
    probability = judges.probability(logit)
    by_fold: Float[ndarray, " fold"] = best.by_fold[:, row]
    return OnsetAnswer(
        onset_before_min=asked.onset_before_min,
        probability=probability,
        lowest=min(probability, *spread),
        highest=max(probability, *spread),
        call=bool(logit >= best.threshold),
        told=tell(*judges.credibility(by_fold), error_rate=error_rate),
    )


def _grid(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{each:g}" for each in spacing)
