"""Time since stroke, 4.5 hours: was the onset less than 270 minutes before the MRI?"""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Tss4h5(PhaseTrainable):
    """Learns what freeze depth leaves, on the hemispheres with a lesion."""

    phase = Phase(name="tss_4h5", title="onset < 4.5 h", task=Classification(OnsetBefore(270.0)))
