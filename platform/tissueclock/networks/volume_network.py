"""The 3D network: a hemisphere as one volume through one trunk, two soft attention gates, one logit.

References:
    Schlemper et al. 2019, doi:10.1016/j.media.2019.01.012 (gates on two maps, vectors concatenated).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tissueclock.networks.attention import AttentionGate, AttentionNorm
from tissueclock.networks.settings import Attention
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.networks.volume_trunk import VolumeTrunk

_GATED = (STAGES.index("layer2"), STAGES.index("layer3"))
"""The 128- and the 256-channel map, at width 64."""


class VolumeNetwork(StagedNetwork):
    """Models Genesis' encoder on the whole hemisphere, attention gates (off or on) on two of its maps, one logit.

    At width 64 the mean of the last map (512) and the two attended vectors (128 and 256) are 896 features. The logit
    is `head(mean) + attention_head(attended)`; as in the slice network gates exist with attention off too, uncomputed,
    and their head starts at zero, so that switching attention on changes no logit.

    Args:
        n_slices: Slices of a hemisphere, for the record: the network reads any number.
        width: Channels of `layer1`; 64 is Models Genesis.
        attention: `off`, or the gates' norm.
        dropout: Probability of dropping a pooled feature while training, in [0, 1).
        n_series: Channels of the input; the first is b0.
    """

    def __init__(
        self,
        *,
        n_slices: int,
        width: int = 64,
        attention: Attention = "off",
        dropout: float = 0.0,
        n_series: int = 3,
    ) -> None:
        super().__init__()
        self._description = {
            "kind": "volume",
            "n_slices": n_slices,
            "width": width,
            "attention": attention,
            "dropout": dropout,
            "n_series": n_series,
        }
        self.attention: Attention = attention
        self._gated = () if attention == "off" else _GATED
        self.trunk = VolumeTrunk(n_series=n_series, width=width)
        n_last = self.trunk.channels[-1]
        n_gated = [self.trunk.channels[i_stage] for i_stage in _GATED]
        norm: AttentionNorm = "mean_flow" if attention == "off" else attention
        self.gate = nn.ModuleList(AttentionGate(n_map=n, n_gating=n_last, norm=norm, spatial_dims=3) for n in n_gated)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_last, 1)
        self.attention_head = nn.Linear(sum(n_gated), 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws first weights: Kaiming for convolutions, ones and zeros for norms, zero for the gates' head.

        Args:
            generator: The source of chance, on the parameters' device; torch's global one if None.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()
            if isinstance(module, (nn.Conv3d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.attention_head.weight)

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """The gates with their head (unless attention is off) and the head; there are no slices to pool."""
        after: dict[str, Sequence[nn.Module]] = {"slices": (), "head": (self.head,)}
        return after if self.attention == "off" else {"gates": (self.gate, self.attention_head), **after}

    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """The kind, and the gated stages among the first `depth`."""
        return {"kind": "volume", "gated": [i_stage for i_stage in self._gated if i_stage < depth]}

    def before(self, x: Float[Tensor, "batch series slice height width"], depth: int) -> tuple[Tensor, ...]:
        """What the first `depth` stages leave to `after`.

        Args:
            x: Hemispheres.
            depth: Stages to run, 0 to 5.

        Returns:
            The hemispheres where `depth` is 0. Else the gated maps that are made already and the map that the next
            stage begins from, `batch channel depth height width`; after all five stages the mean of the last map
            (`batch feature`) takes its place, unless attention needs the map.
        """
        if depth == 0:
            return (x,)
        held = self.trunk.run_until(x, depth, gated=self._gated)
        if depth == len(STAGES) and not self._gated:
            held = (_features(held[-1]),)
        return held

    def after(self, maps: tuple[Tensor, ...], depth: int) -> Float[Tensor, " batch"]:
        """One logit a hemisphere, in float32, from what `before` gave for the same depth."""
        if depth == len(STAGES) and not self._gated:
            features, held = maps[0], maps
        else:
            held = self.trunk.run_from(maps, depth, gated=self._gated)
            features = _features(held[-1])
        with torch.autocast(features.device.type, enabled=False):
            z = self.head(self.dropout(features))
        if self._gated:
            *gated, last = held
            attended = torch.cat([gate(map_, last) for gate, map_ in zip(self.gate, gated, strict=True)], dim=1)
            with torch.autocast(features.device.type, enabled=False):
                z = z + self.attention_head(self.dropout(attended))
        logit: Tensor = z.squeeze(1)
        return logit


def _features(last: Float[Tensor, "batch channel depth height width"]) -> Float[Tensor, "batch channel"]:
    return last.mean(dim=(2, 3, 4), dtype=torch.float32)
