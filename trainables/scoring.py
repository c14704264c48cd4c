"""Promoted weights on hemispheres: the holdout's scores, and predictions for anyone else's."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.pairs import HalfReader, with_halves
from tissueclock.cohort.store import Cohort, HoldoutView
from tissueclock.cohort.table import Hemisphere
from tissueclock.cohort.tasks import Task
from tissueclock.errors import CheckpointError, CohortError
from tissueclock.files import digest_file, write_json, write_text
from tissueclock.learning.checkpoint import read_tensors
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import Samples
from tissueclock.networks.building import build_network
from tissueclock.networks.first_weights import load_weights
from tissueclock.networks.staged import StagedNetwork

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Prediction:
    """A promoted checkpoint's answer for one hemisphere.

    Attributes:
        patient: Whose.
        side: Which half.
        logit: Higher: rather yes.
        probability: Its logistic.
        positive: Whether it reaches the threshold that was chosen on validation.
    """

    patient: str
    side: str
    logit: float
    probability: float
    positive: bool


def samples_of(task: Task, table: Sequence[Hemisphere], view: HalfReader, rows: Iterable[int]) -> Samples:
    """The rows that take part in a task, with their answers and, where patients are scored, whose they are.

    Raises:
        CohortError: None takes part, or all have the same answer.
    """
    answers = {int(i): label for i in rows if (label := task.label(table[i])) is not None}
    chosen = np.array(sorted(answers), dtype=np.int64)
    return Samples(
        view=view,
        rows=chosen,
        labels=np.array([float(answers[int(i)]) for i in chosen]),
        groups=tuple(table[i].patient for i in chosen) if task.unit == "patient" else None,
    )


def load_promoted(promoted: Path) -> tuple[StagedNetwork, dict[str, Any]]:
    """A promoted network and what `trial.json` says of it.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint, or its weights do not fit.
    """
    path = promoted / "trial.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        description = facts["network"]
        facts["metrics"]
        facts["lineage"]["weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"not its facts ({type(error).__name__})"
        raise CheckpointError(
            f"{path}: {found}; a promoted checkpoint is a folder sweeps/SWEEP/promoted/RANK"
        ) from error
    try:
        network = build_network(description)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    weights = promoted / "weights.safetensors"
    load_weights(network, read_tensors(weights), source=str(weights))
    if (found := digest_file(weights)) != (expected := str(facts["lineage"]["weights"])):
        raise CheckpointError(f"{weights}: digest is {found[:12]}; {path} says {expected[:12]}: it was altered")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network.to(device).eval(), facts


def _threshold(promoted: Path, facts: dict[str, Any]) -> float:
    try:
        return float(facts["metrics"]["threshold"])
    except KeyError as error:
        raise CheckpointError(
            f"{promoted}: a checkpoint of phase {facts['phase']}, which answers no question; name one that does"
        ) from error


def score(promoted: Path, task: Task, table: Sequence[Hemisphere], view: HoldoutView, rows: Iterable[int]) -> None:
    """Scores the holdout once, with the threshold that validation chose: writes `holdout.tsv`, then `holdout.json`."""
    network, facts = load_promoted(promoted)
    halves = with_halves(view, table, n_halves=network.n_halves)
    samples = samples_of(task, table, halves, rows)
    logits = predict_logits(network, halves, samples.rows, device=next(network.parameters()).device)
    threshold = _threshold(promoted, facts)
    metrics = classification_metrics(samples.labels, logits, threshold=threshold, groups=samples.groups)
    write_text(promoted / "holdout.tsv", _as_tsv(task, table, samples, logits))
    write_json(
        promoted / "holdout.json",
        {
            "schema": SCHEMA,
            "phase": facts["phase"],
            "unit": task.unit,
            "onset_before_min": task.onset_before_min,
            "n": int(metrics.pop("n")),
            "n_positive": int(metrics.pop("n_positive")),
            "threshold": metrics.pop("threshold"),
            "metrics": metrics,
        },
    )


def predict(promoted: Path, cohort: Path) -> list[Prediction]:
    """A promoted checkpoint's answers for every hemisphere of a packed cohort.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint.
        CohortError: The cohort cannot be opened, or has another number of slices.
    """
    network, facts = load_promoted(promoted)
    opened = Cohort.open(cohort)
    if opened.shape[0] != facts["network"]["n_slices"]:
        raise CohortError(
            f"{cohort}: {opened.shape[0]} slices a hemisphere found; {promoted} was trained on "
            f"{facts['network']['n_slices']}"
        )
    rows = np.arange(len(opened.table), dtype=np.int64)
    halves = with_halves(_Whole(opened), opened.table, n_halves=network.n_halves)
    logits = predict_logits(network, halves, rows, device=next(network.parameters()).device)
    threshold = _threshold(promoted, facts)
    return [
        Prediction(
            patient=hemisphere.patient,
            side=hemisphere.side,
            logit=float(logit),
            probability=float(1 / (1 + np.exp(-float(logit)))),
            positive=bool(logit >= threshold),
        )
        for hemisphere, logit in zip(opened.table, logits, strict=True)
    ]


def write_predictions(target: Path, predictions: Sequence[Prediction]) -> None:
    """Writes predictions as a tab-separated table, one row a hemisphere.

    Raises:
        StorageError: The folder cannot be written.
    """
    columns = ("patient", "side", "logit", "probability", "positive")
    lines = ["\t".join(columns)]
    for prediction in predictions:
        row = asdict(prediction)
        lines.append(
            f"{row['patient']}\t{row['side']}\t{row['logit']:.6f}\t{row['probability']:.6f}\t{int(row['positive'])}"
        )
    write_text(target, "\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class _Whole:
    """Every hemisphere of a cohort, whatever its split: for prediction, where nothing is learned."""

    cohort: Cohort

    def read(self, rows: Any) -> torch.Tensor:
        return torch.from_numpy(self.cohort.hemispheres[np.asarray(rows)])


def _as_tsv(task: Task, table: Sequence[Hemisphere], samples: Samples, logits: np.ndarray) -> str:
    """One row a unit; a patient's logit is the mean over the hemispheres that take part."""
    units: dict[str, tuple[str, int, list[float]]] = {}
    for i, label, logit in zip(samples.rows, samples.labels, logits, strict=True):
        hemisphere = table[int(i)]
        unit = hemisphere.patient if task.unit == "patient" else f"{hemisphere.patient}/{hemisphere.side}"
        units.setdefault(unit, (hemisphere.patient, int(label), []))[2].append(float(logit))
    lines = ["unit\tpatient\tlabel\tlogit"]
    lines += [f"{unit}\t{patient}\t{label}\t{np.mean(ls):.9g}" for unit, (patient, label, ls) in units.items()]
    return "\n".join(lines) + "\n"
