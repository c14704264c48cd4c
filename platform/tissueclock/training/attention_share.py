"""Whether a network looks at the lesion: the share of its attention that lies inside, where the lesions are known."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from tissueclock.learning.samples import Samples, even_batches
from tissueclock.networks.attended_network import AttendedNetwork

_BATCH = 32


@torch.inference_mode()
def attention_in_lesion(
    network: AttendedNetwork, samples: Samples, masks: npt.NDArray[np.bool_], *, device: torch.device
) -> float:
    """The mean, over hemispheres with a lesion, of the attention inside it; even attention gives the lesion's share.

    Args:
        network: In evaluation mode, on `device`.
        samples: The hemispheres; those without a lesion do not count.
        masks: Of every hemisphere of the cohort, `hemisphere slice height width`.
        device: Where the network runs.

    Returns:
        A share in [0, 1]; NaN, which JSON does not know, is never given: 0 where no hemisphere has a lesion.
    """
    shares = []
    for positions in even_batches(np.arange(len(samples)), batch_size=_BATCH):
        rows = samples.rows[positions]
        attention = network.read(samples.view.read(rows).to(device).float()).attention
        mask = torch.from_numpy(np.asarray(masks[rows])).to(device).float()[:, None]
        n_slices, height, width = attention.shape[1:]
        inside = functional.adaptive_avg_pool3d(mask, (n_slices, height, width))[:, 0]
        holds = inside.flatten(1).sum(dim=1) > 0
        shares.append((attention * inside).flatten(1).sum(dim=1)[holds])
    found = torch.cat(shares)
    return float(found.mean()) if len(found) else 0.0
