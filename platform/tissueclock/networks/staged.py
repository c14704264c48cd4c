"""What freezing needs to know of a network: its stages, counted from the input, and the parts that come after them."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tissueclock.networks.trunk import Trunk


class StagedNetwork(nn.Module, abc.ABC):
    """A network of named stages, in order from the input, followed by named parts.

    A batch normalisation whose parameters do not learn keeps its running statistics: it stays in evaluation mode when
    `train()` is called. So freezing is a matter of `requires_grad` alone, and survives copying and saving.

    What it computes falls in two at any depth: `before(x, depth)` runs the first `depth` stages and `after` the rest.
    What lies between depends on the input, on `frozen_state(depth)` and on `frozen_facts(depth)`, and on nothing else.
    """

    trunk: Trunk
    _description: dict[str, Any]

    @property
    def description(self) -> dict[str, Any]:
        """What rebuilds this network: its kind and the arguments of its constructor, as JSON facts."""
        return dict(self._description)

    @abc.abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws first weights from `generator`, on the parameters' device; from torch's global one if None."""

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each stage, in order from the input, as named in `STAGES`."""
        return self.trunk.stage_modules()

    @abc.abstractmethod
    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """What comes after the stages: `gates`, `slices` and `head`; a part that is not computed is left out."""

    @abc.abstractmethod
    def before(self, x: Tensor, depth: int) -> tuple[Tensor, ...]:
        """All that `after` needs of the input and of the first `depth` stages, batch first; depth 0 gives the input."""

    @abc.abstractmethod
    def after(self, maps: tuple[Tensor, ...], depth: int) -> Tensor:
        """The output, in float32, from what `before` gave for the same depth; its maps may have been rounded since."""

    @abc.abstractmethod
    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """What decides, besides tensors, what `before(x, depth)` gives: JSON facts."""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        held: Tensor = next(iter(self.state_dict().values()))
        return held.device

    @property
    def n_halves(self) -> int:
        """Halves of the head that are read: 2 where the patient's other half lies behind the own series."""
        return 1

    @property
    def sources(self) -> tuple[int, ...]:
        """For each input the series, by number, that it is made of (the first of several); empty: inputs are series."""
        return ()

    @property
    def only_measures(self) -> bool:
        """Whether its stages hold no weights: then all networks of the same facts see the same in a hemisphere."""
        return False

    def fit_inputs(self, batches: Iterable[Tensor]) -> None:
        """Learns from hemispheres how inputs are standardised; nothing, for a network that takes them as they are."""

    def frozen_state(self, depth: int) -> dict[str, Tensor]:
        """The parameters and buffers of the first `depth` stages, by their names in the state dict."""
        frozen = {module for stage in self.stages()[:depth] for module in stage}
        prefixes = tuple(f"{name}." for name, module in self.named_modules() if module in frozen)
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if name.startswith(prefixes) and not name.endswith(".num_batches_tracked")  # read in training mode alone
        }

    def forward(self, x: Tensor) -> Tensor:
        """The output of the network for a batch."""
        return self.after(self.before(x, 0), 0)

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
