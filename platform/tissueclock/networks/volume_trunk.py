"""The 3D trunk: the contracting path of Models Genesis' U-Net, in five stages that can be run one by one.

Four levels of two 3x3x3 convolutions, with max-pooling between them. The first level's two convolutions are the stages
`stem` and `layer1`, the other levels `layer2` to `layer4`: so the stages have the names, and from `layer1` on the
channels, of the 2D trunk, and freeze depth means the same. Written here rather than taken from MONAI, whose U-Nets
neither have this layout nor run stage by stage. Normalisation is batch normalisation with running statistics: the
reference's uses the statistics of the batch at evaluation too, so that a prediction depends on its neighbours. Refuses
to know heads, gates and what restores the input.

References:
    Zhou et al. 2019, Models Genesis, doi:10.1007/978-3-030-32251-9_42.
    Cicek et al. 2016, 3D U-Net, doi:10.1007/978-3-319-46723-8_49.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.networks.trunk import Trunk


class VolumeTrunk(Trunk):
    """The contracting path; the last map's sides are the input's, divided by 8 and rounded down, but at least 1.

    Args:
        n_series: Channels of the input.
        width: Channels of `layer1`; 64 is Models Genesis, a laptop trains with 8 or 16.
    """

    def __init__(self, *, n_series: int = 3, width: int = 64) -> None:
        super().__init__()
        self.channels = (width // 2, width, 2 * width, 4 * width, 8 * width)
        self.stem = ConvolutionBlock(n_series, width // 2)
        self.layer1 = ConvolutionBlock(width // 2, width)
        self.layer2 = nn.Sequential(ConvolutionBlock(width, width), ConvolutionBlock(width, 2 * width))
        self.layer3 = nn.Sequential(ConvolutionBlock(2 * width, 2 * width), ConvolutionBlock(2 * width, 4 * width))
        self.layer4 = nn.Sequential(ConvolutionBlock(4 * width, 4 * width), ConvolutionBlock(4 * width, 8 * width))

    def stage_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules with parameters of each stage, in the order of `STAGES`."""
        return ((self.stem,), (self.layer1,), (self.layer2,), (self.layer3,), (self.layer4,))

    def enter_stage(
        self, i_stage: int, x: Float[Tensor, "image channel depth height width"]
    ) -> Float[Tensor, "image channel slices rows columns"]:
        """The map, its sides halved before each level but the first; a side of 1 stays 1."""
        if i_stage < 2:
            return x
        return functional.max_pool3d(x, kernel_size=[min(2, side) for side in x.shape[2:]])

    def run_stage(
        self, i_stage: int, x: Float[Tensor, "image channel depth height width"]
    ) -> Float[Tensor, "image n_out depth height width"]:
        """The map of stage `i_stage` (0 to 4, as in `STAGES`)."""
        out: Tensor = (self.stem, self.layer1, self.layer2, self.layer3, self.layer4)[i_stage](x)
        return out


class ConvolutionBlock(nn.Module):
    """A 3x3x3 convolution, batch normalisation, ReLU; sizes stay."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, 3, padding=1)
        self.bn = nn.BatchNorm3d(n_out)

    def forward(
        self, x: Float[Tensor, "image channel depth height width"]
    ) -> Float[Tensor, "image n_out depth height width"]:
        """The block's map."""
        return torch.relu_(self.bn(self.conv(x)))
