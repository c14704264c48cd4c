"""Augmentation of a batch of hemispheres, all at once, on the device that the batch is on.

There is no left-right flip: the right hemispheres are mirrored onto the left already, and a flip would undo it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from tissueclock.channels import SERIES


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The ranges of the changes at strength 1; each is drawn evenly from -range to +range, but for the noise.

    Attributes:
        rotation_degrees: In the plane, about the centre of the hemisphere's image.
        scale_fraction: Of the size in the plane.
        shift_fraction: Of the image's height and width.
        intensity_fraction: Gain of each series.
        gamma_fraction: Exponent of each series; 1, typical tissue, stays what it is.
        noise_sd: Standard deviation of Gaussian noise, in units of typical tissue.
    """

    rotation_degrees: float = 10.0
    scale_fraction: float = 0.1
    shift_fraction: float = 0.03
    intensity_fraction: float = 0.1
    gamma_fraction: float = 0.1
    noise_sd: float = 0.02


_PAPER_SILENT_DEFAULT = Augmentation()


def augment(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    strength: float,
    generator: torch.Generator | Sequence[torch.Generator],
    ranges: Augmentation = _PAPER_SILENT_DEFAULT,
    n_halves: int = 1,
) -> Float[Tensor, "batch series slice height width"]:
    """The batch, changed as another scan of the same hemispheres might differ.

    One affine in the plane for all slices and series of a hemisphere, then gamma, gain and noise for each series.
    Outside the brain (where the first series, b0, is 0) there are zeros before and after, as all over a series that is
    missing.

    Args:
        batch: Hemispheres, float32, 1 in typical tissue; it is not changed.
        strength: Multiplies all ranges; 0 returns the batch itself.
        generator: The source of chance, on the batch's device; or one for each hemisphere, whose change then depends
            on no other.
        ranges: What strength 1 means.
        n_halves: Halves of a head that lie behind each other in the channels, each with a brain of its own. They come
            from one scan, so they are moved, and their series change, alike; only the noise is each half's own.
    """
    if strength == 0.0:
        return batch
    halves = batch.reshape(len(batch) * n_halves, -1, *batch.shape[2:])
    affine = _draw_affine(batch, strength=strength, generator=generator, ranges=ranges)
    moved, brain = _move(halves, affine.repeat_interleave(n_halves, dim=0))
    draw = strength * _draw_even((2, halves.shape[1]), like=batch, generator=generator)
    draw = draw.repeat_interleave(n_halves, dim=0)[..., None, None, None]
    gain, gamma = 1.0 + draw[:, 0] * ranges.intensity_fraction, 1.0 + draw[:, 1] * ranges.gamma_fraction
    noise = _draw(torch.randn, tuple(batch.shape[1:]), like=batch, generator=generator).view_as(halves)
    missing = (halves == 0).flatten(2).all(dim=2)[..., None, None, None]
    changed = moved.clamp_min_(0.0).pow_(gamma).mul_(gain).add_(noise, alpha=strength * ranges.noise_sd)
    return changed.masked_fill_(~brain | missing, 0.0).reshape(batch.shape)


def drop_flair(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    share: float,
    generator: torch.Generator | Sequence[torch.Generator],
    n_halves: int = 1,
) -> Float[Tensor, "batch series slice height width"]:
    """The batch, in which chance has taken FLAIR from a share of the heads: from all halves of a head, or from none.

    Args:
        batch: Hemispheres; not changed.
        share: In [0, 1); 0 returns the batch itself, and draws nothing.
        generator: As for `augment`.
        n_halves: Halves of a head that lie behind each other in the channels.
    """
    if share == 0.0:
        return batch
    dropped = _draw(torch.rand, (), like=batch, generator=generator) < share
    halves = batch.reshape(len(batch), n_halves, -1, *batch.shape[2:]).clone()
    halves[dropped, :, SERIES.index("flair")] = 0.0
    return halves.reshape(batch.shape)


def _draw_affine(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    strength: float,
    generator: torch.Generator | Sequence[torch.Generator],
    ranges: Augmentation,
) -> Float[Tensor, "batch 2 3"]:
    """Where each pixel of the result is read, in `affine_grid`'s coordinates (-1 to 1 along width and height)."""
    height, width = batch.shape[3:]
    draw = strength * _draw_even((4,), like=batch, generator=generator).T
    angle = draw[0] * math.radians(ranges.rotation_degrees)
    scale = 1.0 + draw[1] * ranges.scale_fraction
    cos, sin = angle.cos() / scale, angle.sin() / scale
    along_width = torch.stack([cos, -sin * (height / width), 2.0 * draw[2] * ranges.shift_fraction], dim=1)
    along_height = torch.stack([sin * (width / height), cos, 2.0 * draw[3] * ranges.shift_fraction], dim=1)
    return torch.stack([along_width, along_height], dim=1)


def _move(
    batch: Float[Tensor, "batch series slice height width"], affine: Float[Tensor, "batch 2 3"]
) -> tuple[Float[Tensor, "batch series slice height width"], Bool[Tensor, "batch 1 slice height width"]]:
    """The moved hemispheres, and where their brain is: where more than half of a pixel's weight comes from brain.

    There, values are averaged over brain alone, so that the zeros outside darken no rim.
    """
    inside = (batch[:, :1] != 0).to(batch.dtype)
    stacked = torch.cat([batch, inside], dim=1)
    grid = functional.affine_grid(affine, [len(batch), 1, *batch.shape[3:]], align_corners=False)
    sampled = functional.grid_sample(
        stacked.flatten(1, 2), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    sampled = sampled.view(stacked.shape)
    moved, weight = sampled[:, :-1], sampled[:, -1:]
    brain = weight > 0.5
    return moved.div_(weight.clamp_min_(0.5)), brain


def _draw_even(
    shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | Sequence[torch.Generator]
) -> Tensor:
    """Numbers drawn evenly from -1 to 1, `batch *shape`."""
    return _draw(torch.rand, shape, like=like, generator=generator).mul_(2.0).sub_(1.0)


def _draw(
    kind: Callable[..., Tensor],
    shape: tuple[int, ...],
    *,
    like: Tensor,
    generator: torch.Generator | Sequence[torch.Generator],
) -> Tensor:
    """Numbers of `torch.rand` or `torch.randn`, `batch *shape`."""
    if isinstance(generator, torch.Generator):
        return kind((len(like), *shape), generator=generator, device=like.device, dtype=like.dtype)
    drawn = [kind(shape, generator=own, device=like.device, dtype=like.dtype) for own in generator]
    return torch.stack(drawn)
