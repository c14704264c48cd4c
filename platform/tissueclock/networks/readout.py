"""From a hemisphere's voxels to its logit: attended values, or a maximum of the voxels' own scores."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tissueclock.networks.brain_attention import brain_attention, brain_maximum, even_attention
from tissueclock.networks.settings import Attention, Readout, Values


@dataclass(frozen=True, slots=True)
class ReadVoxels:
    """What was read out.

    Attributes:
        logit: `batch`.
        score: Of each voxel, `batch voxel`.
        share: Of each voxel, `batch voxel`; in sum 1.
    """

    logit: Tensor
    score: Tensor
    share: Tensor


class VoxelReadout(nn.Module):
    """A score for each voxel, and what it is for.

    `attended`: the logit is `head(mean of the values) + attention_head(attended values)`, the mean being over the
    brain. While attention is off there is no second term; its weights start at zero, so that switching attention on
    changes no logit. `soft_maximum` and `noisy_or`: the scores are the voxels' own logits. A phase that is trained so
    leaves scores that lie where it found its evidence, under the same names: they are the attention of the next.

    Args:
        n_features: Channels of the map that is scored.
        n_inputs: Channels of the standardised inputs.
        values: What is attended: the `inputs`, the `features`, or `both`.
        readout: See above.
        attention: `off`, or the norm of the attention; a maximum needs none.
        sharpness: Of the softmax and of the soft maximum, above 0.
        dropout: Probability of dropping an attended value while training, in [0, 1).
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_inputs: int,
        values: Values,
        readout: Readout,
        attention: Attention,
        sharpness: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self._readout, self._attention = readout, attention
        self._values, self._sharpness = values, sharpness
        n_values = {"inputs": n_inputs, "features": n_features, "both": n_inputs + n_features}[values]
        self.score = nn.Linear(n_features, 1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_values, 1)
        self.attention_head = nn.Linear(n_values, 1, bias=False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the head's first weights evenly; the others are zero.

        So attention starts even: from random scores it settled on their outliers, and never left them.
        """
        bound = self.head.in_features**-0.5
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        for zero in (self.head.bias, self.score.weight, self.score.bias, self.attention_head.weight):
            nn.init.zeros_(zero)

    @property
    def uses_features(self) -> bool:
        """Whether the logit depends on the features: not if inputs alone are averaged, evenly."""
        return not (self._readout == "attended" and self._attention == "off" and self._values == "inputs")

    @property
    def gates(self) -> tuple[nn.Module, ...]:
        """What decides where to look, and its own head; empty while attention is off."""
        if self._readout != "attended":
            return (self.score,)
        return () if self._attention == "off" else (self.score, self.attention_head)

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        """What makes a logit of what was looked at; empty where the scores are logits."""
        if self._readout != "attended":
            return ()
        return (self.head,) if self._attention == "off" else (self.head, self.attention_head)

    def forward(
        self,
        features: Float[Tensor, "batch feature *grid"],
        inputs: Float[Tensor, "batch channel *grid"],
        brain: Float[Tensor, " batch *grid"],
    ) -> ReadVoxels:
        """Reads out hemispheres, in float32.

        Args:
            features: What is scored.
            inputs: Standardised, on the same grid.
            brain: 1 where a voxel is brain, else 0.
        """
        flat = brain.flatten(1)
        score = self.score(features.flatten(2).transpose(1, 2)).squeeze(2).float()
        with torch.autocast(score.device.type, enabled=False):
            if self._readout != "attended":
                share = brain_attention(score, flat, norm="softmax", sharpness=self._sharpness)
                logit = brain_maximum(score, flat, readout=self._readout, sharpness=self._sharpness)
                return ReadVoxels(logit=logit, score=score, share=share)
            chosen = {"inputs": (inputs,), "features": (features,), "both": (inputs, features)}[self._values]
            even = even_attention(flat)
            logit = self.head(self.dropout(attend(even, chosen)))
            if self._attention == "off":
                return ReadVoxels(logit=logit.squeeze(1), score=score, share=even)
            share = brain_attention(score, flat, norm=self._attention, sharpness=self._sharpness)
            logit = logit + self.attention_head(self.dropout(attend(share, chosen)))
            return ReadVoxels(logit=logit.squeeze(1), score=score, share=share)


def attend(
    share: Float[Tensor, "batch voxel"], values: tuple[Float[Tensor, "batch _ *grid"], ...]
) -> Float[Tensor, "batch value"]:
    """The values, averaged over voxels with these shares, one after another."""
    return torch.cat([torch.bmm(each.flatten(2).float(), share[:, :, None]).squeeze(2) for each in values], dim=1)
