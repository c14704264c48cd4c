"""Stroke detection, the first phase: does this hemisphere hold a lesion?"""

from tissueclock.cohort.tasks import HoldsLesion
from trainables.phase import PhaseTrainable


class Detection(PhaseTrainable):
    """Learns all of the network on every hemisphere, with or without a lesion."""

    name = "detection"
    title = "stroke detection"
    task = HoldsLesion()
    readout = "soft_maximum"
