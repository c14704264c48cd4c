"""A promoted checkpoint's answers for every hemisphere of a cohort, whatever its split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.storage.files import write_text
from tissueclock.storage.folders import PromotedFolder
from tissueclock.training.scoring import load_promoted, logits_of_replicas, threshold_of


@dataclass(frozen=True, slots=True)
class Prediction:
    """A promoted checkpoint's answer for one hemisphere.

    Attributes:
        patient: Whose.
        side: Which half.
        logit: Higher: rather yes.
        probability: Its logistic.
        positive: Whether it reaches the threshold that was chosen on validation.
        replica_sd: How far the checkpoint's replicas differ, in units of the logit; None where there is one.
    """

    patient: str
    side: str
    logit: float
    probability: float
    positive: bool
    replica_sd: float | None = None


def predict(promoted: PromotedFolder, cohort: Path) -> list[Prediction]:
    """A promoted checkpoint's answers for every hemisphere of a packed cohort.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint.
        CohortError: The cohort cannot be opened, or has another number of slices.
    """
    networks, facts = load_promoted(promoted)
    opened = Cohort.open(cohort)
    if opened.shape[0] != facts["network"]["n_slices"]:
        raise CohortError(
            f"{cohort}: {opened.shape[0]} slices a hemisphere found; {promoted.path} was trained on "
            f"{facts['network']['n_slices']}"
        )
    rows = np.arange(len(opened.table), dtype=np.int64)
    halves = with_halves(_Whole(opened), opened.table, n_halves=networks[0].n_halves)
    each = logits_of_replicas(networks, halves, rows)
    threshold = threshold_of(promoted, facts)
    return [
        Prediction(
            patient=hemisphere.patient,
            side=hemisphere.side,
            logit=float(logits.mean()),
            probability=float(1 / (1 + np.exp(-float(logits.mean())))),
            positive=bool(logits.mean() >= threshold),
            replica_sd=float(logits.std(ddof=1)) if len(networks) > 1 else None,
        )
        for hemisphere, logits in zip(opened.table, each.T, strict=True)
    ]


def write_predictions(target: Path, predictions: Sequence[Prediction]) -> None:
    """Writes predictions as a tab-separated table, one row a hemisphere.

    Raises:
        StorageError: The folder cannot be written.
    """
    columns = ("patient", "side", "logit", "probability", "positive", "replica_sd")
    lines = ["\t".join(columns)]
    for prediction in predictions:
        row = asdict(prediction)
        lines.append(
            f"{row['patient']}\t{row['side']}\t{row['logit']:.6f}\t{row['probability']:.6f}\t{int(row['positive'])}\t"
            + ("n/a" if row["replica_sd"] is None else f"{row['replica_sd']:.6f}")
        )
    write_text(target, "\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class _Whole:
    """Every hemisphere of a cohort, whatever its split: for prediction, where nothing is learned."""

    cohort: Cohort

    def read(self, rows: Any) -> torch.Tensor:
        return torch.from_numpy(self.cohort.hemispheres[np.asarray(rows)])
