"""How a network's inputs are standardised: by the brains of the samples that it learns from."""

import numpy as np
import torch

from tissueclock.learning.samples import Samples, even_batches, read_batches
from tissueclock.networks.staged import StagedNetwork

_BATCH = 16


def standardise(network: StagedNetwork, train: Samples, *, device: torch.device) -> None:
    """Fits the network's inputs to the training samples, as they are, not augmented.

    For a network whose first weights were drawn. One that starts from a parent keeps the parent's: its weights were
    learned on inputs that were standardised so.
    """
    batches = even_batches(np.arange(len(train)), batch_size=_BATCH)
    network.to(device).fit_inputs(read_batches(train.view, [train.rows[batch] for batch in batches], device=device))
