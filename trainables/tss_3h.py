"""Time since stroke, 3 hours: was the onset less than 180 minutes before the MRI?"""

from tissueclock.cohort.tasks import OnsetBefore
from tissueclock.training.phase import PhaseTrainable


class Tss3h(PhaseTrainable):
    """Learns what freeze depth leaves, on the hemispheres with a lesion."""

    name = "tss_3h"
    title = "onset < 3 h"
    task = OnsetBefore(180.0)
