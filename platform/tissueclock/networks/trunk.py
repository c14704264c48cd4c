"""What 2D and 3D trunks have in common: five stages that can be left and taken up again between any two of them."""

import abc
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
"""The stages in order from the input: what `freeze_depth` counts."""


class Trunk(nn.Module, abc.ABC):
    """Five stages, each of which enters (pools, where it does) and then runs.

    Attributes:
        channels: Of each stage's map.
    """

    channels: tuple[int, ...]

    @abc.abstractmethod
    def stage_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules with parameters of each stage, in the order of `STAGES`."""

    @abc.abstractmethod
    def enter_stage(self, i_stage: int, x: Float[Tensor, "image channel *grid"]) -> Float[Tensor, "image channel ..."]:
        """What stage `i_stage` runs on, from the map of the one before: pooled where the stage begins with that."""

    @abc.abstractmethod
    def run_stage(self, i_stage: int, x: Float[Tensor, "image channel *grid"]) -> Float[Tensor, "image n_out ..."]:
        """The map of stage `i_stage` (0 to 4, as in `STAGES`), from what it entered with."""

    def run_until(
        self, x: Float[Tensor, "image series *grid"], depth: int, *, gated: Sequence[int] = ()
    ) -> tuple[Tensor, ...]:
        """What the first `depth` stages leave to the others.

        Args:
            x: The input.
            depth: Stages to run, 0 to 5.
            gated: The stages whose maps are read beside the last one, ascending.

        Returns:
            The gated maps among those stages; then what the next stage enters with, or the last map after all five. A
            gated map that the next stage begins from is not given twice.
        """
        held = []
        for i_stage in range(depth):
            x = self._run_stage(i_stage, self.enter_stage(i_stage, x))
            if i_stage in gated:
                held.append(x)
        if depth - 1 in gated:
            return tuple(held)
        return (*held, x if depth == len(STAGES) else self.enter_stage(depth, x))

    def run_from(self, held: Sequence[Tensor], depth: int, *, gated: Sequence[int] = ()) -> tuple[Tensor, ...]:
        """The gated maps, then the last one, from what `run_until` gave for the same `depth` and `gated`."""
        n_gated = sum(i_stage < depth for i_stage in gated)
        maps, x = [*held[:n_gated]], held[-1]
        if depth - 1 in gated:
            x = self.enter_stage(depth, x)
        for i_stage in range(depth, len(STAGES)):
            x = self._run_stage(i_stage, x if i_stage == depth else self.enter_stage(i_stage, x))
            if i_stage in gated:
                maps.append(x)
        return (*maps, x)

    def _run_stage(self, i_stage: int, x: Float[Tensor, "image channel *grid"]) -> Float[Tensor, "image n_out ..."]:
        """Runs a stage; in float32 on a CPU where the map is one or two voxels wide.

        Of a convolution with stride 2 over such a map oneDNN's bfloat16 gradient is wrong on CPUs with AMX (torch 2.13:
        in 40 of 40 tries over 4 x 2 pixels, in none over 3 x 3 and more).
        """
        if x.device.type == "cpu" and min(x.shape[2:]) <= 2:
            with torch.autocast("cpu", enabled=False):
                return self.run_stage(i_stage, x.float())
        return self.run_stage(i_stage, x)

    def forward(self, x: Float[Tensor, "image series *grid"]) -> Float[Tensor, "image channel ..."]:
        """The map of the last stage."""
        return self.run_until(x, len(STAGES))[0]
