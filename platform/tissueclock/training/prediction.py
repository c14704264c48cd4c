"""A promoted checkpoint, loaded, and its answers for every hemisphere of a cohort, whatever its split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CheckpointError, CohortError
from tissueclock.learning.prediction import predict_logits
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.storage.files import digest_file, write_text
from tissueclock.storage.folders import PromotedFolder
from tissueclock.weights.fitting import load_weights
from tissueclock.weights.tensors import read_tensors


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


def predict(promoted: PromotedFolder, cohort: Path) -> list[Prediction]:
    """A promoted checkpoint's answers for every hemisphere of a packed cohort.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint.
        CohortError: The cohort cannot be opened, or has another number of slices.
    """
    network, facts = load_promoted(promoted)
    opened = Cohort.open(cohort)
    if opened.shape[0] != facts["network"]["n_slices"]:
        raise CohortError(
            f"{cohort}: {opened.shape[0]} slices a hemisphere found; {promoted.path} was trained on "
            f"{facts['network']['n_slices']}"
        )
    rows = np.arange(len(opened.table), dtype=np.int64)
    halves = with_halves(_Whole(opened), opened.table, n_halves=network.n_halves)
    logits = predict_logits(network, halves, rows, device=next(network.parameters()).device)
    threshold = threshold_of(promoted, facts)
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


def load_promoted(promoted: PromotedFolder) -> tuple[StagedNetwork, dict[str, Any]]:
    """A promoted network and what `trial.json` says of it.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint, or its weights do not fit.
    """
    facts = promoted.read_trial()
    try:
        network = build_network(facts["network"])
        expected = str(facts["lineage"]["weights"])
    except (CheckpointError, KeyError, TypeError) as error:
        raise CheckpointError(f"{promoted.trial}: {error}") from error
    load_weights(network, read_tensors(promoted.weights), source=str(promoted.weights))
    if (found := digest_file(promoted.weights)) != expected:
        raise CheckpointError(
            f"{promoted.weights}: digest is {found[:12]}; {promoted.trial} says {expected[:12]}: it was altered"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network.to(device).eval(), facts


def threshold_of(promoted: PromotedFolder, facts: dict[str, Any]) -> float:
    """The logit that validation chose.

    Raises:
        CheckpointError: The checkpoint answers no question.
    """
    try:
        return float(facts["metrics"]["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{promoted.path}: a checkpoint of phase {facts['phase']}, which answers no question; name one that does"
        ) from error


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
