"""A promoted checkpoint, loaded, and its answers for every hemisphere of a cohort, whatever its split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from tissueclock.cohort.pairs import HalfReader, with_halves
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CheckpointError, CohortError
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import even_batches, read_batches
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.storage.files import digest_file
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import MISSING, write_rows
from tissueclock.training.attention_share import format_figures, look_with_all
from tissueclock.weights.fitting import load_weights
from tissueclock.weights.tensors import read_tensors, replica_tensors

_BATCH = 16


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
    measured_mm = facts["network"].get("spacing_mm", opened.spacing_mm)
    if not np.allclose(measured_mm, opened.spacing_mm, rtol=1e-3):
        raise CohortError(
            f"{cohort}: voxels of {_mm(opened.spacing_mm)} mm found; {promoted.path} measures in {_mm(measured_mm)}"
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


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{each:g}" for each in spacing)


def load_promoted(promoted: PromotedFolder) -> tuple[tuple[StagedNetwork, ...], dict[str, Any]]:
    """A promoted checkpoint's networks (its replicas; mostly one) and what `trial.json` says of it.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint, or its weights do not fit.
    """
    facts = promoted.read_trial()
    try:
        networks = tuple(build_network(facts["network"]) for _ in range(facts.get("folds", 1) * facts.get("seeds", 1)))
        expected = str(facts["lineage"]["weights"])
    except (CheckpointError, KeyError, TypeError) as error:
        raise CheckpointError(f"{promoted.trial}: {error}") from error
    weights = read_tensors(promoted.weights)
    for i_replica, network in enumerate(networks):
        load_weights(network, replica_tensors(weights, i_replica), source=str(promoted.weights))
    if (found := digest_file(promoted.weights)) != expected:
        raise CheckpointError(
            f"{promoted.weights}: digest is {found[:12]}; {promoted.trial} says {expected[:12]}: it was altered"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return tuple(network.to(device).eval() for network in networks), facts


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


def logits_of_replicas(
    networks: Sequence[StagedNetwork], view: HalfReader, rows: ndarray
) -> Float[ndarray, "replica sample"]:
    """The logit that each replica gives each row; a checkpoint's answer is their mean."""
    first = networks[0]
    if not first.only_measures:
        return np.stack([predict_logits(network, view, rows, device=first.device) for network in networks])
    batches = read_batches(view, even_batches(rows, batch_size=_BATCH), device=first.device)
    with torch.inference_mode():
        measured = [first.before(batch, len(STAGES)) for batch in batches]
        each = [torch.cat([network.after(maps, len(STAGES)) for maps in measured]) for network in networks]
    return torch.stack(each).float().cpu().numpy()


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
