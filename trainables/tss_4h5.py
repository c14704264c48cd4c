"""Time since stroke, 4.5 hours: was the onset less than 270 minutes before the MRI?"""

from tissueclock.cohort.tasks import OnsetBefore
from tissueclock.training.phase import PhaseTrainable


class Tss4h5(PhaseTrainable):
    """Learns what freeze depth leaves, on the hemispheres with a lesion."""

    name = "tss_4h5"
    title = "onset < 4.5 h"
    task = OnsetBefore(270.0)
