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
from tissueclock.learning.prediction import predict_logits
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import write_rows
from tissueclock.training.attention_share import format_figures, look
from tissueclock.training.scoring import load_promoted, threshold_of


@dataclass(frozen=True, slots=True)
class Prediction:
    """A promoted checkpoint's answer for one hemisphere.

    Attributes:
        patient: Whose.
        side: Which half.
        logit: Higher: rather yes.
        probability: Its logistic.
        positive: Whether it reaches the threshold that was chosen on validation.
        figures: What a network that attends to voxels saw, as cells by column; see `look`. The same columns for all.
    """

    patient: str
    side: str
    logit: float
    probability: float
    positive: bool
    figures: Mapping[str, str]


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
    device = next(network.parameters()).device
    logits = predict_logits(network, halves, rows, device=device)
    figures = look(network, halves, rows, masks=opened.lesion_masks, device=device)
    threshold = threshold_of(promoted, facts)
    return [
        Prediction(
            patient=hemisphere.patient,
            side=hemisphere.side,
            logit=float(logit),
            probability=float(1 / (1 + np.exp(-float(logit)))),
            positive=bool(logit >= threshold),
            figures=format_figures(figures, [i]),
        )
        for i, (hemisphere, logit) in enumerate(zip(opened.table, logits, strict=True))
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
