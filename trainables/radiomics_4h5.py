"""The radiomics baseline for onset before 4.5 hours: no network, but measurements of a region that it finds itself."""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.phase import Phase
from tissueclock.training.radiomics import Radiomics
from tissueclock.training.tunable import PhaseTrainable


class Radiomics4h5(PhaseTrainable):
    """Finds a region, measures it, and fits logistic regression, a support vector machine or a random forest."""

    phase = Phase(name="radiomics_4h5", title="onset < 4.5 h", task=Radiomics(OnsetBefore(270.0)), kinds=("radiomics",))
