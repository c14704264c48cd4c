"""The radiomics baseline in a network's place: measurements that do not learn, and a fitted model of them.

Its stages are the measurements, which no weight decides: so trials with the same region of interest share them as they
share a frozen trunk. What is fitted lies in buffers, and travels as any weights do.

References:
    Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tissueclock.networks.settings import RadiomicsModel
from tissueclock.networks.staged import StagedNetwork
from tissueclock.networks.trunk import STAGES
from tissueclock.radiomics.features import FEATURES, VERSION, measure_region
from tissueclock.radiomics.roi import RoiSettings, find_roi

N_TREES = 500
_LARGEST = 6e4
"""Features are rounded as the trunk store rounds maps, and fit in its narrow type."""


class RadiomicsNetwork(StagedNetwork):
    """A region of interest, its features, and a fitted model; without a region, the training hemispheres' prior.

    Args:
        n_slices: Slices of a hemisphere, for the record.
        spacing_mm: Distance of slices, rows and columns.
        model: `logistic` and `svm` are one weighted sum; `forest` is a vote of `N_TREES` trees.
        tree_depth: Most splits from a tree's root to a leaf.
        adc_factor: See `RoiSettings`, as for the others.
        b1000_sd: Likewise.
        least_ml: Likewise.
        dilation: Likewise.
    """

    mean: Tensor
    sd: Tensor
    prior: Tensor
    weight: Tensor
    bias: Tensor
    tree_feature: Tensor
    tree_threshold: Tensor
    tree_child: Tensor
    tree_value: Tensor

    def __init__(
        self,
        *,
        n_slices: int,
        spacing_mm: Sequence[float],
        model: RadiomicsModel = "logistic",
        tree_depth: int = 6,
        adc_factor: float = 0.835,
        b1000_sd: float = 1.5,
        least_ml: float = 0.2,
        dilation: int = 2,
    ) -> None:
        super().__init__()
        if model not in get_args(RadiomicsModel):
            raise ValueError(f"model is {model!r}; allowed: {', '.join(get_args(RadiomicsModel))}")
        self._description = {
            "kind": "radiomics",
            "n_slices": n_slices,
            "spacing_mm": list(spacing_mm),
            "model": model,
            "tree_depth": tree_depth,
            "adc_factor": adc_factor,
            "b1000_sd": b1000_sd,
            "least_ml": least_ml,
            "dilation": dilation,
        }
        self.model: RadiomicsModel = model
        self._depth, self._voxel_ml = tree_depth, math.prod(spacing_mm) / 1000.0
        self._roi = RoiSettings(adc_factor=adc_factor, b1000_sd=b1000_sd, least_ml=least_ml, dilation=dilation)
        self.register_buffer("prior", torch.zeros(()))
        if model == "forest":
            shape = (N_TREES, 2 ** (tree_depth + 1) - 1)
            self.register_buffer("tree_feature", torch.zeros(shape, dtype=torch.int16))
            self.register_buffer("tree_threshold", torch.zeros(shape, dtype=torch.float64))
            self.register_buffer("tree_child", torch.zeros((2, *shape), dtype=torch.int16))
            self.register_buffer("tree_value", torch.zeros(shape, dtype=torch.float64))
        else:
            self.register_buffer("mean", torch.zeros(len(FEATURES)))
            self.register_buffer("sd", torch.ones(len(FEATURES)))
            self.register_buffer("weight", torch.zeros(len(FEATURES)))
            self.register_buffer("bias", torch.zeros(()))

    @property
    def n_halves(self) -> int:
        """2: the brain's quantiles and the ratio maps are of both."""
        return 2

    @property
    def only_measures(self) -> bool:
        """True."""
        return True

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Does nothing: there are no first weights."""

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Five empty ones: measurements have no weights."""
        return tuple(() for _ in STAGES)

    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """None: what is fitted is no module."""
        return {}

    def frozen_facts(self, depth: int) -> dict[str, Any]:
        """All that the measurements depend on."""
        names = ("kind", "spacing_mm", "adc_factor", "b1000_sd", "least_ml", "dilation")
        return {**{name: self._description[name] for name in names}, "features": list(FEATURES), "measured_as": VERSION}

    def before(self, x: Float[Tensor, "batch 6 slice height width"], depth: int) -> tuple[Tensor, ...]:
        """The hemispheres where `depth` is 0; else their features and their regions' volumes in ml.

        Args:
            x: Hemispheres, 0 outside the brain; behind their series the other half's.
            depth: Stages to run; one stands for all.
        """
        if depth == 0:
            return (x,)
        each = [measure_region(halves, self._roi, voxel_ml=self._voxel_ml) for halves in x.float().cpu().numpy()]
        features = torch.from_numpy(np.stack([found for found, _ in each]))
        rounded = features.clamp(-_LARGEST, _LARGEST).half().float()
        return rounded.to(x.device), torch.tensor([ml for _, ml in each], device=x.device).half().float()

    def after(self, maps: tuple[Tensor, ...], depth: int) -> Float[Tensor, " batch"]:
        """One logit a hemisphere, from what `before` gave for the same depth; the prior's where there is no region."""
        features, roi_ml = self.before(maps[0], 1) if depth == 0 else maps
        logit = self._vote(features) if self.model == "forest" else self._sum(features)
        return torch.where(roi_ml > 0, logit, self.prior)

    def roi_ml(self, x: Float[Tensor, "batch 6 slice height width"]) -> Float[Tensor, " batch"]:
        """The volume of each hemisphere's region; 0 where it has none."""
        return self.regions(x).flatten(1).sum(dim=1) * self._voxel_ml

    def regions(self, x: Float[Tensor, "batch 6 slice height width"]) -> Bool[Tensor, "batch slice height width"]:
        """Each hemisphere's region; empty where it has none."""
        found = [find_roi(halves, self._roi, voxel_ml=self._voxel_ml) for halves in x.float().cpu().numpy()]
        return torch.from_numpy(np.stack(found)).to(x.device)

    def _sum(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, " batch"]:
        return ((features - self.mean) / self.sd) @ self.weight + self.bias

    def _vote(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, " batch"]:
        """The logit of the trees' mean probability, which at most all but half a tree's vote decides."""
        trees = torch.arange(N_TREES, device=features.device)
        node = torch.zeros((len(features), N_TREES), dtype=torch.long, device=features.device)
        for _ in range(self._depth):
            asked = self.tree_feature[trees, node].long()
            right = features.gather(1, asked) > self.tree_threshold[trees, node]
            node = self.tree_child[right.long(), trees, node].long()
        least = 0.5 / N_TREES
        p = self.tree_value[trees, node].mean(dim=1).clamp(least, 1 - least)
        return (p.log() - (1 - p).log()).float()


def logit_of(fraction: float, *, n: int) -> float:
    """The logit of a fraction of `n`, which at most all but half a one decides."""
    p = min(max(fraction, 0.5 / n), 1 - 0.5 / n)
    return math.log(p / (1 - p))
