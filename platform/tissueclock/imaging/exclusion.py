"""Who is left out unless the user says otherwise: patients whose figures cannot be those of a sound study.

A flag (`quality`) asks for a look; far beyond its bound the intensities or the geometry are certainly wrong. The user's
word comes before ours: `decide` tells the two apart in a row of `qc.tsv`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tissueclock.imaging.quality import FIGURES

CERTAIN: Mapping[str, tuple[float, float]] = {
    "outside_signal_fraction": (-math.inf, 0.25),
    "brain_atlas_dice": (0.70, math.inf),
    "brain_ml": (-math.inf, 2500.0),
    "flair_fluid_ratio": (-math.inf, 1.0),
    "n_nonfinite": (-math.inf, 0.0),
}
"""Lowest and highest value of a figure beyond which a patient is left out by default.

On 66 raw phantoms and 3 real heads, all sound: `outside_signal_fraction` up to .153, `brain_atlas_dice` .888 and more,
`brain_ml` up to 2229, `flair_fluid_ratio` up to .36 (phantoms alone). Of wrong ones: a T2w head with its scalp in b0's
place .41 outside; FLAIR in b0's place .23 and .29; a scalp 8 times as bright as it should be .54 and .69 outside and a
Dice of .22; voxels said to be 1.3 times as wide 2372 and 2544 ml; b0 in FLAIR's place 2.1. A scalp 3 times as bright
around a mask that is right had .24 and .34 outside: such a patient is for the user to take back.
"""

BY_DEFAULT = "by default: "
"""How a note of ours begins."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a patient's row of `qc.tsv` says.

    Attributes:
        exclude: Whether the patient is left out.
        note: What stands beside it.
        reason: Why the patient is, or was when the user said no, left out by default; empty where there is no reason.
    """

    exclude: bool = False
    note: str = ""
    reason: str = ""

    @property
    def by_default(self) -> bool:
        """Whether it is our word, not the user's, that leaves the patient out."""
        return self.exclude and bool(self.reason) and BY_DEFAULT + self.reason in self.note

    @property
    def overruled(self) -> bool:
        """Whether the user said no to a default."""
        return not self.exclude and bool(self.reason)


def reason_to_exclude(figures: Mapping[str, float | None]) -> str:
    """Why a patient is left out by default, in the words of the flags; empty for all others.

    Args:
        figures: Those of `quality.measure`, by name; older derivatives may lack some.
    """
    reasons = []
    for figure in FIGURES:
        low, high = CERTAIN.get(figure.name, (-math.inf, math.inf))
        value = figures.get(figure.name)
        if value is not None and math.isfinite(value) and not low <= value <= high:
            reasons.append(f"{figure.title} {value:.{figure.digits}f} ({figure.allowed})")
    return "; ".join(reasons)


def decide(before: Said, reason: str) -> Said:
    """What a patient's row is to say, by what it said and by the patient's figures now.

    The user's word is kept: a yes whose note is not ours, and a no to a default. Ours follows the figures.

    Args:
        before: The row as it stands; an empty one where there is none.
        reason: What `reason_to_exclude` gives now.
    """
    if before.overruled:
        return Said(exclude=False, note=before.note, reason=reason or before.reason)
    if before.exclude and not before.by_default:
        return Said(exclude=True, note=before.note, reason=reason)
    own = before.note
    if before.by_default:
        own = own.replace(BY_DEFAULT + before.reason, "").strip(" ;,")
    if not reason:
        return Said(exclude=False, note=own)
    return Said(exclude=True, note="; ".join(part for part in (BY_DEFAULT + reason, own) if part), reason=reason)
