"""What all that answers a yes-or-no question shares: how its samples are counted, scored, and what trials share."""

import abc
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tissueclock.cohort.folds import judged_rows
from tissueclock.cohort.questions import Question
from tissueclock.cohort.store import Cohort
from tissueclock.learning.frozen_features import Sharing
from tissueclock.learning.trunk_store import TrunkStore
from tissueclock.records import SweepSpec
from tissueclock.storage.folders import PromotedFolder
from tissueclock.training.phase import LearningTask
from tissueclock.training.scoring import score


@dataclass(frozen=True, slots=True)
class QuestionTask(LearningTask, abc.ABC):
    """A question is answered, with one logit a hemisphere.

    Attributes:
        question: Which hemispheres take part and what the answer is.
    """

    question: Question

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The question's: `hemisphere` or `patient`."""
        return self.question.unit

    @property
    def onset_before_min(self) -> float | None:  # type: ignore[override]
        """The question's cut, minutes."""
        return self.question.onset_before_min

    def count_classes(self, spec: SweepSpec) -> dict[str, tuple[int, int]]:
        """Hemispheres that answer no and yes, by split or fold.

        Raises:
            CohortError: The cohort cannot be opened, or has fewer patients than folds.
        """
        cohort, inputs = Cohort.open(spec.cohort), spec.inputs
        counts = {}
        for name, rows in judged_rows(cohort, **inputs.dealing()).items():
            answers = [self.question.label(cohort.table[row]) for row in rows]
            counts[name] = (answers.count(False), answers.count(True))
        return counts

    def score_holdout(self, promoted: Sequence[PromotedFolder], cohort: Path) -> None:
        """Scores promoted checkpoints on the holdout patients: `holdout.json` and `holdout.tsv` beside the weights."""
        opened = Cohort.open(cohort)
        for folder in promoted:
            if not folder.holdout.exists():
                score(folder, self.question, opened)


def make_sharing(spec: SweepSpec) -> Sharing:
    """How this node's trials share what frozen stages compute."""
    folder = Path(spec.trunks.folder or Path(tempfile.gettempdir()) / f"tissueclock-trunks-{os.getuid()}")
    store = TrunkStore(folder, limit_bytes=int(spec.trunks.limit_gb * 1e9)) if spec.trunks.share else None
    return Sharing(store=store, cohort=spec.inputs.cohort_digest, seed=spec.inputs.seed)
