"""What a phase asks of a hemisphere: which hemispheres take part, and what the answer is."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from tissueclock.cohort.table import Hemisphere

Unit = Literal["hemisphere", "patient"]


@runtime_checkable
class Question(Protocol):
    """A yes-or-no question about hemispheres.

    Attributes:
        unit: What is scored: each hemisphere, or each patient (the mean logit of the hemispheres that take part).
        onset_before_min: The cut of an onset question, minutes; None for any other question.
    """

    @property
    def unit(self) -> Unit:
        """`hemisphere` or `patient`."""

    @property
    def onset_before_min(self) -> float | None:
        """Minutes, or None."""

    def label(self, hemisphere: Hemisphere) -> bool | None:
        """The answer for one hemisphere; None where it takes no part."""


@dataclass(frozen=True, slots=True)
class HoldsLesion:
    """Does the hemisphere hold a lesion? Every hemisphere of which that is known takes part."""

    unit: Unit = "hemisphere"
    onset_before_min: None = None

    def label(self, hemisphere: Hemisphere) -> bool | None:
        """Whether a lesion lies in it; None where that is not known."""
        return hemisphere.lesion


@dataclass(frozen=True, slots=True)
class OnsetBefore:
    """Was the onset less than `onset_before_min` minutes before the MRI?

    Hemispheres with a lesion take part, where the onset is known. An onset is a fact about a patient, so a patient with
    lesions on both sides counts once.
    """

    onset_before_min: float
    unit: Unit = "patient"

    def label(self, hemisphere: Hemisphere) -> bool | None:
        """Whether the onset was less than the cut ago; None without a lesion."""
        if not hemisphere.lesion or hemisphere.onset_to_mri_min is None:
            return None
        return hemisphere.onset_to_mri_min < self.onset_before_min
