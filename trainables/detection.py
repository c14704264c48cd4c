"""Stroke detection, the first phase: does this hemisphere hold a lesion?"""

from tissueclock.cohort.questions import HoldsLesion
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Detection(PhaseTrainable):
    """Learns all of the network on every hemisphere, with or without a lesion."""

    phase = Phase(
        name="detection",
        title="stroke detection",
        task=Classification(HoldsLesion(), readout="soft_maximum"),  # its scores become the next phase's attention
    )
