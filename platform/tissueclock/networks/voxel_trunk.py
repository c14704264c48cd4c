"""The smallest trunk: layers on each voxel alone, in five stages as the others have.

What small cohorts can teach: wide spatial filters overfit, or do not find the lesion, where a few hundred weights do.
Refuses to know attention and heads.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tissueclock.networks.trunk import STAGES, Trunk


class VoxelTrunk(Trunk):
    """A linear layer and a ReLU on the channels of each voxel, at each stage; the grid stays.

    No normalisation: its inputs are standardised, and it is one or two layers deep.

    Args:
        n_inputs: Channels of the input.
        width: Features of a voxel after each stage.
        n_stages: Stages that hold a layer, 1 to 5; those beyond pass on what they are given.
    """

    def __init__(self, *, n_inputs: int, width: int, n_stages: int) -> None:
        super().__init__()
        self.channels = (width,) * len(STAGES)
        widths = (n_inputs, *self.channels)
        for i_stage, name in enumerate(STAGES[:n_stages]):
            self.add_module(name, nn.Linear(widths[i_stage], widths[i_stage + 1]))

    def stage_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The layer of each stage, in the order of `STAGES`; none where a stage holds none."""
        held = dict(self.named_children())
        return tuple((held[name],) if name in held else () for name in STAGES)

    def enter_stage(
        self, i_stage: int, x: Float[Tensor, "batch channel slice rows columns"]
    ) -> Float[Tensor, "batch channel slice rows columns"]:
        """The map itself."""
        return x

    def run_stage(
        self, i_stage: int, x: Float[Tensor, "batch channel slice rows columns"]
    ) -> Float[Tensor, "batch feature slice rows columns"]:
        """The features of stage `i_stage` (0 to 4, as in `STAGES`)."""
        for layer in self.stage_modules()[i_stage]:
            x = torch.relu(layer(x.movedim(1, -1))).movedim(-1, 1)  # a channels-last view: no copy
        return x
