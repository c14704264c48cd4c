"""What a network is shown of a hemisphere: series, ADC and the ratio to the other half, standardised over the brain.

Mean and standard deviation are those of the cohort that a network was trained on. They are buffers, so they travel with
its weights: a prediction uses the training cohort's.

References:
    Stejskal and Tanner 1965, doi:10.1063/1.1695690 (ADC from two weightings).
    Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611 (ratio maps, clipped at 4).
"""

import math
from collections.abc import Iterable, Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.channels import SERIES
from tissueclock.networks.settings import PRESENCE, InputName

_OF_THREE = ("surround", "mirror")
"""Inputs that are one channel for each series."""

_DARKEST = 0.02
"""Below this fraction of typical tissue a signal is noise, and its logarithm would be an outlier."""

_LARGEST_LOG_RATIO = math.log(4.0)
_LEAST_BRAIN_FRACTION = 0.5
"""A cell with less brain than this is none."""


class Inputs(nn.Module):
    """Hemispheres, averaged over cells, as standardised inputs.

    Args:
        names: `b0`, `b1000`, `flair`; `adc`, ln(b0 / b1000), which is the apparent diffusion coefficient in
            1e-3 mm2/s but for a constant, each packed series being scaled on its own; `surround`, the series averaged
            over the 3 x 3 cells around; `mirror`, three log ratios of the series to the patient's other half;
            `flair_present`, 0 where there is FLAIR and -1 where it is 0 everywhere, when all that is made of FLAIR
            becomes 0, which is what patients who have it are on the mean.
        cell: Pixels along each side of a cell, at least 1; cells are averaged over their brain.
        mirror_cells: Cells along each side over which both halves are averaged before their ratio, odd.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, names: Sequence[str], *, cell: int = 1, mirror_cells: int = 3) -> None:
        super().__init__()
        if unknown := [name for name in names if name not in get_args(InputName)]:
            raise ValueError(f"inputs: {unknown[0]!r} found; allowed: {', '.join(get_args(InputName))}")
        self.names, self._cell, self._mirror_cells = tuple(names), cell, mirror_cells
        self.channel_names = tuple(
            channel
            for name in names
            for channel in ([f"{name}_{series}" for series in SERIES] if name in _OF_THREE else [name])
        )
        self.n_channels = len(self.channel_names)
        self._of_flair = torch.tensor([name.endswith("flair") for name in self.channel_names])
        self._is_presence = torch.tensor([name == PRESENCE for name in self.channel_names])
        self.register_buffer("mean", torch.zeros(self.n_channels))
        self.register_buffer("sd", torch.ones(self.n_channels))

    @property
    def n_halves(self) -> int:
        """Halves that must be given: 2, the patient's other one behind the own, where the mirror is an input."""
        return 2 if "mirror" in self.names else 1

    def fit(self, batches: Iterable[Float[Tensor, "batch series slice height width"]]) -> None:
        """Sets mean and standard deviation to those over the brain cells of these hemispheres."""
        n, total, squares = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for batch in batches:
            channels, brain = self.measure(batch)
            voxels = channels.movedim(1, -1)[brain > 0].double().cpu()
            shown = self._shown(batch)[:, None, None, None].expand(*brain.shape, -1)[brain > 0].double().cpu()
            n, total = n + shown.sum(dim=0), total + (shown * voxels).sum(dim=0)
            squares = squares + (shown * voxels.square()).sum(dim=0)
        some = n.clamp_min(1.0)  # nobody has FLAIR: what is made of it is 0 whatever it is standardised by
        mean = total / some
        variance = torch.where(n > 0, squares / some - mean.square(), torch.ones_like(n))
        mean, variance = mean.masked_fill(self._is_presence, 1.0), variance.masked_fill(self._is_presence, 1.0)
        self.mean.copy_(mean)
        self.sd.copy_(variance.clamp_min(1e-12).sqrt())

    def forward(
        self, x: Float[Tensor, "batch series slice height width"]
    ) -> tuple[Float[Tensor, "batch channel slice rows columns"], Float[Tensor, "batch slice rows columns"]]:
        """The standardised inputs, 0 outside the brain, and 1 where a cell is brain, else 0.

        Args:
            x: b0, b1000, FLAIR, 0 outside the brain; behind them the other half's, if `n_halves` is 2.
        """
        channels, brain = self.measure(x)
        shape = (1, -1, 1, 1, 1)
        standardised = (channels - self.mean.view(shape)) / self.sd.view(shape)
        shown = brain[:, None] if PRESENCE not in self.names else brain[:, None] * self._shown(x)[..., None, None, None]
        return standardised * shown, brain

    def _shown(self, x: Float[Tensor, "batch series slice height width"]) -> Float[Tensor, "batch channel"]:
        """1 for each input that there is something to make of, 0 for FLAIR's of a hemisphere without it."""
        if PRESENCE not in self.names:
            return torch.ones(len(x), self.n_channels, dtype=x.dtype, device=x.device)
        return torch.where(
            self._of_flair.to(x.device), _present(x)[:, None], torch.ones((), dtype=x.dtype, device=x.device)
        )

    def measure(
        self, x: Float[Tensor, "batch series slice height width"]
    ) -> tuple[Float[Tensor, "batch channel slice rows columns"], Float[Tensor, "batch slice rows columns"]]:
        """The inputs before they are standardised, and the brain's cells."""
        own, brain_fraction = _cells(x[:, :3], size=self._cell)
        channels = []
        for name in self.names:
            if name == "adc":
                channels.append(_log(own[:, 0:1]) - _log(own[:, 1:2]))
            elif name == PRESENCE:
                channels.append(torch.ones_like(own[:, :1]) * _present(x).view(-1, 1, 1, 1, 1))
            elif name == "surround":
                channels.append(_cells(x[:, :3], size=3 * self._cell, stride=self._cell)[0])
            elif name == "mirror":
                channels.append(self._log_ratio(x))
            else:
                i_series = SERIES.index(name)
                channels.append(own[:, i_series : i_series + 1])
        brain = (brain_fraction >= _LEAST_BRAIN_FRACTION).to(x.dtype)
        return torch.cat(channels, dim=1), brain

    def _log_ratio(self, x: Float[Tensor, "batch series slice height width"]) -> Tensor:
        """Log of own over other half, 0 where either has no brain: there is nothing to compare with."""
        size = self._cell * self._mirror_cells
        (own, own_brain), (other, other_brain) = (
            _cells(half, size=size, stride=self._cell) for half in (x[:, :3], x[:, 3:6])
        )
        ratio = (_log(own) - _log(other)).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
        return ratio * ((own_brain > 0) & (other_brain > 0))[:, None]


def _present(x: Float[Tensor, "batch series slice height width"]) -> Float[Tensor, " batch"]:
    """1 where a hemisphere has FLAIR, else 0."""
    return (x[:, SERIES.index("flair")] != 0).flatten(1).any(dim=1).to(x.dtype)


def _log(signal: Tensor) -> Tensor:
    return signal.clamp_min(_DARKEST).log()


def _cells(
    half: Float[Tensor, "batch series slice height width"], *, size: int, stride: int | None = None
) -> tuple[Float[Tensor, "batch series slice rows columns"], Float[Tensor, "batch slice rows columns"]]:
    """Means over the brain of square cells in the plane, and how much of each is brain.

    A window larger than its stride is centred on the cell.
    """
    stride = stride or size
    brain = (half[:, :1] != 0).to(half.dtype)
    stacked = torch.cat([half * brain, brain], dim=1)
    flat = stacked.flatten(1, 2)
    padding = (size - stride) // 2
    if padding:
        flat = functional.pad(flat, [padding] * 4)
    pooled = functional.avg_pool2d(flat, size, stride, ceil_mode=True) if size > 1 else flat
    pooled = pooled.view(*stacked.shape[:3], *pooled.shape[2:])
    fraction = pooled[:, -1]
    return pooled[:, :-1] / fraction[:, None].clamp_min(1e-6), fraction
