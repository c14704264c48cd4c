"""The 2D trunk: ResNet-18 without its classifier, in five stages that can be run one by one.

The parameters carry torchvision's names and shapes (at width 64), so that its weights load unchanged.

References:
    He et al. 2016, doi:10.1109/CVPR.2016.90.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.networks.settings import AttentionLevel, StemStride
from tissueclock.networks.trunk import Trunk


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, around which the input is added back."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image n_out rows columns"]:
        """The block's output; height and width are divided by its stride."""
        identity = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += identity
        return functional.relu(out, inplace=True)


class ResNet18(Trunk):
    """The trunk of ResNet-18; the last map's sides are the input's, divided by 8 stem strides and rounded up.

    Args:
        n_series: Channels of the input.
        width: Channels of the first stage; 64 is ResNet-18, a laptop trains with 8 or 16.
        stem_stride: Pixels of the input that one of the stem's map stands for, along each side: 4 is ResNet-18; 2
            leaves out its max-pooling, 1 its convolution's stride too, for grids on which a lesion is few pixels wide.
        attn_level: `"B"` runs `layer3` at stride 1 and halves its map before `layer4`, which gives both map sizes of
            the paper's figure (256x28x14 and 512x7x4 from 224x112); `"A"` and `"C"` leave the network as it is.
    """

    def __init__(
        self, *, n_series: int = 3, width: int = 64, stem_stride: StemStride = 4, attn_level: AttentionLevel = "A"
    ) -> None:
        super().__init__()
        self.channels = (width, width, 2 * width, 4 * width, 8 * width)
        self.conv1 = nn.Conv2d(n_series, width, 7, stride=min(stem_stride, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _layer(width, width, stride=1)
        self.layer2 = _layer(width, 2 * width, stride=2)
        self.layer3 = _layer(2 * width, 4 * width, stride=1 if attn_level == "B" else 2)
        self.layer4 = _layer(4 * width, 8 * width, stride=2)
        self._pools_stem = stem_stride == 4
        self._halves_before_layer4 = attn_level == "B"

    def stage_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules with parameters of each stage, in the order of `STAGES`."""
        return ((self.conv1, self.bn1), (self.layer1,), (self.layer2,), (self.layer3,), (self.layer4,))

    def enter_stage(
        self, i_stage: int, x: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image channel rows columns"]:
        """The map itself, halved before `layer4` of reading B."""
        return functional.max_pool2d(x, 2) if i_stage == 4 and self._halves_before_layer4 else x

    def run_stage(
        self, i_stage: int, x: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image n_out rows columns"]:
        """The map of stage `i_stage` (0 to 4, as in `STAGES`)."""
        if i_stage == 0:
            map_ = functional.relu(self.bn1(self.conv1(x)), inplace=True)
            return functional.max_pool2d(map_, 3, stride=2, padding=1) if self._pools_stem else map_
        out: Tensor = (self.layer1, self.layer2, self.layer3, self.layer4)[i_stage - 1](x)
        return out


def _layer(n_in: int, n_out: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(n_in, n_out, stride=stride), BasicBlock(n_out, n_out, stride=1))
