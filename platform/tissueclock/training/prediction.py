"""A promoted checkpoint, loaded, and its answers for every hemisphere of a cohort, whatever its split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tissueclock.training.attention_share import look_with_all
from tissueclock.weights.fitting import load_weights
from tissueclock.weights.tensors import read_tensors, replica_tensors

_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A promoted checkpoint's answers for every hemisphere of a cohort, in the order of its table.

    Attributes:
        by_fold: The logit by the networks of each fold, which is the mean over its seeds.
        by_replica: The logit by each network.
        threshold: The logit from which on the answer is yes, chosen on validation.
        figures: What a network that attends to voxels saw, by name; see `look`.
        networks: The replicas, in evaluation mode.
    """

    by_fold: Float[ndarray, "fold sample"]
    by_replica: Float[ndarray, "replica sample"]
    threshold: float
    figures: Mapping[str, Float[ndarray, " sample"]]
    networks: tuple[StagedNetwork, ...]

    @property
    def logits(self) -> Float[ndarray, " sample"]:
        """The checkpoint's answer: the mean over its replicas."""
        return np.asarray(self.by_replica.mean(axis=0))


def predict(promoted: PromotedFolder, cohort: Cohort) -> Predictions:
    """A promoted checkpoint's answers for every hemisphere of a packed cohort, whatever its split.

    Raises:
        CheckpointError: The folder holds no promoted checkpoint that answers a question.
        CohortError: The cohort has another number of slices, or voxels of another size where that counts.
    """
    networks, facts = load_promoted(promoted)
    if cohort.shape[0] != facts["network"]["n_slices"]:
        raise CohortError(
            f"{cohort.folder}: {cohort.shape[0]} slices a hemisphere found; {promoted.path} was trained on "
            f"{facts['network']['n_slices']}"
        )
    measured_mm = facts["network"].get("spacing_mm", cohort.spacing_mm)
    if not np.allclose(measured_mm, cohort.spacing_mm, rtol=1e-3):
        raise CohortError(
            f"{cohort.folder}: voxels of {_mm(cohort.spacing_mm)} mm found; {promoted.path} measures in "
            f"{_mm(measured_mm)}"
        )
    threshold = threshold_of(promoted, facts)
    rows = np.arange(len(cohort.table), dtype=np.int64)
    halves = whole_view(cohort, n_halves=networks[0].n_halves)
    each = logits_of_replicas(networks, halves, rows)
    figures = look_with_all(networks, halves, rows, masks=None)
    by_fold = each.reshape(facts.get("folds", 1), -1, each.shape[1]).mean(axis=1)
    return Predictions(by_fold, each, threshold, figures, networks)


def whole_view(cohort: Cohort, *, n_halves: int) -> HalfReader:
    """Every hemisphere of a cohort, whatever its split, as a network reads it: nothing is learned from it."""
    return with_halves(_Whole(cohort), cohort.table, n_halves=n_halves)


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


@dataclass(frozen=True, slots=True)
class _Whole:
    """Every hemisphere of a cohort, whatever its split: for prediction, where nothing is learned."""

    cohort: Cohort

    def read(self, rows: Any) -> torch.Tensor:
        return torch.from_numpy(self.cohort.hemispheres[np.asarray(rows)])
