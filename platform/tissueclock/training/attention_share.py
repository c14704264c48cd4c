"""Where a network that attends to voxels looked, and what it saw there: figures beside its logits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from tissueclock.learning.samples import HemisphereReader, even_batches, read_batches
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.networks.radiomics_network import RadiomicsNetwork
from tissueclock.networks.staged import StagedNetwork
from tissueclock.radiomics import ROI_ML
from tissueclock.storage.tsv import MISSING

ATTENTION_IN_LESION = "attention_in_lesion"

_BATCH = 32


@torch.inference_mode()
def look(
    network: StagedNetwork,
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    *,
    masks: Bool[ndarray, "hemisphere slice height width"] | None,
    device: torch.device,
) -> dict[str, Float[ndarray, " sample"]]:
    """Figures of each hemisphere by name, NaN where one cannot be said; none of a network that attends to no voxels.

    `rDWI`, `dADC` and `rFLAIR` (see `side_ratios`) are there if the network reads both halves. `attention_in_lesion`
    is there if masks are: the share of attention, in [0, 1], that lies inside the lesion; even attention gives the
    lesion's share of the brain. The radiomics baseline has `roi_ml` alone.

    Args:
        network: In evaluation mode, on `device`.
        view: Gives the hemispheres as the network reads them.
        rows: Which.
        masks: The lesions of every hemisphere of the cohort; None where they are not known.
        device: Where the network runs.
    """
    found: dict[str, list[Tensor]] = defaultdict(list)
    if not isinstance(network, AttendedNetwork | RadiomicsNetwork) or len(rows) == 0:
        return {}
    batches = even_batches(rows, batch_size=_BATCH)
    if isinstance(network, RadiomicsNetwork):
        volumes = [network.roi_ml(x) for x in read_batches(view, batches, device=device)]
        return {ROI_ML: torch.cat(volumes).double().cpu().numpy()}
    for some, x in zip(batches, read_batches(view, batches, device=device), strict=True):
        reading = network.read(x)
        for name, values in reading.ratios.items():
            found[name].append(values)
        if masks is not None:
            lesion = torch.from_numpy(np.asarray(masks[some])).to(device)
            found[ATTENTION_IN_LESION].append(_share_inside(reading.attention, lesion))
    return {name: torch.cat(values).double().cpu().numpy() for name, values in found.items()}


def look_with_all(
    networks: Sequence[StagedNetwork],
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    *,
    masks: Bool[ndarray, "hemisphere slice height width"] | None,
) -> dict[str, Float[ndarray, " sample"]]:
    """The mean of what each replica of a checkpoint saw, on the device that they are on; see `look`."""
    device = networks[0].device
    networks = networks[:1] if networks[0].only_measures else networks
    each = [look(network, view, rows, masks=masks, device=device) for network in networks]
    return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


def format_figures(figures: Mapping[str, Float[ndarray, " sample"]], positions: Sequence[int]) -> dict[str, str]:
    """Cells of a table: each figure's mean over those of these samples that have one, or `n/a`."""
    known = {name: values[positions][~np.isnan(values[positions])] for name, values in figures.items()}
    return {name: f"{values.mean():.4g}" if len(values) else MISSING for name, values in known.items()}


def _share_inside(attention: Float[Tensor, "batch slice rows columns"], lesion: Tensor) -> Float[Tensor, " batch"]:
    _, n_slices, n_rows, n_columns = attention.shape
    inside = functional.adaptive_avg_pool3d(lesion.float()[:, None], (n_slices, n_rows, n_columns)).flatten(1)
    share = (attention.flatten(1) * inside).sum(dim=1)
    return share.masked_fill(~inside.any(dim=1), torch.nan)
