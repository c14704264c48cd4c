"""A lab's own phase: was the onset less than 6 hours before the MRI (the thrombectomy window)?

Name it in a study's arms as `tss_6h`, and this folder's parent under `extensions`. Nothing else needs to know it.
"""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Tss6h(PhaseTrainable):
    """Learns what freeze depth leaves, on the hemispheres with a lesion."""

    phase = Phase(name="tss_6h", title="onset < 6 h", task=Classification(OnsetBefore(360.0)))
