"""Promoted weights on the holdout: each unit's logit, and the figures at the threshold that validation chose."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from tissueclock.channels import SERIES
from tissueclock.cohort.folds import make_folds
from tissueclock.cohort.manifest import format_onset
from tissueclock.cohort.pairs import HalfReader, with_halves
from tissueclock.cohort.questions import Question
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.table import Hemisphere
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.samples import Samples
from tissueclock.networks.settings import PRESENCE
from tissueclock.networks.staged import StagedNetwork
from tissueclock.storage.files import digest_file, write_json
from tissueclock.storage.folders import ONSET_MIN, PROMOTED_SCHEMA, WITHOUT_FLAIR, PromotedFolder, fold_column
from tissueclock.storage.tsv import write_rows
from tissueclock.training.attention_share import ATTENTION_IN_LESION, format_figures, look_with_all
from tissueclock.training.intake import write_intake
from tissueclock.training.looking import look_on_holdout
from tissueclock.training.prediction import load_promoted, logits_of_replicas, threshold_of


def samples_of(
    question: Question, table: Sequence[Hemisphere], view: HalfReader, rows: Sequence[int] | ndarray
) -> Samples:
    """The rows that take part in a question, with their answers and, where patients are scored, whose they are.

    Raises:
        CohortError: None takes part, or all have the same answer.
    """
    answers = {int(i): label for i in rows if (label := question.label(table[i])) is not None}
    chosen = np.array(sorted(answers), dtype=np.int64)
    return Samples(
        view=view,
        rows=chosen,
        labels=np.array([float(answers[int(i)]) for i in chosen]),
        groups=tuple(table[i].patient for i in chosen) if question.unit == "patient" else None,
    )


def score(promoted: PromotedFolder, question: Question, cohort: Cohort) -> None:
    """Scores a promoted checkpoint once: `validation.tsv`, `holdout.tsv`, `intake.json`, then `holdout.json`.

    The threshold is the one that validation chose. Of several replicas the mean logit counts; `replica_sd` is how far
    they differ, the mean over the samples of their standard deviation. A network that attends to voxels has its figures
    in the table (see `look`); where the lesions are known, so has where any looks (see `look_on_holdout`), and the mean
    attention inside them is among the metrics. Nothing learns from either.
    """
    networks, facts = load_promoted(promoted)
    table, view = cohort.table, cohort.holdout_view()
    halves = with_halves(view, table, n_halves=networks[0].n_halves)
    samples = samples_of(question, table, halves, view.rows("holdout"))
    each = logits_of_replicas(networks, halves, samples.rows)
    threshold = threshold_of(promoted, facts)
    logits = each.mean(axis=0)
    metrics = classification_metrics(samples.labels, logits, threshold=threshold, groups=samples.groups)
    if len(networks) > 1:
        metrics["replica_sd"] = float(each.std(axis=0, ddof=1).mean())
    masks, looked = cohort.lesion_masks, None
    figures = look_with_all(networks, halves, samples.rows, masks=masks)
    if masks is not None:
        names = [f"{table[row].patient}, {table[row].side}" for row in samples.rows]
        looked = look_on_holdout(promoted, networks, halves, samples.rows, masks, names=names)
        figures |= dict(looked.figures) if looked else {}
    if not np.isnan(inside := figures.get(ATTENTION_IN_LESION, np.array(np.nan))).all():
        metrics[ATTENTION_IN_LESION] = float(np.nanmean(inside))
    by_name = {"logit": logits}
    if (n_folds := facts.get("folds", 1)) > 1:
        by_fold = each.reshape(n_folds, -1, each.shape[1]).mean(axis=1)
        by_name |= {fold_column(i): own for i, own in enumerate(by_fold)}
    if PRESENCE in facts["network"].get("inputs", ()):
        by_name[WITHOUT_FLAIR] = _logits_without_flair(networks, halves, samples.rows)
    judged = _judged_units(networks, facts, question, cohort)
    write_rows(promoted.validation_scores, columns=list(judged[0]), rows=judged)
    rows = _units(question, table, samples, by_name, figures)
    write_rows(promoted.holdout_scores, columns=list(rows[0]), rows=rows)
    write_intake(promoted, cohort)
    write_json(
        promoted.holdout,
        {
            "schema": PROMOTED_SCHEMA,
            "phase": facts["phase"],
            "unit": question.unit,
            "onset_before_min": question.onset_before_min,
            "n": int(metrics.pop("n")),
            "n_positive": int(metrics.pop("n_positive")),
            "threshold": metrics.pop("threshold"),
            "scores_digest": digest_file(promoted.holdout_scores),
            "metrics": metrics,
            **({"by_site": True} if facts.get("by_site") else {}),
            **({"looks": looked.facts} if looked else {}),
        },
    )


def _logits_without_flair(
    networks: Sequence[StagedNetwork], view: HalfReader, rows: ndarray
) -> Float[ndarray, " sample"]:
    """The logits of the same hemispheres, their FLAIR taken away: what it is worth, on the same patients."""
    return np.asarray(logits_of_replicas(networks, _NoFlair(view), rows).mean(axis=0))


@dataclass(frozen=True, slots=True)
class _NoFlair:
    """Hemispheres whose FLAIR is 0, as where it is missing; the other half's, too, where both are read."""

    view: HalfReader

    def read(self, rows: Any) -> Tensor:
        halves = self.view.read(rows).clone()
        halves[:, SERIES.index("flair") :: len(SERIES)] = 0
        return halves


def _judged_units(
    networks: Sequence[StagedNetwork], facts: dict[str, Any], question: Question, cohort: Cohort
) -> list[dict[str, str]]:
    """The units that judged the checkpoint, each scored by the replicas of one fold, which did not learn from it."""
    n_folds, n_seeds = facts.get("folds", 1), facts.get("seeds", 1)
    halves = with_halves(cohort.sweep_view(), cohort.table, n_halves=networks[0].n_halves)
    logits: dict[int, float] = {}
    seen: dict[str, dict[int, float]] = defaultdict(dict)
    fold_of: dict[str, int] = {}
    dealt = make_folds(cohort, n_folds=n_folds, seed=facts["lineage"]["seed"], by_site=facts.get("by_site", False))
    for i_fold, fold in enumerate(dealt):
        samples = samples_of(question, cohort.table, halves, fold.validation)
        own = networks[i_fold * n_seeds : (i_fold + 1) * n_seeds]
        mean = logits_of_replicas(own, halves, samples.rows).mean(axis=0)
        logits |= dict(zip(samples.rows.tolist(), mean.tolist(), strict=True))
        for name, values in look_with_all(own, halves, samples.rows, masks=None).items():
            seen[name] |= dict(zip(samples.rows.tolist(), values.tolist(), strict=True))
        fold_of |= {cohort.table[row].patient: i_fold + 1 for row in samples.rows.tolist()}
    judged = samples_of(question, cohort.table, halves, sorted(logits))
    mean = np.array([logits[row] for row in judged.rows.tolist()])
    rows = judged.rows.tolist()
    figures = {name: np.array([of_row[row] for row in rows]) for name, of_row in seen.items()}
    units = _units(question, cohort.table, judged, {"logit": mean}, figures)
    onset = {patient.participant_id: format_onset(patient.onset_to_mri_min) for patient in cohort.patients}
    told = {ONSET_MIN: onset} if question.onset_before_min is not None else {}
    return [
        {**unit, "fold": str(fold_of[unit["patient"]]), **{name: of[unit["patient"]] for name, of in told.items()}}
        for unit in units
    ]


def _units(
    question: Question,
    table: Sequence[Hemisphere],
    samples: Samples,
    logits: Mapping[str, ndarray],
    figures: Mapping[str, ndarray],
) -> list[dict[str, str]]:
    """One row a unit; a patient's logits and figures are means over the hemispheres that take part."""
    positions: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(samples.rows):
        half = table[int(row)]
        positions[half.patient if question.unit == "patient" else f"{half.patient}/{half.side}"].append(i)
    return [
        {
            "unit": unit,
            "patient": table[int(samples.rows[own[0]])].patient,
            "label": str(int(samples.labels[own[0]])),
            **{name: repr(float(np.mean(each[own], dtype=np.float64))) for name, each in logits.items()},
            **format_figures(figures, own),
        }
        for unit, own in positions.items()
    ]
