"""The network of the `genesis` phase: the 3D trunk, and an expanding path that gives back what was distorted.

References:
    Zhou et al. 2019, Models Genesis, doi:10.1007/978-3-030-32251-9_42.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.networks.volume_trunk import ConvolutionBlock, VolumeTrunk

_SKIPPED = (STAGES.index("layer1"), STAGES.index("layer2"), STAGES.index("layer3"))


class RestorationNetwork(StagedNetwork):
    """Models Genesis' U-Net. Its `trunk` is the volume network's, to the name of every parameter.

    Each expanding step doubles the sides, joins the trunk's map of that size and convolves twice; a 1x1x1 convolution
    and a sigmoid give the volume back.

    Args:
        width: Channels of `layer1`; 64 is Models Genesis.
        n_slices: Slices of a hemisphere, for the record: the network reads any number.
        n_series: Channels of the input and of the output.
    """

    def __init__(self, *, n_slices: int, width: int = 64, n_series: int = 3) -> None:
        super().__init__()
        self._description = {"kind": "restoration", "n_slices": n_slices, "width": width, "n_series": n_series}
        self.trunk = VolumeTrunk(n_series=n_series, width=width)
        _, *skipped, n_deep = self.trunk.channels
        self.decoder = nn.ModuleList()
        for n_skipped in reversed(skipped):
            self.decoder.append(ExpandingStep(n_deep, n_skipped))
            n_deep = n_skipped
        self.to_series = nn.Conv3d(n_deep, n_series, 1)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws first weights: Kaiming for convolutions, ones and zeros for norms.

        Args:
            generator: The source of chance, on the parameters' device; torch's global one if None.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """The expanding path, under the name of what comes last in other networks."""
        return {"head": (self.decoder, self.to_series)}

    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """The kind, and the maps that the expanding path joins among the first `depth` stages."""
        return {"kind": "restoration", "skipped": [i_stage for i_stage in _SKIPPED if i_stage < depth]}

    def before(self, x: Float[Tensor, "batch series slice height width"], depth: int) -> tuple[Tensor, ...]:
        """The volumes where `depth` is 0; else the maps that the rest needs of the first `depth` stages."""
        return (x,) if depth == 0 else self.trunk.run_until(x, depth, gated=_SKIPPED)

    def after(self, maps: tuple[Tensor, ...], depth: int) -> Float[Tensor, "batch series slice height width"]:
        """The restored volumes, in float32, in (0, 1), of the input's size."""
        *skipped, x = self.trunk.run_from(maps, depth, gated=_SKIPPED)
        for step, skip in zip(self.decoder, reversed(skipped), strict=True):
            x = step(x, skip)
        out: Tensor = self.to_series(x)
        return out.float().sigmoid()


class ExpandingStep(nn.Module):
    """Doubles the sides of a deep map, joins the trunk's map of that level, convolves twice."""

    def __init__(self, n_deep: int, n_skipped: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(n_deep, n_deep, 2, stride=2)
        self.convolutions = nn.Sequential(
            ConvolutionBlock(n_deep + n_skipped, n_skipped), ConvolutionBlock(n_skipped, n_skipped)
        )

    def forward(
        self,
        x: Float[Tensor, "batch n_deep depth height width"],
        skip: Float[Tensor, "batch n_skipped slices rows columns"],
    ) -> Float[Tensor, "batch n_skipped slices rows columns"]:
        """The map at the level of `skip`; the last plane is repeated, or cut, where halving had rounded a side."""
        up = self.up(x)
        missing = [own - other for own, other in zip(skip.shape[2:], up.shape[2:], strict=True)]
        padding = [pad for gap in reversed(missing) for pad in (0, max(gap, 0))]
        up = functional.pad(up, padding, mode="replicate") if any(padding) else up
        up = up[:, :, : skip.shape[2], : skip.shape[3], : skip.shape[4]]
        out: Tensor = self.convolutions(torch.cat([skip, up], dim=1))
        return out
