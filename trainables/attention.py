"""Attention fine-tuning, the last phase: the question of `tss_4h5`, with only the attention gates moving."""

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Attention(PhaseTrainable):
    """Learns the gates (and slice weights and head, where `learned` says so) over a trunk that stands still."""

    phase = Phase(
        name="attention",
        title="attention, onset < 4.5 h",
        task=Classification(OnsetBefore(270.0)),
        defaults={"learned": "gates", "attention": "mean_flow", "freeze_depth": 5},
        needs_parent=True,
    )
