"""One attention over all brain voxels of a hemisphere, through its slices; and the soft maximum that goes with it.

A mean over a slice's pixels leaves next to nothing of a small lesion, whatever weighs the slices afterwards; here each
voxel has its own share.

References:
    Ilse et al. 2018, arXiv:1802.04712 (attention over instances).
    Pinheiro and Collobert 2015, arXiv:1411.6228 (log-sum-exp: its gradient is the softmax attention).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tissueclock.networks.attention import AttentionNorm
from tissueclock.networks.settings import Readout
from tissueclock.networks.slice_pooling import LogSumExpPooling, NoisyOrPooling

_SMALLEST_SUM = 1e-6
_LEAST_FLOW = 1e-3
"""The flow of the lowest score: where all scores are the same, as at first, attention is even and can be learned."""


def brain_attention(
    score: Float[Tensor, "batch voxel"], brain: Float[Tensor, "batch voxel"], *, norm: AttentionNorm, sharpness: float
) -> Float[Tensor, "batch voxel"]:
    """The share of each voxel, in float32: at least 0, 0 outside the brain, in sum 1 over a hemisphere.

    Args:
        score: Higher: rather look here.
        brain: 1 where a voxel is brain, else 0; a hemisphere without any counts whole.
        norm: `softmax` of sharpness times score; `sigmoid` of the score, divided by its sum; `mean_flow`, the score
            less its least one (and `_LEAST_FLOW` more), divided by its sum.
        sharpness: Of the softmax, above 0: 0 would be even, infinity the one highest voxel.
    """
    inside = counted(brain)
    score = score.float()
    if norm == "softmax":
        return (sharpness * score).masked_fill(~inside, -torch.inf).softmax(dim=1)
    if norm == "sigmoid":
        share = score.sigmoid() * inside
    else:
        least = score.masked_fill(~inside, torch.inf).amin(dim=1, keepdim=True)
        share = (score - least + _LEAST_FLOW) * inside
    return share / share.sum(dim=1, keepdim=True).clamp_min(_SMALLEST_SUM)


def even_attention(brain: Float[Tensor, "batch voxel"]) -> Float[Tensor, "batch voxel"]:
    """The same share for each voxel of the brain: what attention is while it is off."""
    inside = counted(brain).float()
    return inside / inside.sum(dim=1, keepdim=True)


def brain_maximum(
    score: Float[Tensor, "batch voxel"], brain: Float[Tensor, "batch voxel"], *, readout: Readout, sharpness: float
) -> Float[Tensor, " batch"]:
    """The hemispheres' logits where a lesion in any voxel is a lesion.

    Args:
        score: Each voxel's logit.
        brain: 1 where a voxel is brain, else 0.
        readout: `soft_maximum` is log(mean of exp(sharpness score)) / sharpness, `noisy_or` 1 - product of (1 - p).
        sharpness: Of the soft maximum.
    """
    pooling = NoisyOrPooling() if readout == "noisy_or" else LogSumExpPooling(sharpness=sharpness)
    score = score.float()
    logit: Tensor = pooling(score, score[..., None], counted(brain))
    return logit


def counted(brain: Float[Tensor, "batch voxel"]) -> Tensor:
    """Which voxels count: the brain's; all of them in a hemisphere without brain, so that its logit is a number."""
    inside = brain > 0.5
    return inside | ~inside.any(dim=1, keepdim=True)
