"""What a hemisphere is distorted by, to learn from restoring it: the four transformations of Models Genesis.

Local pixel shuffling, non-linear intensity, in-painting and out-painting, of a whole batch at once on its device, alike
for its three series. Written from the published description; the reference code is licensed for non-commercial research
only and was not used. There is no flip: the right hemispheres are mirrored onto the left already, and a flip would undo
it.

References:
    Zhou et al. 2019, Models Genesis, doi:10.1007/978-3-030-32251-9_42.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FULL_SCALE = 3.0
"""What 1 means to a distortion, in units of typical tissue (the packed cohort's): brighter fluid is clipped to it."""

_N_BOXES = 5
_N_CURVE_POINTS = 1000


@dataclass(frozen=True, slots=True)
class Distortion:
    """The parameters of Models Genesis.

    Attributes:
        shuffle_fraction: Of hemispheres whose pixels are shuffled.
        shuffle_coverage: Windows times their mean volume over the hemisphere's: 10,000 windows of the reference's size
            in its 64x64x32 crops.
        shuffle_window_divisor: A window's sides are drawn from 1 to the hemisphere's side over this.
        curve_fraction: Of hemispheres whose intensity is bent.
        inversion_fraction: Of those, how many are bent along a falling curve.
        paint_fraction: Of hemispheres that are painted.
        inward_fraction: Of those, how many inside boxes; the others outside.
        next_box_fraction: Probability of each further box, of at most five.
        margin: Voxels that boxes keep from the border, where there are that many.
    """

    shuffle_fraction: float = 0.5
    shuffle_coverage: float = 1.87
    shuffle_window_divisor: int = 10
    curve_fraction: float = 0.9
    inversion_fraction: float = 0.5
    paint_fraction: float = 0.9
    inward_fraction: float = 0.2
    next_box_fraction: float = 0.95
    margin: int = 3


_MODELS_GENESIS = Distortion()


def to_unit(
    batch: Float[Tensor, "batch series slice height width"],
) -> Float[Tensor, "batch series slice height width"]:
    """Hemispheres (1 in typical tissue) to the range 0 to 1 that distortions work in and restored volumes have."""
    return (batch / FULL_SCALE).clamp_(0.0, 1.0)


def distort(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    generator: torch.Generator,
    parameters: Distortion = _MODELS_GENESIS,
) -> Float[Tensor, "batch series slice height width"]:
    """The batch, each hemisphere distorted in its own way.

    Args:
        batch: In 0 to 1, 0 outside the brain; it is not changed.
        generator: The source of chance, on the batch's device.
        parameters: How often and how strongly.

    Returns:
        In 0 to 1. Shuffled and bent hemispheres keep 0 outside the brain; painted ones have noise there too.
    """
    n, device = len(batch), batch.device

    def chosen(fraction: float) -> Bool[Tensor, " batch"]:
        return torch.rand(n, generator=generator, device=device) < fraction

    shuffled = shuffle_windows(
        batch, which=chosen(parameters.shuffle_fraction), generator=generator, parameters=parameters
    )
    bent = bend_intensity(
        shuffled,
        which=chosen(parameters.curve_fraction),
        inverted=chosen(parameters.inversion_fraction),
        generator=generator,
    )
    return paint(
        bent,
        which=chosen(parameters.paint_fraction),
        inward=chosen(parameters.inward_fraction),
        generator=generator,
        parameters=parameters,
    )


def shuffle_windows(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    which: Bool[Tensor, " batch"],
    generator: torch.Generator,
    parameters: Distortion = _MODELS_GENESIS,
) -> Float[Tensor, "batch series slice height width"]:
    """Permutes the voxels of many small windows, read from the original; where windows overlap, the last one shows."""
    sides = torch.tensor(batch.shape[2:], device=batch.device)
    longest = (sides // parameters.shuffle_window_divisor).clamp_min(1)
    n_voxels = int(sides.prod())
    mean_volume = float(((longest + 1) / 2).prod())
    n_windows = max(1, round(parameters.shuffle_coverage * n_voxels / mean_volume))
    samples = which.nonzero().squeeze(1).repeat_interleave(n_windows)
    if len(samples) == 0 or int(longest.prod()) == 1:
        return batch
    size = 1 + _below(longest.expand(len(samples), 3), generator=generator)
    start = _below(sides - size + 1, generator=generator)
    cells, window = _cells(size, start, sides)
    cells += samples[window] * n_voxels
    # A random order within each window: windows are whole numbers, so that sorting keeps them apart.
    key = window + torch.rand(len(window), generator=generator, device=batch.device, dtype=torch.float64)
    source = cells[key.argsort()]
    last = torch.full((len(batch) * n_voxels,), -1, device=batch.device).scatter_reduce_(0, cells, window, "amax")
    shows = last[cells] == window
    by_series = batch.transpose(0, 1).flatten(1)  # series, batch * voxel
    out = by_series.clone()
    out[:, cells[shows]] = by_series[:, source[shows]]
    return out.view(batch.shape[1], len(batch), *batch.shape[2:]).transpose(0, 1).contiguous()


def bend_intensity(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    which: Bool[Tensor, " batch"],
    inverted: Bool[Tensor, " batch"],
    generator: torch.Generator,
) -> Float[Tensor, "batch series slice height width"]:
    """Maps intensities along a cubic Bezier curve from (0, 0) to (1, 1) with two random control points.

    A hemisphere has one curve for its three series, so that their contrast to each other bends, but stays one relation.
    A curve rises; `inverted`, it runs from 1 at 0 down to 0 at 1. Zeros, outside the brain, stay.
    """
    control = torch.rand(len(batch), 2, 2, generator=generator, device=batch.device, dtype=batch.dtype)
    t = torch.linspace(0.0, 1.0, _N_CURVE_POINTS, device=batch.device, dtype=batch.dtype)
    weights = torch.stack([3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t)], dim=1)
    x, y = (control.transpose(1, 2) @ weights.T + t**3).unbind(1)
    x = x.sort(dim=1).values
    y = torch.where(inverted[:, None], y.flip(1), y.sort(dim=1).values)
    flat = batch.flatten(1)
    above = torch.searchsorted(x, flat).clamp_(1, _N_CURVE_POINTS - 1)
    x0, x1, y0, y1 = x.gather(1, above - 1), x.gather(1, above), y.gather(1, above - 1), y.gather(1, above)
    bent = y0 + (y1 - y0) * ((flat - x0) / (x1 - x0).clamp_min(1e-12)).clamp_(0.0, 1.0)
    keeps = ~which[:, None] | (flat == 0)
    return torch.where(keeps, flat, bent).view_as(batch)


def paint(
    batch: Float[Tensor, "batch series slice height width"],
    *,
    which: Bool[Tensor, " batch"],
    inward: Bool[Tensor, " batch"],
    generator: torch.Generator,
    parameters: Distortion = _MODELS_GENESIS,
) -> Float[Tensor, "batch series slice height width"]:
    """Puts noise, the same for the three series, into up to five boxes (`inward`), or everywhere but in large boxes."""
    sides = torch.tensor(batch.shape[2:], device=batch.device)
    least = torch.where(inward[:, None], sides // 6, sides - 4 * sides // 7).clamp_min(1)
    most = torch.where(inward[:, None], sides // 3, sides - 3 * sides // 7).clamp_min(1).maximum(least)
    shape = (len(batch), _N_BOXES, 3)
    size = least[:, None] + _below((most - least + 1)[:, None].expand(shape), generator=generator)
    margin = ((sides - size) // 2).clamp_max(parameters.margin)
    start = margin + _below(sides - size - 2 * margin + 1, generator=generator)
    goes_on = torch.rand(shape[:2], generator=generator, device=batch.device) < parameters.next_box_fraction
    goes_on[:, 0] |= ~inward  # outside painting always has one box
    boxes = _inside(start, size, sides) & goes_on.cumprod(1).bool()[:, :, None, None, None]
    in_box = boxes.any(dim=1, keepdim=True)
    painted = torch.where(inward[:, None, None, None, None], in_box, ~in_box) & which[:, None, None, None, None]
    noise = torch.rand(in_box.shape, generator=generator, device=batch.device, dtype=batch.dtype)
    return torch.where(painted, noise, batch)


def _below(limit: Int[Tensor, "*shape"], *, generator: torch.Generator) -> Int[Tensor, "*shape"]:
    """Whole numbers from 0 to `limit` - 1, each as likely."""
    drawn = torch.rand(limit.shape, generator=generator, device=limit.device)
    return (drawn * limit).long().minimum(limit - 1)


def _cells(
    size: Int[Tensor, "window 3"], start: Int[Tensor, "window 3"], sides: Tensor
) -> tuple[Int[Tensor, " cell"], Int[Tensor, " cell"]]:
    """Every voxel (its position in the flattened hemisphere) of every window, and the window's number."""
    volume = size.prod(1)
    window = torch.repeat_interleave(torch.arange(len(size), device=size.device), volume)
    within = torch.arange(len(window), device=size.device) - (volume.cumsum(0) - volume)[window]
    rows, columns = size[window, 1], size[window, 2]
    at = torch.stack([within // (rows * columns), within // columns % rows, within % columns], dim=1) + start[window]
    return (at[:, 0] * sides[1] + at[:, 1]) * sides[2] + at[:, 2], window


def _inside(
    start: Int[Tensor, "batch box 3"], size: Int[Tensor, "batch box 3"], sides: Tensor
) -> Bool[Tensor, "batch box slice height width"]:
    """Where each box is."""
    along = []
    for axis in range(3):
        at = torch.arange(int(sides[axis]), device=start.device)
        first = start[:, :, axis, None]
        along.append((at >= first) & (at < first + size[:, :, axis, None]))
    return along[0][..., :, None, None] & along[1][..., None, :, None] & along[2][..., None, None, :]
