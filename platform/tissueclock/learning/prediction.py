"""The logits that a network gives to hemispheres."""

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy import ndarray
from torch import nn

from tissueclock.learning.precision import autocast
from tissueclock.learning.samples import HemisphereReader, even_batches, read_batches
from tissueclock.networks.settings import Precision


def predict_logits(
    network: nn.Module,
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    *,
    device: torch.device,
    precision: Precision = "auto",
    batch_size: int = 16,
) -> Float32[ndarray, " sample"]:
    """One logit for each row, in evaluation mode; the network's mode is left as it was.

    Args:
        network: On `device`.
        view: Gives the hemispheres.
        rows: Which.
        device: Where the network runs.
        precision: In which number format.
        batch_size: Hemispheres at a time, at least 1; no result depends on it.
    """
    if len(rows) == 0:
        return np.empty(0, dtype=np.float32)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), autocast(precision, device=device):
            batches = read_batches(view, even_batches(rows, batch_size=batch_size), device=device)
            logits = torch.cat([network(batch) for batch in batches])
    finally:
        network.train(was_training)
    return logits.float().cpu().numpy()
