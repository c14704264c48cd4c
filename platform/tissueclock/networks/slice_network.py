"""The 2D network: a hemisphere's slices through one trunk, each to a logit, pooled to one logit a hemisphere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tissueclock.networks.attention import AttentionGate, AttentionNorm
from tissueclock.networks.resnet import ResNet18
from tissueclock.networks.settings import Attention, AttentionLevel, SlicePoolingName, StemStride
from tissueclock.networks.slice_pooling import build_slice_pooling
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES

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
        stem_stride: See `ResNet18`: 4, or less for coarse grids.
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
        stem_stride: StemStride = 4,
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
            "stem_stride": stem_stride,
            "attn_level": attn_level,
            "slice_pooling": slice_pooling,
            "attention": attention,
            "dropout": dropout,
            "n_series": n_series,
        }
        self.attention: Attention = attention
        gated_stage = _GATED_STAGE[attn_level]
        self._gated = () if attention == "off" else (gated_stage,)
        self.trunk = ResNet18(n_series=n_series, width=width, stem_stride=stem_stride, attn_level=attn_level)
        n_gated, n_last = self.trunk.channels[gated_stage], self.trunk.channels[-1]
        norm: AttentionNorm = "mean_flow" if attention == "off" else attention
        self.gate = AttentionGate(n_map=n_gated, n_gating=n_last, norm=norm)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_last, 1)
        self.attention_head = nn.Linear(n_gated, 1, bias=False)
        self.slice_pooling = build_slice_pooling(slice_pooling, n_slices=n_slices, n_features=n_last)
        self.reset_parameters()

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

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """The gate with its head (unless attention is off), slice pooling, and the head."""
        after: dict[str, Sequence[nn.Module]] = {"slices": (self.slice_pooling,), "head": (self.head,)}
        return after if self.attention == "off" else {"gates": (self.gate, self.attention_head), **after}

    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """The kind, the stem, the reading of the figure, and the gated stages among the first `depth`."""
        gated = [i_stage for i_stage in self._gated if i_stage < depth]
        facts = {name: self._description[name] for name in ("kind", "stem_stride", "attn_level")}
        return {**facts, "gated": gated}

    def before(self, x: Float[Tensor, "batch series slice height width"], depth: int) -> tuple[Tensor, ...]:
        """What the first `depth` stages leave to `after`.

        Args:
            x: Hemispheres. Pixels outside the brain must be 0; see `brain_slices`.
            depth: Stages to run, 0 to 5.

        Returns:
            The hemispheres where `depth` is 0. Else the gated map if a stage made it already, the map that the next
            stage begins from (`batch slice channel rows columns`), and 1 where a slice holds brain, else 0 (`batch
            slice`). After all five stages the mean of the last map takes its place (`batch slice feature`), unless
            attention needs the map.
        """
        if depth == 0:
            return (x,)
        held = self.trunk.run_until(self._as_images(x.transpose(1, 2)), depth, gated=self._gated)
        if depth == len(STAGES) and not self._gated:
            held = (_features(held[-1]),)
        grid = (x.shape[0], x.shape[2])
        return (*(each.view(*grid, *each.shape[1:]) for each in held), brain_slices(x).float())

    def after(self, maps: tuple[Tensor, ...], depth: int) -> Float[Tensor, " batch"]:
        """One logit a hemisphere, in float32, from what `before` gave for the same depth."""
        slices = self._run_from(maps, depth)
        logit: Tensor = self.slice_pooling(slices.z, slices.h, slices.holds_brain)
        return logit

    def read(self, x: Float[Tensor, "batch series slice height width"]) -> SliceReading:
        """The hemispheres' logits, and what they are made of."""
        slices = self._run_from((x,), 0)
        z, h, mask = slices.z, slices.h, slices.holds_brain
        attention = None
        if self._gated:
            flat = self.gate.attention(*slices.maps)
            attention = flat.view(*mask.shape, *flat.shape[1:])
        return SliceReading(
            logit=self.slice_pooling(z, h, mask),
            slice_logit=z,
            slice_weight=self.slice_pooling.slice_weights(z, h, mask),
            attention=attention,
        )

    def _run_from(self, maps: tuple[Tensor, ...], depth: int) -> "_Slices":
        held: tuple[Tensor, ...]
        if depth == 0:
            held, holds_brain = (self._as_images(maps[0].transpose(1, 2)),), brain_slices(maps[0])
        else:
            held, holds_brain = tuple(self._as_images(each) for each in maps[:-1]), maps[-1] > 0.5
        if depth == len(STAGES) and not self._gated:
            features = held[0]
        else:
            held = self.trunk.run_from(held, depth, gated=self._gated)
            features = _features(held[-1])
        with torch.autocast(features.device.type, enabled=False):
            z = self.head(self.dropout(features))
        if self._gated:
            attended = self.gate(*held)
            with torch.autocast(features.device.type, enabled=False):
                z = z + self.attention_head(self.dropout(attended))
        grid = holds_brain.shape
        return _Slices(z=z.view(grid), h=features.view(*grid, -1), holds_brain=holds_brain, maps=held)

    def _as_images(self, slices: Float[Tensor, "batch slice *image"]) -> Float[Tensor, "image ..."]:
        images = slices.flatten(0, 1)
        if images.ndim == 4 and self.trunk.channels[0] % _CHANNELS_LAST_MULTIPLE == 0:
            return images.contiguous(memory_format=torch.channels_last)
        return images


@dataclass(frozen=True, slots=True)
class _Slices:
    """Logit, features (the mean of the last map) and presence of brain by hemisphere and slice; the maps by slice."""

    z: Float[Tensor, "batch slice"]
    h: Float[Tensor, "batch slice feature"]
    holds_brain: Bool[Tensor, "batch slice"]
    maps: tuple[Tensor, ...]


def _features(last: Float[Tensor, "image channel rows columns"]) -> Float[Tensor, "image channel"]:
    return last.mean(dim=(2, 3), dtype=torch.float32)


def brain_slices(x: Float[Tensor, "batch series slice height width"]) -> Bool[Tensor, "batch slice"]:
    """Which slices hold brain: at least 2 % of the pixels of their first series (b0) are not 0.

    In a hemisphere of empty slices all count, so that its logit is a number.
    """
    holds = (x[:, 0] != 0).flatten(2).float().mean(dim=2) >= _LEAST_BRAIN_FRACTION
    return holds | ~holds.any(dim=1, keepdim=True)
