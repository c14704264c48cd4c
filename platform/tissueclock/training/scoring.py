"""Promoted weights on the holdout: each unit's logit, and the figures at the threshold that validation chose."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from tissueclock.cohort.pairs import HalfReader, with_halves
from tissueclock.cohort.questions import Question
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.table import Hemisphere
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import Samples
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.storage.files import write_json, write_text
from tissueclock.storage.folders import PROMOTED_SCHEMA, PromotedFolder
from tissueclock.training.attention_share import attention_in_lesion
from tissueclock.training.prediction import load_promoted, threshold_of


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
    """Scores the holdout once, with the threshold that validation chose: writes `holdout.tsv`, then `holdout.json`.

    Where the lesions are known and the network attends to voxels, `attention_in_lesion` is among the metrics: nothing
    learns from it.
    """
    network, facts = load_promoted(promoted)
    table, view = cohort.table, cohort.holdout_view()
    halves = with_halves(view, table, n_halves=network.n_halves)
    samples = samples_of(question, table, halves, view.rows("holdout"))
    device = next(network.parameters()).device
    logits = predict_logits(network, halves, samples.rows, device=device)
    threshold = threshold_of(promoted, facts)
    metrics = classification_metrics(samples.labels, logits, threshold=threshold, groups=samples.groups)
    if isinstance(network, AttendedNetwork) and (masks := cohort.lesion_masks) is not None:
        metrics["attention_in_lesion"] = attention_in_lesion(network, samples, masks, device=device)
    scores = _as_tsv(question, table, samples, logits)
    write_text(promoted.holdout_scores, scores)
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
            "scores_digest": hashlib.sha256(scores.encode()).hexdigest(),
            "metrics": metrics,
        },
    )


def _as_tsv(question: Question, table: Sequence[Hemisphere], samples: Samples, logits: np.ndarray) -> str:
    """One row a unit; a patient's logit is the mean over the hemispheres that take part."""
    units: dict[str, tuple[str, int, list[float]]] = {}
    for i, label, logit in zip(samples.rows, samples.labels, logits, strict=True):
        hemisphere = table[int(i)]
        unit = hemisphere.patient if question.unit == "patient" else f"{hemisphere.patient}/{hemisphere.side}"
        units.setdefault(unit, (hemisphere.patient, int(label), []))[2].append(float(logit))
    lines = ["unit\tpatient\tlabel\tlogit"]
    lines += [f"{unit}\t{patient}\t{label}\t{np.mean(ls):.9g}" for unit, (patient, label, ls) in units.items()]
    return "\n".join(lines) + "\n"
