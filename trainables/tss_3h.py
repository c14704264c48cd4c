"""Time since stroke, 3 hours: was the onset less than 180 minutes before the MRI?"""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Tss3h(PhaseTrainable):
    """Learns what freeze depth leaves, on the hemispheres with a lesion."""

    phase = Phase(name="tss_3h", title="onset < 3 h", task=Classification(OnsetBefore(180.0)))
