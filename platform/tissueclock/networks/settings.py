"""A network's settings by kind, as a study file gives them; and the words that choose among networks.

A kind's settings are the arguments of its network's constructor that a study chooses. Imports no torch: a study file is
read without it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Attention = Literal["off", "mean_flow", "softmax", "sigmoid"]
"""Whether a network computes its gates, and under which norm."""

AttentionLevel = Literal["A", "B", "C"]
StemStride = Literal[1, 2, 4]
SlicePoolingName = Literal["position", "position_sigmoid", "logit_sum", "gated_mil", "max", "lse", "noisy_or"]
Precision = Literal["auto", "float32", "bfloat16"]

AttendedKind = Literal["voxel", "slice", "volume"]
Stage = Literal["stem", "layer1", "layer2", "layer3", "layer4"]
InputName = Literal["b0", "b1000", "flair", "adc", "surround", "mirror", "flair_present"]
PRESENCE: InputName = "flair_present"
Values = Literal["inputs", "features", "both"]
RadiomicsModel = Literal["logistic", "svm", "forest"]
Readout = Literal["attended", "soft_maximum", "noisy_or"]
"""How a network that attends to voxels makes a logit of them; a phase says which."""

_DEFAULT_KIND = "slice"
_OF_THE_MEAN = ("attn_level", "slice_pooling")
"""What the paper's read-out has and an attended one has not."""

Width = Annotated[int, Field(ge=4, le=256, multiple_of=4)]


def can_do_without_flair(inputs: Collection[str]) -> bool:
    """Whether a network with these inputs can read a patient without FLAIR; empty: it reads the series as they are."""
    return bool(inputs) and (PRESENCE in inputs or {"flair", "surround", "mirror"}.isdisjoint(inputs))


class NetworkSettings(BaseModel):
    """What every kind has: how it attends to voxels, where it does; see `tissueclock.networks.attended_network`.

    Attributes:
        read_at: The stage whose map is attended.
        cell: Pixels along each side that inputs are averaged over.
        inputs: What is seen of a voxel: the three series, the ADC made of two of them, `surround` (each series over its
            mean some cells around), `mirror` (each series over that of the other half), `flair_present` (whether there
            is a FLAIR).
        mirror_cells: Cells along each side over which the ratio to the other half is taken; odd, so that windows are
            centred.
        values: What is attended: the `inputs` themselves, the stage's `features`, or `both`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    read_at: Stage = "stem"
    cell: Annotated[int, Field(ge=1, le=16)] = 2
    inputs: Annotated[tuple[InputName, ...], Field(min_length=1, strict=False)] = ("b0", "b1000", "flair", "adc")
    mirror_cells: Literal[1, 3, 5, 7] = 3
    values: Values = "inputs"

    @property
    def attends(self) -> bool:
        """Whether single voxels are attended, over the whole brain; kind `voxel` has no other way."""
        return getattr(self, "readout", "attended") == "attended"

    @property
    def inputs_read(self) -> tuple[InputName, ...]:
        """What is seen of a voxel; nothing where single voxels are not attended."""
        return self.inputs if self.attends else ()

    @property
    def takes_missing_flair(self) -> bool:
        """Whether a patient without FLAIR can be read: it is no input, or whether it is there is one."""
        return can_do_without_flair(self.inputs_read)

    @property
    def own_attention(self) -> Attention:
        """Where a trial does not say."""
        return "softmax" if self.attends else "off"

    @property
    def n_halves(self) -> int:
        """Halves of the head that are read: 2 where the patient's other one is an input."""
        return 2 if self.attends and "mirror" in self.inputs else 1

    @model_validator(mode="after")
    def _is_read(self) -> "NetworkSettings":
        idle = NetworkSettings.model_fields if not self.attends else _OF_THE_MEAN
        if said := sorted(self.model_fields_set & set(idle)):
            needed = "attended" if not self.attends else "mean"
            raise ValueError(f"{said[0]} is read with readout {needed} only")
        if len(set(self.inputs)) < len(self.inputs):
            raise ValueError("inputs names one twice; each may stand once")
        return self

    def describe(
        self,
        *,
        n_slices: int,
        attention: Attention | None = None,
        readout: Readout = "attended",
        sharpness: float = 1.0,
    ) -> dict[str, Any]:
        """What `build_network` builds it from.

        Args:
            n_slices: Slices of the cohort's hemispheres.
            attention: The trial's; None: the network's own.
            readout: How the phase reads voxels out, where they are attended.
            sharpness: The trial's, likewise.
        """
        own = self.model_dump(mode="json")
        if self.attends:
            kept = {name: value for name, value in own.items() if name not in (*_OF_THE_MEAN, "readout")}
            trial = {"attention": attention or self.own_attention, "readout": readout, "sharpness": sharpness}
            return {**kept, **trial, "n_slices": n_slices}
        kept = {n: value for n, value in own.items() if n not in (*NetworkSettings.model_fields, "readout")}
        return {**kept, "n_slices": n_slices, "attention": attention or self.own_attention}


class SliceSettings(NetworkSettings):
    """The 2D network.

    Attributes:
        width: Channels of `layer1`; 64 is ResNet-18, 8 or 16 trains on a laptop.
        stem_stride: Pixels that the stem condenses to one: 4 is ResNet-18, 2 or 1 for coarse grids.
        attn_level: What the attention gate gates, three readings of the paper's figure: `A` layer3, as its text has it;
            `B` layer3 at twice the resolution, as its sizes have it; `C` layer2.
        slice_pooling: How the logits of slices become a hemisphere's: `position` (a weight by slice position, in sum
            1), `position_sigmoid` (the paper to the letter: each weight in 0 to 1), `logit_sum` (a weighted sum of
            logits), `gated_mil` (a weight by content, Ilse 2018), `max`, `lse` (a soft maximum), `noisy_or` (a lesion
            in any slice is a lesion).
        readout: `mean`, the paper's way, over the last map of each slice; or `attended`, over the brain's voxels.

    The others are those of `NetworkSettings`.
    """

    kind: Literal["slice"] = "slice"
    width: Width = 64
    stem_stride: StemStride = 4
    attn_level: AttentionLevel = "A"
    slice_pooling: SlicePoolingName = "position"
    readout: Literal["mean", "attended"] = "mean"


class VolumeSettings(NetworkSettings):
    """The 3D network.

    Attributes:
        width: Channels of `layer1`; 64 is Models Genesis, 8 or 16 trains on a laptop.
        readout: `mean`, the paper's way, over the last map; or `attended`, over the brain's voxels.

    The others are those of `NetworkSettings`.
    """

    kind: Literal["volume"] = "volume"
    width: Width = 64
    readout: Literal["mean", "attended"] = "mean"


class VoxelSettings(NetworkSettings):
    """The small network for small cohorts, which looks at each voxel alone and attends to all of them.

    Attributes:
        width: Features of a voxel.

    The others are those of `NetworkSettings`.
    """

    kind: Literal["voxel"] = "voxel"
    width: Width = 16


class RadiomicsSettings(BaseModel):
    """The radiomics baseline: no network, but it takes a network's place in an arm; see `tissueclock.radiomics`.

    Attributes:
        least_ml: A part of a region of interest with a smaller volume is left out.
        dilation: Pixels by which a region is widened before it is described.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["radiomics"] = "radiomics"
    inputs_read: ClassVar[tuple[InputName, ...]] = ()
    takes_missing_flair: ClassVar[bool] = False

    least_ml: Annotated[float, Field(ge=0.0, le=100.0)] = 0.2
    dilation: Annotated[int, Field(ge=0, le=10)] = 2

    def describe(
        self,
        *,
        n_slices: int,
        spacing_mm: Sequence[float],
        model: RadiomicsModel,
        tree_depth: int,
        adc_factor: float,
        b1000_sd: float,
    ) -> dict[str, Any]:
        """What `build_network` builds it from.

        Args:
            n_slices: Slices of the cohort's hemispheres.
            spacing_mm: Distance of their slices, rows and columns.
            model: The trial's, as the others.
            tree_depth: Likewise.
            adc_factor: Likewise.
            b1000_sd: Likewise.
        """
        trial = {"model": model, "tree_depth": tree_depth, "adc_factor": adc_factor, "b1000_sd": b1000_sd}
        return {**self.model_dump(mode="json"), "n_slices": n_slices, "spacing_mm": list(spacing_mm), **trial}


NETWORK_KINDS = ("slice", "volume", "voxel")
"""The kinds that learn by gradients."""


def _kind_of(value: Any) -> Any:
    kind = value.get("kind", _DEFAULT_KIND) if isinstance(value, Mapping) else getattr(value, "kind", _DEFAULT_KIND)
    return kind if isinstance(kind, str) else repr(kind)


AnyNetwork = Annotated[
    Annotated[SliceSettings, Tag("slice")]
    | Annotated[VolumeSettings, Tag("volume")]
    | Annotated[VoxelSettings, Tag("voxel")]
    | Annotated[RadiomicsSettings, Tag("radiomics")],
    Discriminator(_kind_of),
]
"""One line a kind; a mapping without a kind is `slice`."""
