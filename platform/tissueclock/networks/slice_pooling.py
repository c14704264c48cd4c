"""From the logits of a hemisphere's slices to its one logit.

Every rule ends in log P - log(1 - P), built from log-sum-exps in float32, so that it is finite and has a gradient for
slice logits up to 1e4.

References:
    Ilse et al. 2018, arXiv:1802.04712 (gated attention over instances).
    Pinheiro and Collobert 2015, arXiv:1411.6228 (log-sum-exp pooling).
"""

import abc

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tissueclock.networks.settings import SlicePoolingName

BySlice = Float[Tensor, "batch slice"]
Features = Float[Tensor, "batch slice feature"]
Mask = Bool[Tensor, "batch slice"]

_LSE_SHARPNESS = 4.0
"""r of log-sum-exp pooling: 0 is the mean of the logits, infinity their maximum."""

_N_MIL_HIDDEN = 128
"""Hidden units of the gated attention over slices, as in Ilse et al."""

_SMALL_HAZARD = 1e-3
"""Below this, log(1 - exp(-h)) is taken from its series: the next term is h**2 / 24 < 5e-8."""


class SlicePooling(nn.Module, abc.ABC):
    """One rule to pool the logits of slices.

    `z` are the slices' logits, `h` their features. The mask is true where a slice holds brain, for at least one slice
    of each hemisphere.
    """

    @abc.abstractmethod
    def forward(self, z: BySlice, h: Features, mask: Mask) -> Float[Tensor, " batch"]:
        """The hemispheres' logits, in float32."""

    @abc.abstractmethod
    def slice_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """How much each slice counts, for reports: at least 0, in sum 1, and 0 where the mask is false."""


class _MixturePooling(SlicePooling):
    """P = sum of w_s p_s, with weights that sum to 1."""

    @abc.abstractmethod
    def log_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """Log w, minus infinity where the mask is false."""

    def forward(self, z: BySlice, h: Features, mask: Mask) -> Float[Tensor, " batch"]:
        """Log P - log(1 - P)."""
        log_w = self.log_weights(z, h, mask)
        return torch.logsumexp(log_w + functional.logsigmoid(z), dim=1) - torch.logsumexp(
            log_w + functional.logsigmoid(-z), dim=1
        )

    def slice_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """The mixture's weights."""
        return self.log_weights(z, h, mask).exp()


class PositionPooling(_MixturePooling):
    """A weight by slice position: P = sum of w_s p_s with w = softmax(theta) over slices that hold brain.

    Registered slices of the same position show the same anatomy. For another number of slices than `n_slices`, theta is
    interpolated over the position from the first to the last slice. It starts as the mean.
    """

    def __init__(self, *, n_slices: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(n_slices))

    def theta_at(self, n_slices: int) -> Float[Tensor, " slice"]:
        """Theta at `n_slices` positions, equally spaced from the first to the last slice."""
        if n_slices == len(self.theta):
            return self.theta
        return functional.interpolate(self.theta[None, None], size=n_slices, mode="linear", align_corners=True)[0, 0]

    def log_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """Log softmax of theta over the slices of the mask."""
        del h
        return functional.log_softmax(self.theta_at(z.shape[1]).masked_fill(~mask, -torch.inf), dim=1)


class PositionSigmoidPooling(PositionPooling):
    """The paper to the letter: a weight in 0 to 1 for each position, P = sum of w_s p_s over sum of w_s."""

    def log_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """Log of sigmoid(theta), divided by its sum over the slices of the mask."""
        del h
        return functional.log_softmax(
            functional.logsigmoid(self.theta_at(z.shape[1])).masked_fill(~mask, -torch.inf), dim=1
        )


class LogitSumPooling(PositionPooling):
    """The weighted sum of logits: P = sigmoid(sum of w_s z_s + b), with w as in `PositionPooling`."""

    def __init__(self, *, n_slices: int) -> None:
        super().__init__(n_slices=n_slices)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, z: BySlice, h: Features, mask: Mask) -> Float[Tensor, " batch"]:
        """Sum of w_s z_s + b."""
        return (self.log_weights(z, h, mask).exp() * z).sum(dim=1) + self.bias


class GatedMilPooling(_MixturePooling):
    """A weight by content: w = softmax of v . (tanh(V h_s) * sigmoid(U h_s)), P = sum of w_s p_s."""

    def __init__(self, *, n_features: int) -> None:
        super().__init__()
        self.tanh_branch = nn.Linear(n_features, _N_MIL_HIDDEN)
        self.gate_branch = nn.Linear(n_features, _N_MIL_HIDDEN)
        self.score = nn.Linear(_N_MIL_HIDDEN, 1, bias=False)

    def log_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """Log softmax of the content's score over the slices of the mask."""
        del z
        score = self.score(self.tanh_branch(h).tanh() * self.gate_branch(h).sigmoid()).squeeze(2)
        return functional.log_softmax(score.masked_fill(~mask, -torch.inf), dim=1)


class LogSumExpPooling(SlicePooling):
    """A soft maximum of the logits: log(mean of exp(r z_s)) / r; the hard maximum for infinite `sharpness` r."""

    def __init__(self, *, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, z: BySlice, h: Features, mask: Mask) -> Float[Tensor, " batch"]:
        """The soft or hard maximum over the slices of the mask."""
        del h
        z = z.masked_fill(~mask, -torch.inf)
        if self.sharpness == torch.inf:
            return z.amax(dim=1)
        return (torch.logsumexp(self.sharpness * z, dim=1) - mask.sum(dim=1).log()) / self.sharpness

    def slice_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """The derivative of the result by each slice's logit."""
        del h
        z = z.masked_fill(~mask, -torch.inf)
        if self.sharpness == torch.inf:
            return functional.one_hot(z.argmax(dim=1), z.shape[1]).float()
        return (self.sharpness * z).softmax(dim=1)


class NoisyOrPooling(SlicePooling):
    """A lesion in any slice is a lesion: P = 1 - product of (1 - p_s)."""

    def forward(self, z: BySlice, h: Features, mask: Mask) -> Float[Tensor, " batch"]:
        """log(1 - exp(-H)) + H with H the sum of softplus(z_s), from its logarithm where H is small."""
        del h
        hazard = (functional.softplus(z) * mask).sum(dim=1)
        is_small = hazard < _SMALL_HAZARD
        log_hazard = torch.logsumexp(_log_softplus(z).masked_fill(~mask, -torch.inf), dim=1)
        large = hazard.masked_fill(is_small, 1.0)  # keeps the branch that is not taken finite, and so its gradient
        return torch.where(is_small, log_hazard + 0.5 * hazard, (-torch.expm1(-large)).log() + large)

    def slice_weights(self, z: BySlice, h: Features, mask: Mask) -> BySlice:
        """Each slice's share of the sum of p_s."""
        del h
        return functional.logsigmoid(z).masked_fill(~mask, -torch.inf).softmax(dim=1)


def _log_softplus(z: Float[Tensor, "batch slice"]) -> Float[Tensor, "batch slice"]:
    """log(log(1 + exp(z))), which for very negative z is z - exp(z) / 2."""
    is_low = z < -10.0
    low, high = z.masked_fill(~is_low, -10.0), z.masked_fill(is_low, 0.0)
    return torch.where(is_low, low - 0.5 * low.exp(), functional.softplus(high).log())


def build_slice_pooling(name: SlicePoolingName, *, n_slices: int, n_features: int) -> SlicePooling:
    """The pooling called `name`.

    Args:
        name: `position` (default elsewhere), `position_sigmoid`, `logit_sum`, `gated_mil`, `max`, `lse` or `noisy_or`.
        n_slices: Slices for which positions have a weight.
        n_features: Features of a slice that `gated_mil` reads.
    """
    if name == "gated_mil":
        return GatedMilPooling(n_features=n_features)
    if name == "noisy_or":
        return NoisyOrPooling()
    if name in ("max", "lse"):
        return LogSumExpPooling(sharpness=torch.inf if name == "max" else _LSE_SHARPNESS)
    by_position = {
        "position": PositionPooling,
        "position_sigmoid": PositionSigmoidPooling,
        "logit_sum": LogitSumPooling,
    }
    return by_position[name](n_slices=n_slices)
