"""What freezing needs to know of a network: its stages, counted from the input, and the parts that come after them.

Refuses to know what is frozen, or why.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


class StagedNetwork(nn.Module, abc.ABC):
    """A network of named stages, in order from the input, followed by named parts.

    A batch normalisation whose parameters do not learn keeps its running statistics: it stays in evaluation mode when
    `train()` is called. So freezing is a matter of `requires_grad` alone, and survives copying and saving.
    """

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """What rebuilds this network: its kind and the arguments of its constructor, as JSON facts."""

    @abc.abstractmethod
    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each stage, in order from the input."""

    @abc.abstractmethod
    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """What comes after the stages: `gates`, `slices` and `head`; a part that is not computed is left out."""

    def train(self, mode: bool = True) -> "StagedNetwork":
        """Switches to training mode, but for batch normalisations that are frozen."""
        super().train(mode)
        if mode:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    parameters = list(module.parameters())
                    if parameters and not any(parameter.requires_grad for parameter in parameters):
                        module.eval()
        return self
