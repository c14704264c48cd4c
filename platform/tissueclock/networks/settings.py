"""A network's settings by kind, as a study file gives them; and the words that choose among networks.

A kind's settings are the arguments of its network's constructor that a study chooses. Imports no torch: a study file is
read without it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Attention = Literal["off", "mean_flow", "softmax", "sigmoid"]
"""Whether a network computes its gates, and under which norm."""

AttentionLevel = Literal["A", "B", "C"]
StemStride = Literal[1, 2, 4]
SlicePoolingName = Literal["position", "position_sigmoid", "logit_sum", "gated_mil", "max", "lse", "noisy_or"]
Precision = Literal["auto", "float32", "bfloat16"]

_DEFAULT_KIND = "slice"
Width = Annotated[int, Field(ge=4, le=256, multiple_of=4)]


class NetworkSettings(BaseModel):
    """What every kind has."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    def describe(self, *, n_slices: int, attention: Attention) -> dict[str, Any]:
        """What `build_network` builds it from, for a cohort of so many slices."""
        return {**self.model_dump(), "n_slices": n_slices, "attention": attention}


class SliceSettings(NetworkSettings):
    """The 2D network, which pools over slices.

    Attributes:
        width: Channels of `layer1`; 64 is ResNet-18, 8 or 16 trains on a laptop.
        stem_stride: Pixels that the stem condenses to one: 4 is ResNet-18, 2 or 1 for coarse grids.
        attn_level: Which reading of the paper's figure the attention gate follows.
        slice_pooling: How slices become a hemisphere; see `tissueclock.networks.slice_pooling`.
    """

    kind: Literal["slice"] = "slice"
    width: Width = 64
    stem_stride: StemStride = 4
    attn_level: AttentionLevel = "A"
    slice_pooling: SlicePoolingName = "position"


class VolumeSettings(NetworkSettings):
    """The 3D network.

    Attributes:
        width: Channels of `layer1`; 64 is Models Genesis, 8 or 16 trains on a laptop.
    """

    kind: Literal["volume"] = "volume"
    width: Width = 64


def _kind_of(value: Any) -> Any:
    kind = value.get("kind", _DEFAULT_KIND) if isinstance(value, Mapping) else getattr(value, "kind", _DEFAULT_KIND)
    return kind if isinstance(kind, str) else repr(kind)


AnyNetwork = Annotated[
    Annotated[SliceSettings, Tag("slice")] | Annotated[VolumeSettings, Tag("volume")], Discriminator(_kind_of)
]
"""One line a kind; a mapping without a kind is `slice`."""
