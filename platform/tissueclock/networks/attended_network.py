"""Networks that attend to single voxels: any trunk, read at one of its stages, one attention over the whole brain.

The paper's networks average a slice, or a volume, after the last stage; a lesion of a few pixels is lost there. These
read an early map, on a grid that still shows it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.channels import SERIES
from tissueclock.networks.inputs import Inputs
from tissueclock.networks.readout import ReadVoxels, VoxelReadout
from tissueclock.networks.resnet import ResNet18
from tissueclock.networks.settings import AttendedKind, Attention, Readout, Stage, StemStride, Values
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.networks.volume_trunk import VolumeTrunk
from tissueclock.networks.voxel_trunk import VoxelTrunk

_LEAST_BRAIN_FRACTION = 0.5
"""A position of the read map that stands for less brain than this is none."""


@dataclass(frozen=True, slots=True)
class VoxelReading:
    """What a network saw in each voxel of the map that it reads.

    Attributes:
        logit: One logit a hemisphere, `batch`.
        score: How much each voxel asks to be looked at, `batch slice rows columns`.
        attention: Each voxel's share, `batch slice rows columns`; in sum 1 over a hemisphere, 0 outside the brain.
        ratios: By name, each `batch`: see `side_ratios`; empty unless both halves are read and attention is on.
    """

    logit: Tensor
    score: Tensor
    attention: Tensor
    ratios: Mapping[str, Tensor]


class AttendedNetwork(StagedNetwork):
    """Standardised inputs, a trunk up to the stage that is read, and a read-out of all its voxels at once.

    Stages beyond are there, so that others' weights load, but they are neither run nor learned.

    Args:
        kind: The trunk: `voxel`, layers on each voxel alone; `slice`, ResNet-18; `volume`, Models Genesis' encoder.
        n_slices: Slices of a hemisphere, for the record: the network reads any number.
        width: Channels of `layer1`.
        read_at: The stage whose map is scored and attended.
        cell: Pixels along each side that the inputs are averaged over, at least 1.
        inputs: What is seen of a voxel; see `Inputs`.
        mirror_cells: See `Inputs`.
        values: What is attended; see `VoxelReadout`.
        readout: See `VoxelReadout`.
        attention: `off`, or the attention's norm.
        sharpness: Of softmax and soft maximum, above 0.
        dropout: Probability of dropping an attended value while training, in [0, 1).
        stem_stride: Of kind `slice`; see `ResNet18`.
    """

    def __init__(
        self,
        *,
        kind: AttendedKind = "voxel",
        n_slices: int,
        width: int = 16,
        read_at: Stage = "stem",
        cell: int = 2,
        inputs: Sequence[str] = ("b0", "b1000", "flair", "adc"),
        mirror_cells: int = 3,
        values: Values = "inputs",
        readout: Readout = "attended",
        attention: Attention = "softmax",
        sharpness: float = 1.0,
        dropout: float = 0.0,
        stem_stride: StemStride = 1,
    ) -> None:
        super().__init__()
        self._description = {
            "kind": kind,
            "n_slices": n_slices,
            "width": width,
            "read_at": read_at,
            "cell": cell,
            "inputs": list(inputs),
            "mirror_cells": mirror_cells,
            "values": values,
            "readout": readout,
            "attention": attention,
            "sharpness": sharpness,
            "dropout": dropout,
            "stem_stride": stem_stride,
        }
        self.attention: Attention = attention
        self._n_run = STAGES.index(read_at) + 1
        self._by_slice = kind == "slice"
        self.inputs = Inputs(inputs, cell=cell, mirror_cells=mirror_cells)
        n_inputs = self.inputs.n_channels
        if kind == "voxel":
            self.trunk = VoxelTrunk(n_inputs=n_inputs, width=width, n_stages=self._n_run)
        elif kind == "slice":
            self.trunk = ResNet18(n_series=n_inputs, width=width, stem_stride=stem_stride)
        else:
            self.trunk = VolumeTrunk(n_series=n_inputs, width=width)
        self.readout = VoxelReadout(
            n_features=self.trunk.channels[self._n_run - 1],
            n_inputs=n_inputs,
            values=values,
            readout=readout,
            attention=attention,
            sharpness=sharpness,
            dropout=dropout,
        )
        self.reset_parameters()

    @property
    def n_halves(self) -> int:
        """Halves of the head that are read: 2 where the mirror is an input."""
        return self.inputs.n_halves

    @property
    def sources(self) -> tuple[int, ...]:
        """For each input the series that it is made of: its own, or b0 for the ADC."""
        names = self.inputs.channel_names
        found = [[i for i, s in enumerate(SERIES) if name.removesuffix("_present").endswith(s)] for name in names]
        return tuple(series[0] if series else 0 for series in found)

    def fit_inputs(self, batches: Iterable[Float[Tensor, "batch series slice height width"]]) -> None:
        """Standardises by the brain of these hemispheres from now on."""
        self.inputs.fit(batches)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws first weights: Kaiming for convolutions, evenly for layers, ones and zeros for norms.

        Args:
            generator: The source of chance, on the parameters' device; torch's global one if None.
        """
        for module in self.trunk.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
            elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
                module.reset_parameters()
        self.readout.reset_parameters(generator)

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The inputs and the trunk's stages, as named in `STAGES`; empty beyond the one that is read, or if none is."""
        held = self.trunk.stage_modules()
        n_used = self._n_run if self.readout.uses_features else 0
        run = [modules if i_stage < n_used else () for i_stage, modules in enumerate(held)]
        return ((self.inputs, *run[0]), *run[1:])

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """The score, which decides where to look (unless attention is off), and the heads; no slices are pooled."""
        after: dict[str, Sequence[nn.Module]] = {"slices": (), "head": self.readout.heads}
        return {"gates": self.readout.gates, **after} if self.readout.gates else after

    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """The kind, the stage that is read, and how inputs are made of a hemisphere."""
        names = ("kind", "read_at", "stem_stride", "cell", "inputs", "mirror_cells")
        return {name: self._description[name] for name in names}

    def before(self, x: Float[Tensor, "batch series slice height width"], depth: int) -> tuple[Tensor, ...]:
        """What the first `depth` stages leave to `after`.

        Args:
            x: Hemispheres, 0 outside the brain; behind their series the other half's where `n_halves` is 2.
            depth: Stages to run, 0 to 5.

        Returns:
            The hemispheres where `depth` is 0. Else the last of these stages' maps (`batch channel slice rows
            columns`), the standardised inputs (likewise), and 1 where they show brain, else 0.
        """
        if depth == 0:
            return (x,)
        inputs, brain = self.inputs(x)
        return self._run_stages(inputs, 0, depth), inputs, brain

    def after(self, maps: tuple[Tensor, ...], depth: int) -> Float[Tensor, " batch"]:
        """One logit a hemisphere, in float32, from what `before` gave for the same depth."""
        return self._read_out(maps, depth).logit

    def read(self, x: Float[Tensor, "batch series slice height width"]) -> VoxelReading:
        """The hemispheres' logits, and what they are made of."""
        maps = self.before(x, len(STAGES))
        grid = maps[0].shape[2:]
        out = self._read_out(maps, len(STAGES))
        attention = out.share.view(-1, *grid)
        return VoxelReading(
            logit=out.logit,
            score=out.score.view(-1, *grid),
            attention=attention,
            ratios=side_ratios(x, attention) if self.n_halves == 2 and self.readout.gates else {},
        )

    def _read_out(self, maps: tuple[Tensor, ...], depth: int) -> ReadVoxels:
        features, inputs, brain = self.before(maps[0], 1) if depth == 0 else maps
        features = self._run_stages(features, max(depth, 1), len(STAGES))
        out: ReadVoxels = self.readout(features, *_onto(features.shape[2:], inputs, brain))
        return out

    def _run_stages(
        self, x: Float[Tensor, "batch channel slice rows columns"], start: int, stop: int
    ) -> Float[Tensor, "batch feature slices rows_ columns_"]:
        """The map of stage `stop` - 1, or of the one that is read if that comes before; `x` is that of `start` - 1."""
        n = len(x)
        if self._by_slice:
            x = x.transpose(1, 2).flatten(0, 1)
        for i_stage in range(start, min(stop, self._n_run)):
            x = self.trunk.run_stage(i_stage, self.trunk.enter_stage(i_stage, x))
        return x.view(n, -1, *x.shape[1:]).transpose(1, 2) if self._by_slice else x


def side_ratios(
    x: Float[Tensor, "batch channel slice height width"], attention: Float[Tensor, "batch slice rows columns"]
) -> dict[str, Float[Tensor, " batch"]]:
    """What a network looked at over the same place of the other half, as readers measure a lesion.

    A ratio is that of two means, one of each half, over the same positions with the same weights: the shares of
    attention, where both halves are brain. `rDWI` is of b1000, `rFLAIR` of FLAIR. `dADC` is the logarithm of the ratio
    of b0 less that of b1000: how far the apparent diffusion coefficient lies above the other side's, 1e-3 mm2/s. It is
    a difference because each packed series is scaled on its own, which leaves an ADC without its zero.

    Args:
        x: b0, b1000 and FLAIR of the hemispheres, then of the other halves; 0 outside the brain.
        attention: Shares, at least 0.

    Returns:
        By name; NaN where nothing that is attended is brain in both halves, or a mean is not above 0.

    References:
        Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611 (ratios to the mirrored side).
    """
    n = len(SERIES)
    brain = ((x[:, 0] != 0) & (x[:, n] != 0)).to(x.dtype)
    signals, both = _onto(attention.shape[1:], x * brain[:, None], brain)
    weights = attention * both

    means = (weights[:, None] * signals).flatten(2).sum(dim=2)
    own, other = means[:, :n], means[:, n : 2 * n]
    b0, b1000, flair = torch.where((own > 0) & (other > 0), own / other, torch.nan).unbind(dim=1)
    return {"rDWI": b1000, "dADC": b0.log() - b1000.log(), "rFLAIR": flair}


def _onto(
    grid: torch.Size, inputs: Float[Tensor, "batch channel slice rows columns"], brain: Tensor
) -> tuple[Float[Tensor, "batch channel *grid"], Float[Tensor, " batch *grid"]]:
    """Inputs averaged over the brain that each position of a coarser grid stands for, and where that is enough."""
    if inputs.shape[2:] == grid:
        return inputs, brain
    size = (grid[0], grid[1], grid[2])
    fraction = functional.adaptive_avg_pool3d(brain[:, None], size)
    averaged = functional.adaptive_avg_pool3d(inputs * brain[:, None], size) / fraction.clamp_min(1e-6)
    return averaged, (fraction[:, 0] >= _LEAST_BRAIN_FRACTION).to(brain.dtype)
