"""Outside validation: a model on patients with known onsets who took no part, beside its own holdout."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissueclock.answering.answers import check_same_way
from tissueclock.answering.model import Asked, Model
from tissueclock.cohort.descriptions import describe_cohort
from tissueclock.cohort.questions import HoldsLesion, OnsetBefore, Question
from tissueclock.cohort.store import Cohort
from tissueclock.comparing.calibration import Calibration, measure_calibration
from tissueclock.comparing.operating import Operating, measure_operating
from tissueclock.comparing.scores import Confusion, Scores, count_calls, read_scores
from tissueclock.comparing.statistics import AucEstimate, Interval, bootstrap_auc, estimate_auc, normal_z
from tissueclock.comparing.subgroups import Subgroup, find_subgroups, read_characteristics
from tissueclock.errors import CohortError
from tissueclock.seeds import derive_seed
from tissueclock.storage.tsv import write_rows
from tissueclock.training.prediction import predict

_COLUMNS = ("phase", "group", "figure", "value", "low", "high", "n")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A question's checkpoint on other patients.

    Attributes:
        phase: That promoted it.
        scores: Of the patients here.
        auc: With DeLong's interval.
        bootstrap: Of the AUC, over patients.
        confusion: At the threshold of the model's own validation.
        operating: At other points.
        calibration: At the temperature of its own validation.
        own: The AUC on its own holdout; None where that holds one class only.
        change: AUC here less that on its own holdout; the two are of different patients, so variances add.
        subgroups: AUC by kind of patient, site and scanner among them.
    """

    phase: str
    scores: Scores
    auc: AucEstimate
    bootstrap: Interval
    confusion: Confusion
    operating: Operating
    calibration: Calibration
    own: AucEstimate | None
    change: tuple[float, Interval] | None
    subgroups: tuple[Subgroup, ...]


def evaluate(model: Model, cohort: Cohort, *, seed: int = 0, ids_are_others: bool = False) -> list[Evaluation]:
    """Every question of a model on a cohort; detection first, then onset by cut. Whose answer is not known counts not.

    Args:
        model: On the cohort's grid, and preprocessed alike.
        cohort: Whatever its split, for nothing is learned.
        seed: Of the bootstrap.
        ids_are_others: Whether the same id is another person there, as where two sites count from 1.

    Raises:
        CohortError: A patient was in the model's own cohort, by id or by images; the cohort lies on another grid or was
            preprocessed otherwise; or of some question all answers are the same.
    """
    check_same_way(model, cohort)
    check_strangers(model, cohort, ids_are_others=ids_are_others)
    without = [patient.participant_id for patient in cohort.patients if not patient.has_flair]
    if without and not model.takes_missing_flair:
        raise CohortError(
            f"{cohort.folder}: {len(without)} patients have no FLAIR (first {without[0]}), which {model.name} reads of "
            "every patient; allowed: a cohort packed without --allow-missing"
        )
    known = read_characteristics(cohort)
    asked = [*([model.detection] if model.detection else []), *model.onset]
    return [_evaluate(each, cohort, known, seed=seed) for each in asked]


def check_strangers(model: Model, cohort: Cohort, *, ids_are_others: bool = False) -> None:
    """Raises CohortError where a patient was in the model's own cohort, by id or by images; or by images alone."""
    met = [
        (patient, how)
        for patient, described in describe_cohort(cohort).items()
        if (how := model.intake.knows("" if ids_are_others else patient, described.voxels)) is not None
    ]
    if met:
        raise CohortError(
            f"{cohort.folder}: {len(met)} of {len(cohort.patients)} patients were in the cohort that {model.name} "
            f"comes from (first {met[0][0]}, {met[0][1]}); allowed: patients who took no part"
            + ("" if ids_are_others else " (--ids-are-others: the same id is another person there)")
        )


def write_evaluation(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Writes `evaluation.tsv`, and each question's scores as `scores-PHASE.tsv`.

    Raises:
        StorageError: The folder cannot be written.
    """
    for each in evaluations:
        scores = each.scores
        rows = [
            {"unit": unit, "patient": patient, "label": str(int(label)), "logit": repr(float(logit))}
            for unit, patient, label, logit in zip(
                scores.units, scores.patients, scores.labels, scores.logits, strict=True
            )
        ]
        write_rows(folder / f"scores-{each.phase}.tsv", columns=list(rows[0]), rows=rows)
    write_rows(folder / "evaluation.tsv", columns=_COLUMNS, rows=[row for each in evaluations for row in _rows(each)])


def _evaluate(asked: Asked, cohort: Cohort, known: Mapping[str, Mapping[str, str]], *, seed: int) -> Evaluation:
    cut = asked.onset_before_min
    question: Question = HoldsLesion() if cut is None else OnsetBefore(cut)
    predictions = predict(asked.folders[0], cohort)
    scores = _score(question, cohort, predictions.logits)
    if not scores.has_both:
        raise CohortError(
            f"{cohort.folder}: phase {asked.phase}: {scores.n_positive} of {len(scores.units)} answers are yes; both "
            "are needed to evaluate"
        )
    rng = np.random.default_rng(derive_seed(seed, "evaluation", asked.phase))
    auc = estimate_auc(scores.labels, scores.logits, patients=scores.patients)
    holdout = read_scores(asked.folders[0].holdout_scores)
    own = estimate_auc(holdout.labels, holdout.logits, patients=holdout.patients) if holdout.has_both else None
    change = None
    if own is not None:
        half = normal_z() * math.sqrt(auc.variance + own.variance)
        change = (auc.auc - own.auc, Interval(auc.auc - own.auc - half, auc.auc - own.auc + half))
    return Evaluation(
        phase=asked.phase,
        scores=scores,
        auc=auc,
        bootstrap=bootstrap_auc(scores.labels, scores.logits, scores.patients, generator=rng),
        confusion=count_calls(scores.labels, scores.logits >= predictions.threshold),
        operating=measure_operating(scores, threshold=predictions.threshold, generator=rng),
        calibration=measure_calibration(scores, temperature=asked.judges.temperature),
        own=own,
        change=change,
        subgroups=find_subgroups(scores, known),
    )


def _score(question: Question, cohort: Cohort, logits: np.ndarray) -> Scores:
    """The units that take part, as scoring of the holdout makes them; a patient's logit is the mean of the halves'."""
    units: dict[str, list[int]] = {}
    for row, half in enumerate(cohort.table):
        if question.label(half) is not None:
            unit = half.patient if question.unit == "patient" else f"{half.patient}/{half.side}"
            units.setdefault(unit, []).append(row)
    first = [rows[0] for rows in units.values()]
    return Scores(
        units=tuple(units),
        patients=tuple(cohort.table[row].patient for row in first),
        labels=np.array([bool(question.label(cohort.table[row])) for row in first], dtype=bool),
        logits=np.array([float(np.mean(logits[rows], dtype=np.float64)) for rows in units.values()]),
    )


def _rows(each: Evaluation) -> list[dict[str, str]]:
    n = len(each.scores.units)

    def row(figure: str, value: float, low: float, high: float, n: int = n, group: str = "all") -> dict[str, str]:
        numbers = {"value": f"{value:.6f}", "low": f"{low:.6f}", "high": f"{high:.6f}"}
        return {"phase": each.phase, "group": group, "figure": figure, **numbers, "n": str(n)}

    rows = [
        row("auc", each.auc.auc, each.auc.interval.low, each.auc.interval.high),
        row("auc_bootstrap", each.auc.auc, each.bootstrap.low, each.bootstrap.high),
    ]
    if each.change is not None and each.own is not None:
        rows.append(row("auc_own_holdout", each.own.auc, each.own.interval.low, each.own.interval.high))
        rows.append(row("auc_change", each.change[0], each.change[1].low, each.change[1].high))
    rates = {name: getattr(each.confusion, name) for name in ("sensitivity", "specificity", "accuracy")}
    rates |= {"ppv": each.operating.ppv, "npv": each.operating.npv}
    for name, rate in rates.items():
        if rate is not None:
            rows.append(row(name, rate.value, rate.interval.low, rate.interval.high, rate.n))
    estimates = {
        "auprc": each.operating.auprc,
        "brier": each.calibration.brier,
        "calibration_in_the_large": each.calibration.intercept,
        "calibration_slope": each.calibration.slope,
        **{f"sensitivity_at_specificity_{at:g}": found for at, found in each.operating.sensitivity_at.items()},
    }
    for name, estimate in estimates.items():
        if estimate is not None:
            rows.append(row(name, estimate.value, estimate.interval.low, estimate.interval.high))
    for group in each.subgroups:
        if group.auc is not None:
            interval = group.auc.interval
            rows.append(row("auc", group.auc.auc, interval.low, interval.high, group.n, group.name))
    return rows
