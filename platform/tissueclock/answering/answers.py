"""Each patient's answer: hemisphere, probabilities, what can be told at an error rate; or a refusal and its reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import expit

from tissueclock.answering.judging import Similar, Told, tell
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

_SIMILAR = 8
_NOT_COMPARED = frozenset({"backend", "reference"})
"""Of settings: a version, and a name."""

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
        similar: Patients of known onset in whom the networks of the highest cut saw something similar, nearest first.
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
    similar: tuple[Similar, ...] = ()
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
    asking = _Asking(
        model=model,
        cohort=cohort,
        detected=None if model.detection is None else predict(model.detection.folders[0], cohort),
        onset=[(asked, [predict(folder, cohort) for folder in asked.folders]) for asked in model.onset],
        error_rate=error_rate,
    )
    rows = {(half.patient, half.side): i for i, half in enumerate(cohort.table)}
    answers = []
    for patient in cohort.patients:
        name = patient.participant_id
        refusal = _refusal(model, patient, described[name])
        pair = tuple(rows[name, side] for side in SIDES)
        answers.append(Answer(name, refusal) if refusal else asking.answer(patient, described[name], pair))
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
    differing = [key for key in {**wanted, **own} if key not in _NOT_COMPARED and own.get(key) != wanted.get(key)]
    if differing:
        key = differing[0]
        raise CohortError(
            f"{cohort.folder}: preprocessed with {key} {own.get(key)!r}; {model.name} was trained on "
            f"{wanted.get(key)!r}: give the BIDS folder instead, and it is preprocessed as the model's cohort was"
        )
    if _quantiles(cohort.source.get("histogram")) != _quantiles(intake.histogram):
        raise CohortError(
            f"{cohort.folder}: matched to another histogram than that of {model.name}: give the BIDS folder instead"
        )


def _quantiles(histogram: Mapping[str, Any] | None) -> Any:
    return None if histogram is None else histogram["quantiles"]


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


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """What the networks say of all hemispheres of a cohort, to be told patient by patient."""

    model: Model
    cohort: Cohort
    detected: Predictions | None
    onset: Sequence[tuple[Asked, list[Predictions]]]
    error_rate: float

    def answer(self, patient: Patient, described: Description, pair: tuple[int, ...]) -> Answer:
        """A patient's answer; `pair` are the rows of the left and the right half."""
        side, chosen_by, sure = self._choose(patient, pair)
        row = pair[SIDES.index(side)]
        flags = tuple(self._flags(patient, described, pair, side, sure))
        answer = Answer(patient.participant_id, "", flags, side, chosen_by, sure, row=row)
        refusals = (_unlike_what_was_read(asked, each[0], row) for asked, each in self.onset)
        if refusal := next(filter(None, refusals), ""):
            return replace(answer, refusal=refusal)
        told = tuple(self._tell(asked, each, row) for asked, each in self.onset)
        if any(low.probability > high.probability + _HIGHER_CUT_TOO_LOW for low, high in pairwise(told)):
            flags = (*flags, "the probabilities contradict each other: that of the lower cut is higher")
        figures: dict[str, float] = {}
        for one in (self.detected, *(predictions[0] for _, predictions in self.onset)):
            if one is not None:
                figures |= _seen(one, row)
        last, by_last = self.onset[-1] if self.onset else (None, [])
        similar = last.judges.find_similar(_read(by_last[0], row), n=_SIMILAR) if last else ()
        return replace(answer, flags=flags, onset=told, figures=figures, similar=similar)

    def _choose(self, patient: Patient, pair: tuple[int, ...]) -> tuple[Side, ChosenBy, float | None]:
        """The hemisphere to read, what chose it, and how sure that is."""
        if (detected := self.detected) is not None:
            left = float(expit((detected.logits[pair[0]] - detected.logits[pair[1]]) / self.model.side_temperature))
            return ("left", "detection", left) if left >= 0.5 else ("right", "detection", 1 - left)
        if patient.lesion_side == "left" or patient.lesion_side == "right":
            return patient.lesion_side, "participants.tsv", None
        b1000 = [self.cohort.hemispheres[row, SERIES.index("b1000")].astype(np.float32) for row in pair]
        bright = [float(np.quantile(half[half != 0], _BRIGHT)) if half.any() else 0.0 for half in b1000]
        return SIDES[int(np.argmax(bright))], "brighter b1000", None

    def _flags(
        self, patient: Patient, described: Description, pair: tuple[int, ...], side: Side, sure: float | None
    ) -> Iterator[str]:
        """What a reader should know before any onset is told."""
        if (known := self.model.intake.knows(patient.participant_id, described.voxels)) is not None:
            yield f"known from the model's own cohort ({known}); the same person's answer is no new patient's"
        if self.model.intake.typical is None:
            yield "too few patients were learned from to tell who is unlike them"
        if not patient.has_flair:
            yield "answered without FLAIR, which is missing"
        if (detected := self.detected) is not None and sure is not None:
            reached = [bool(detected.logits[each] >= detected.threshold) for each in pair]
            if sure < SURE_SIDE:
                yield f"the hemisphere is uncertain ({side} at {sure:.2f})"
            if all(reached):
                yield "a lesion is found in both halves; the likelier one is read"
            if not any(reached):
                yield "no lesion is found in either half"
        if patient.lesion_side in SIDES and patient.lesion_side != side:
            yield f"participants.tsv says {patient.lesion_side}"

    def _tell(self, asked: Asked, predictions: Sequence[Predictions], row: int) -> OnsetAnswer:
        best, judges = predictions[0], asked.judges
        assert asked.onset_before_min is not None  # noqa: S101 (detection is asked elsewhere)
        by_fold: Float[ndarray, " fold"] = best.by_fold[:, row]
        logit = float(best.logits[row])
        probability = judges.probability(logit)
        spread = [judges.probability_of_fold(each) for each in best.by_replica[:, row].tolist()]
        spread += [judges.probability(float(other.logits[row])) for other in predictions[1:]]
        return OnsetAnswer(
            onset_before_min=asked.onset_before_min,
            probability=probability,
            lowest=min(probability, *spread),
            highest=max(probability, *spread),
            call=logit >= best.threshold,
            told=tell(*judges.credibility(by_fold), error_rate=self.error_rate),
        )


def _seen(predictions: Predictions, row: int) -> dict[str, float]:
    """What the networks saw, where it can be said."""
    return {n: float(values[row]) for n, values in predictions.figures.items() if np.isfinite(values[row])}


def _read(predictions: Predictions, row: int) -> dict[str, float]:
    """The logit and what the networks saw."""
    return {"logit": float(predictions.logits[row]), **_seen(predictions, row)}


def _unlike_what_was_read(asked: Asked, predictions: Predictions, row: int) -> str:
    """Why what the networks read is unlike what they read of their judges; empty where it is not."""
    read = _read(predictions, row)
    typical = asked.judges.find_typical([name for name in asked.judges.seen if name in read])
    if typical is None or (distance := typical.distance(read)) <= typical.limit:
        return ""
    return (
        f"what {asked.phase} reads is unlike what it read of the {typical.n} patients who judged it (distance "
        f"{distance:.1f}, theirs at most {typical.limit:.1f}); most of all, {typical.oddest(read)}"
    )


def _grid(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{each:g}" for each in spacing)
