"""Attention fine-tuning, the last phase: the question of `tss_4h5`, with only the attention gates moving."""

from typing import ClassVar

from tissueclock.cohort.tasks import OnsetBefore
from tissueclock.training.phase import PhaseTrainable


class Attention(PhaseTrainable):
    """Learns the gates (and slice weights and head, where `learned` says so) over a trunk that stands still."""

    name = "attention"
    title = "attention, onset < 4.5 h"
    task = OnsetBefore(270.0)
    defaults: ClassVar = {"learned": "gates", "attention": "mean_flow", "freeze_depth": 5}
    needs_parent = True
