"""One process's part of a trial that several processes train together, over torch.distributed.

Each takes every so-manieth sample of a batch; gradients are summed after the backward pass. Torch's
DistributedDataParallel wraps `forward`, while learning enters networks in the middle (`StagedNetwork.after`), so the
sums are written out here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor, distributed, nn


@dataclass(frozen=True, slots=True)
class Shard:
    """This process among those that train one trial.

    Attributes:
        rank: Its number, from 0, which writes the checkpoints.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def of(self, positions: Int64[ndarray, " sample"]) -> Int64[ndarray, " mine"]:
        """The positions that are this process's; the shards' sizes differ by at most 1."""
        return positions[self.rank :: self.size]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients of parameters that learn over all processes; one that had no sample adds zeros."""
        if self.size == 1:
            return
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in learned if parameter.grad is not None]
        flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [each.numel() for each in gradients])
        for gradient, summed in zip(gradients, parts, strict=True):
            gradient.copy_(summed.view_as(gradient))

    def share_buffers(self, module: nn.Module) -> None:
        """Gives every process the first one's running statistics: each saw its own shard's, and one counts."""
        if self.size > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)
