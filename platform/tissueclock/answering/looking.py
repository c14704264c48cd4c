"""Where the networks that answered looked, for the patient's page."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from tissueclock.answering.model import Model
from tissueclock.channels import SERIES
from tissueclock.cohort.store import Cohort
from tissueclock.networks.looking import look_at
from tissueclock.training.prediction import load_promoted, whole_view


def look_at_rows(
    model: Model, cohort: Cohort, rows: list[int]
) -> Iterator[tuple[Float[ndarray, "series slice height width"], Float[ndarray, "slice height width"], str]]:
    """Each hemisphere's series, the mean map of the replicas that answered for the highest cut, and what that map is.

    Args:
        model: Without an onset checkpoint, detection's map.
        cohort: On the model's grid.
        rows: Of the cohort.
    """
    asked = model.onset[-1] if model.onset else model.detection
    assert asked is not None  # noqa: S101 (a model has one of the two)
    networks, _ = load_promoted(asked.folders[0])
    networks = networks[:1] if networks[0].only_measures else networks
    view = whole_view(cohort, n_halves=networks[0].n_halves)
    for row in rows:
        x = view.read(np.array([row])).float().to(networks[0].device)
        looked = [look_at(network, x) for network in networks]
        mean = torch.stack([each.map[0] for each in looked]).mean(dim=0)
        series = x[0, : len(SERIES)].cpu().numpy()
        yield series, mean.float().cpu().numpy() / max(float(mean.max()), 1e-12), looked[0].kind
