"""Where a network looks: attention, the region of interest, or Grad-CAM, as one map over a hemisphere.

References:
    Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74 (Grad-CAM).
    Adebayo et al. 2018, arXiv:1810.03292 (a map that does not change with the weights says nothing of them).
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.networks.radiomics_network import RadiomicsNetwork
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES

MapKind = Literal["attention", "region", "Grad-CAM"]


@dataclass(frozen=True, slots=True)
class Looked:
    """A map for each hemisphere.

    Attributes:
        kind: `attention` of a network that attends to voxels; `region` of interest, of radiomics; else `Grad-CAM`.
        map: At least 0, largest 1 in each hemisphere, or 0 throughout; `batch slice height width`.
    """

    kind: MapKind
    map: Float[Tensor, "batch slice height width"]


def look_at(network: StagedNetwork, x: Float[Tensor, "batch series slice height width"]) -> Looked:
    """Where a network looks in each hemisphere for its answer.

    Grad-CAM is that of the last stage, whose mean is read; of a network that attends evenly, of the map that it reads.
    In 2D the gradient passes through the pooling of slices, so a slice that does not count is dark.

    Args:
        network: In evaluation mode.
        x: As the network reads them, on its device.
    """
    if isinstance(network, AttendedNetwork) and network.attention != "off":
        with torch.inference_mode():
            return Looked("attention", _enlarge(network.read(x).attention, x))
    if isinstance(network, RadiomicsNetwork):
        return Looked("region", network.regions(x).float())
    cam = _cam_of_inputs(network, x) if isinstance(network, AttendedNetwork) else _cam_of_last_stage(network, x)
    return Looked("Grad-CAM", _enlarge(cam, x))


def permuted(network: StagedNetwork, generator: torch.Generator) -> StagedNetwork:
    """The same network with the values of each of its parameters in another order: as good as untrained.

    Args:
        network: Stays as it is.
        generator: On the CPU.
    """
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other


def _cam_of_last_stage(network: StagedNetwork, x: Tensor) -> Float[Tensor, "batch slices rows columns"]:
    held: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        output.requires_grad_(True)
        held.append(output)

    hook = network.stages()[-1][-1].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logit = network(x)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(logit.sum(), held[0])
    by_slice = held[0].ndim == 4  # images of one slice each, else volumes
    axes = (2, 3) if by_slice else (2, 3, 4)
    cam = (gradient.mean(dim=axes, keepdim=True) * held[0]).sum(dim=1).relu().detach()
    return cam.view(len(x), -1, *cam.shape[1:]) if by_slice else cam


def _cam_of_inputs(network: AttendedNetwork, x: Tensor) -> Float[Tensor, "batch slices rows columns"]:
    with torch.no_grad():
        features, inputs, brain = network.before(x, len(STAGES))
    maps = [features.requires_grad_(True), inputs.requires_grad_(True)]
    with torch.enable_grad():
        logit = network.after((*maps, brain), len(STAGES))
    gradients = torch.autograd.grad(logit.sum(), maps, allow_unused=True)
    cam = torch.zeros_like(features[:, 0])
    for map_, gradient in zip(maps, gradients, strict=True):
        if gradient is not None:
            part = (gradient.mean(dim=(2, 3, 4), keepdim=True) * map_).sum(dim=1).detach()
            cam = cam + functional.adaptive_avg_pool3d(part[:, None], (*cam.shape[1:],))[:, 0]
    return cam.relu()


def _enlarge(map_: Float[Tensor, "batch slices rows columns"], x: Tensor) -> Float[Tensor, "batch slice height width"]:
    large = functional.interpolate(map_[:, None].float(), x.shape[2:], mode="trilinear", align_corners=False)[:, 0]
    return large / large.amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
