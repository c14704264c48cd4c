"""The 2D network: a hemisphere's slices through one trunk, each to a logit, pooled to one logit a hemisphere.

Refuses to know what the logit means, and what of the network learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tissueclock.errors import CheckpointError
from tissueclock.networks.attention import AttentionGate, AttentionNorm
from tissueclock.networks.resnet import STAGES, AttentionLevel, ResNet18
from tissueclock.networks.slice_pooling import SlicePoolingName, build_slice_pooling
from tissueclock.networks.staged import StagedNetwork

Attention = Literal["off", "mean_flow", "softmax", "sigmoid"]

_GATED_STAGE: dict[str, int] = {"A": STAGES.index("layer3"), "B": STAGES.index("layer3"), "C": STAGES.index("layer2")}

_CHANNELS_LAST_MULTIPLE = 16
"""Channels-last pays from 16 channels on. Below, on CPUs with AVX-512, oneDNN's backward convolution over channels-last
images writes beyond its memory where more than one thread runs (torch 2.13: "corrupted size vs. prev_size")."""

_LEAST_BRAIN_FRACTION = 0.02
"""A slice with less brain than this is empty, and does not count."""


@dataclass(frozen=True, slots=True)
class SliceReading:
    """What a network saw in each slice.

    Attributes:
        logit: One logit a hemisphere, `batch`.
        slice_logit: One logit a slice, `batch slice`.
        slice_weight: How much each slice counts, `batch slice`; in sum 1 over a hemisphere.
        attention: The gate's attention, `batch slice rows columns`; None while attention is off.
    """

    logit: Tensor
    slice_logit: Tensor
    slice_weight: Tensor
    attention: Tensor | None


class SliceNetwork(StagedNetwork):
    """ResNet-18 on each slice, a soft attention gate (off or on), slice pooling.

    A slice's logit is `head(mean of the last map) + attention_head(attended vector of the gated map)`. The gate and its
    head exist with attention off too, uncomputed, so that weights fit both ways; the gate's head starts at zero, so
    that switching attention on changes no logit.

    Args:
        n_slices: Slices of a hemisphere: positions that have a weight of their own. Another number can be read.
        width: Channels of the first stage; 64 is ResNet-18.
        attn_level: What is gated: `A` layer3, `B` layer3 at twice the resolution, `C` layer2.
        slice_pooling: How slices become a hemisphere; see `build_slice_pooling`.
        attention: `off`, or the gate's norm.
        dropout: Probability of dropping a pooled feature while training, in [0, 1).
        n_series: Channels of the input; the first is b0.
    """

    def __init__(
        self,
        *,
        n_slices: int,
        width: int = 64,
        attn_level: AttentionLevel = "A",
        slice_pooling: SlicePoolingName = "position",
        attention: Attention = "off",
        dropout: float = 0.0,
        n_series: int = 3,
    ) -> None:
        super().__init__()
        self._description = {
            "kind": "slice",
            "n_slices": n_slices,
            "width": width,
            "attn_level": attn_level,
            "slice_pooling": slice_pooling,
            "attention": attention,
            "dropout": dropout,
            "n_series": n_series,
        }
        self.attention: Attention = attention
        self._gated_stage = _GATED_STAGE[attn_level]
        self.trunk = ResNet18(n_series=n_series, width=width, attn_level=attn_level)
        n_gated, n_last = self.trunk.channels[self._gated_stage], self.trunk.channels[-1]
        norm: AttentionNorm = "mean_flow" if attention == "off" else attention
        self.gate = AttentionGate(n_map=n_gated, n_gating=n_last, norm=norm)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_last, 1)
        self.attention_head = nn.Linear(n_gated, 1, bias=False)
        self.slice_pooling = build_slice_pooling(slice_pooling, n_slices=n_slices, n_features=n_last)
        self.reset_parameters()

    @property
    def description(self) -> dict[str, Any]:
        """The constructor's arguments, and `kind`."""
        return dict(self._description)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "SliceNetwork":
        """The network that a checkpoint's facts describe, with fresh weights.

        Raises:
            CheckpointError: It describes another kind of network, or arguments that do not exist.
        """
        arguments = dict(description) if isinstance(description, Mapping) else {}
        if (kind := arguments.pop("kind", None)) != "slice":
            raise CheckpointError(f"network: kind is {kind!r}, but only 'slice' can be built")
        if arguments.get("attention", "off") not in get_args(Attention):
            allowed = ", ".join(get_args(Attention))
            raise CheckpointError(f"network: attention is {arguments['attention']!r}; allowed: {allowed}")
        try:
            return cls(**arguments)
        except (TypeError, KeyError, ValueError, RuntimeError) as error:  # torch raises the last two for sizes below 0
            raise CheckpointError(f"network: cannot be built from {arguments} ({error})") from error

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws first weights: Kaiming for convolutions and layers, ones and zeros for norms, zero for the gate's head.

        Args:
            generator: The source of chance, on the parameters' device; torch's global one if None.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                mode: Literal["fan_in", "fan_out"] = "fan_out" if name.startswith("trunk") else "fan_in"
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.attention_head.weight)

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The trunk's stages, as named in `STAGES`."""
        return self.trunk.stage_modules()

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """The gate with its head (unless attention is off), slice pooling, and the head."""
        after: dict[str, Sequence[nn.Module]] = {"slices": (self.slice_pooling,), "head": (self.head,)}
        return after if self.attention == "off" else {"gates": (self.gate, self.attention_head), **after}

    def forward(self, x: Float[Tensor, "batch series slice height width"]) -> Float[Tensor, " batch"]:
        """One logit a hemisphere, in float32. Pixels outside the brain must be 0; see `brain_slices`."""
        z, h, _ = self._read_slices(x)
        logit: Tensor = self.slice_pooling(z, h, brain_slices(x))
        return logit

    def read(self, x: Float[Tensor, "batch series slice height width"]) -> SliceReading:
        """The hemispheres' logits, and what they are made of."""
        z, h, attention = self._read_slices(x, with_attention=True)
        mask = brain_slices(x)
        return SliceReading(
            logit=self.slice_pooling(z, h, mask),
            slice_logit=z,
            slice_weight=self.slice_pooling.slice_weights(z, h, mask),
            attention=attention,
        )

    def _read_slices(
        self, x: Float[Tensor, "batch series slice height width"], *, with_attention: bool = False
    ) -> tuple[Float[Tensor, "batch slice"], Float[Tensor, "batch slice feature"], Tensor | None]:
        """Logits and features (the mean of the last map) of slices; the attention where it is asked for and on."""
        n_hemispheres, n_slices = x.shape[0], x.shape[2]
        images = x.transpose(1, 2).flatten(0, 1)
        if self.trunk.channels[0] % _CHANNELS_LAST_MULTIPLE == 0:
            images = images.contiguous(memory_format=torch.channels_last)
        last = gated = images
        for i_stage in range(len(STAGES)):
            last = self.trunk.run_stage(i_stage, last)
            if i_stage == self._gated_stage:
                gated = last
        features = last.mean(dim=(2, 3), dtype=torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            z = self.head(self.dropout(features))
        attention = None
        if self.attention != "off":
            attended = self.gate(gated, last)
            with torch.autocast(x.device.type, enabled=False):
                z = z + self.attention_head(self.dropout(attended))
            if with_attention:
                attention = self.gate.attention(gated, last).view(n_hemispheres, n_slices, *gated.shape[2:])
        return z.view(n_hemispheres, n_slices), features.view(n_hemispheres, n_slices, -1), attention


def brain_slices(x: Float[Tensor, "batch series slice height width"]) -> Bool[Tensor, "batch slice"]:
    """Which slices hold brain: at least 2 % of the pixels of their first series (b0) are not 0.

    In a hemisphere of empty slices all count, so that its logit is a number.
    """
    holds = (x[:, 0] != 0).flatten(2).float().mean(dim=2) >= _LEAST_BRAIN_FRACTION
    return holds | ~holds.any(dim=1, keepdim=True)
