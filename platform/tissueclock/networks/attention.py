"""The soft attention gate: where to look in a map, told by a coarser map that has seen more.

References:
    Schlemper et al. 2019, doi:10.1016/j.media.2019.01.012.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

AttentionNorm = Literal["mean_flow", "softmax", "sigmoid"]

_SCORE_OFFSETS: dict[str, float] = {"mean_flow": 0.0, "softmax": 10.0, "sigmoid": 3.0}
"""What is added to the learned bias of the score: the initial bias of each norm. It stands here and not in the
parameter, so that a checkpoint means the same under every norm."""

_SMALLEST_FLOW = 1e-6
"""The least sum that `mean_flow` divides by: a map of equal scores gives no attention, not NaN."""


class AttentionGate(nn.Module):
    """Soft attention on a map `x`, guided by a gating map `g` of fewer and wiser positions.

    c = psi(ReLU(W_x x + upsampled W_g g)) + b, attention = norm(c), pooled = sum (or mean) of attention * x.

    Args:
        n_map: Channels of the gated map.
        n_gating: Channels of the gating map; also the gate's inner channels.
        norm: `mean_flow` is (c - min c) / sum(c - min c), `softmax` is over positions, `sigmoid` is by position.
        spatial_dims: 2 for slices, 3 for volumes.
    """

    def __init__(self, *, n_map: int, n_gating: int, norm: AttentionNorm, spatial_dims: Literal[2, 3] = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.norm = norm
        self.from_map = conv(n_map, n_gating, 1, bias=False)
        self.from_gating = conv(n_gating, n_gating, 1, bias=False)
        self.score = conv(n_gating, 1, 1, bias=True)
        self._upsampling = "bilinear" if spatial_dims == 2 else "trilinear"

    def attention(
        self, x: Float[Tensor, "image n_map *grid"], g: Float[Tensor, "image n_gating *coarse"]
    ) -> Float[Tensor, " image *grid"]:
        """The attention at each position of `x`, in float32, in [0, 1]; its sum is 1 unless the norm is `sigmoid`."""
        guide = functional.interpolate(
            self.from_gating(g), size=x.shape[2:], mode=self._upsampling, align_corners=False
        )
        score = self.score(functional.relu(self.from_map(x) + guide))
        flat = score.flatten(1).float() + _SCORE_OFFSETS[self.norm]
        return _normalise(flat, norm=self.norm).view(-1, *x.shape[2:])

    def forward(
        self, x: Float[Tensor, "image n_map *grid"], g: Float[Tensor, "image n_gating *coarse"]
    ) -> Float[Tensor, "image n_map"]:
        """The attended vector: the weighted sum of `x` over positions (the weighted mean for `sigmoid`), in float32."""
        attention = self.attention(x, g).flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            pooled = torch.bmm(x.flatten(2).float(), attention.unsqueeze(2)).squeeze(2)
        return pooled / attention.shape[1] if self.norm == "sigmoid" else pooled


def _normalise(score: Float[Tensor, "image position"], *, norm: AttentionNorm) -> Float[Tensor, "image position"]:
    if norm == "softmax":
        return score.softmax(dim=1)
    if norm == "sigmoid":
        return score.sigmoid()
    flow = score - score.amin(dim=1, keepdim=True)
    return flow / flow.sum(dim=1, keepdim=True).clamp_min(_SMALLEST_FLOW)
