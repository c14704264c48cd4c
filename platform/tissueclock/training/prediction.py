"""A promoted checkpoint's answers for every hemisphere of a cohort, whatever its split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import MISSING, write_rows
from tissueclock.training.attention_share import format_figures, look_with_all
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
        figures: What a network that attends to voxels saw, as cells by column; see `look`. The same columns for all.
    """

    patient: str
    side: str
    logit: float
    probability: float
    positive: bool
    replica_sd: float | None
    figures: Mapping[str, str]


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
    figures = look_with_all(networks, halves, rows, masks=opened.lesion_masks)
    threshold = threshold_of(promoted, facts)
    return [
        Prediction(
            patient=hemisphere.patient,
            side=hemisphere.side,
            logit=float(logits.mean()),
            probability=float(1 / (1 + np.exp(-float(logits.mean())))),
            positive=bool(logits.mean() >= threshold),
            replica_sd=float(logits.std(ddof=1)) if len(networks) > 1 else None,
            figures=format_figures(figures, [i]),
        )
        for i, (hemisphere, logits) in enumerate(zip(opened.table, each.T, strict=True))
    ]


def write_predictions(target: Path, predictions: Sequence[Prediction]) -> None:
    """Writes predictions as a tab-separated table, one row a hemisphere.

    Raises:
        StorageError: The folder cannot be written.
    """
    rows = [
        {
            "patient": prediction.patient,
            "side": prediction.side,
            "logit": f"{prediction.logit:.6f}",
            "probability": f"{prediction.probability:.6f}",
            "positive": str(int(prediction.positive)),
            "replica_sd": MISSING if prediction.replica_sd is None else f"{prediction.replica_sd:.6f}",
            **prediction.figures,
        }
        for prediction in predictions
    ]
    write_rows(target, columns=list(rows[0]), rows=rows)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Every hemisphere of a cohort, whatever its split: for prediction, where nothing is learned."""

    cohort: Cohort

    def read(self, rows: Any) -> torch.Tensor:
        return torch.from_numpy(self.cohort.hemispheres[np.asarray(rows)])
