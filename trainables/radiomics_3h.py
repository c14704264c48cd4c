"""The radiomics baseline for onset before 3 hours: no network, but measurements of a region that it finds itself."""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.phase import Phase
from tissueclock.training.radiomics import Radiomics
from tissueclock.training.tunable import PhaseTrainable


class Radiomics3h(PhaseTrainable):
    """Finds a region, measures it, and fits logistic regression, a support vector machine or a random forest."""

    phase = Phase(name="radiomics_3h", title="onset < 3 h", task=Radiomics(OnsetBefore(180.0)), kinds=("radiomics",))
