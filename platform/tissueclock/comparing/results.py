"""What a study came to, as frozen records: sweeps, promoted checkpoints, their holdout scores, tests, gaps.

Made by `tissueclock.comparing.study_results`, told by the report. Knows no files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tissueclock.comparing.holdout import HoldoutResult
from tissueclock.comparing.looking import Looks, Pictures
from tissueclock.comparing.observers import Agreement, ObserverResult, ReaderResult
from tissueclock.comparing.statistics import AucDifference
from tissueclock.comparing.subgroups import Characteristic, Subgroup
from tissueclock.comparing.testing import PairedCalls, Verdict
from tissueclock.settings import EQUIVALENCE_MARGIN
from tissueclock.storage.ledger import LedgerState

Completeness = Literal["complete", "incomplete", "not started"]
"""Whether a sweep's ledger is closed, open or absent."""


@dataclass(frozen=True, slots=True)
class ComparedQuestion:
    """What a phase answers; sweeps that answer the same question are compared with each other.

    Attributes:
        name: For example `stroke detection` or `onset < 4.5 h`.
        unit: What is scored, `hemisphere` or `patient`; None where neither phase nor scores tell.
        onset_before_min: The cut of an onset question, minutes; None for any other question.
    """

    name: str
    unit: str | None
    onset_before_min: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Promoted:
    """A promoted checkpoint.

    Attributes:
        rank: 1 is the best of its sweep on validation.
        digest: SHA-256 of its weights.
        value: Its best validation AUC.
        facts: Its `trial.json`: trial, hyperparameters, epoch, metrics, network, lineage.
        holdout: What it scored; None where it has not been scored.
        looks: Where it looks; None where that is not known, and beyond rank 1.
        pictures: Likewise.
    """

    rank: int
    digest: str
    value: float
    facts: Mapping[str, Any]
    holdout: HoldoutResult | None
    looks: Looks | None = None
    pictures: Pictures | None = None

    @property
    def confirmed(self) -> tuple[float, ...]:
        """The best validation AUC of its configuration from each fresh seed; empty where it was not confirmed."""
        return tuple(self.facts.get("confirmed", {}).get("values", ()))


@dataclass(frozen=True, slots=True, eq=False)
class SweepResult:
    """One sweep of the study.

    Attributes:
        name: In folders and tables.
        phase: Its phase.
        arms: The arms that share it.
        question: The question it answers.
        spec: What the study's graph says of it.
        state: Of its ledger.
        ledger: Its ledger, folded.
        promoted: Best on validation first; empty until the sweep is complete.
        observer: The phantom's observer beside the best promoted checkpoint, where there is one.
    """

    name: str
    phase: str
    arms: tuple[str, ...]
    question: ComparedQuestion
    spec: Mapping[str, Any]
    state: Completeness
    ledger: LedgerState
    promoted: tuple[Promoted, ...]
    observer: ObserverResult | None = None

    @property
    def best(self) -> Promoted | None:
        """The checkpoint that validation chose."""
        return self.promoted[0] if self.promoted else None

    @property
    def holdout(self) -> HoldoutResult | None:
        """What that checkpoint scored on the holdout."""
        return self.best.holdout if self.best else None

    @property
    def is_radiomics(self) -> bool:
        """Whether it is no network, but the radiomics baseline."""
        network = self.spec.get("network")
        return isinstance(network, Mapping) and network.get("kind") == "radiomics"

    @property
    def first_weights(self) -> str:
        """What it began with, in words."""
        if self.is_radiomics:
            return "none (radiomics)"
        return "previous phase" if self.spec.get("upstream") else str(self.spec.get("weights") or "not known")

    @property
    def label(self) -> str:
        """Arms and phase, as figures and tables name them."""
        return f"{', '.join(self.arms)} · {self.phase}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a sweep was to cost at most, and what it has cost.

    Attributes:
        sweep: Its name.
        arms: The arms that share it.
        unit: What the hours are of, `GPU` or `CPU`.
        billed_h: The bill when it was last started; None where it is not known.
        spent_h: Its epochs' hours, those of lost attempts too.
    """

    sweep: str
    arms: tuple[str, ...]
    unit: str
    billed_h: float | None
    spent_h: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two rows of the table, tested on the units that both scored.

    Attributes:
        question: The question.
        first: The first one's label.
        second: The second one's label.
        n: Units compared.
        difference: First minus second.
        calls: Their calls at the thresholds of validation; None where a patient gives several units, or one is no
            network.
        p_holm: Adjusted for the tests between networks on the question; None without a p value, or with the observer.
        verdict: What this allows to say; None where one is no network.
    """

    question: ComparedQuestion
    first: str
    second: str
    n: int
    difference: AucDifference
    calls: PairedCalls | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class CohortFacts:
    """The cohort that the study names, as it lies there now.

    Attributes:
        folder: Where it lies.
        name: What it is called.
        digest: Its identity.
        split_digest: SHA-256 of the table patient -> split.
        source: Where it came from.
        is_phantom: Whether the patients are simulated.
        n_patients: By split.
        n_unknown: Of whom onset or side is not known; all of them train.
    """

    folder: Path
    name: str
    digest: str
    split_digest: str
    source: Mapping[str, Any]
    is_phantom: bool
    n_patients: Mapping[str, int]
    n_unknown: int


@dataclass(frozen=True, slots=True, eq=False)
class StudyResult:
    """Everything that a report tells.

    Attributes:
        name: The study's.
        seed: The study's.
        cohort: None where it is not there any more, or is another one.
        sweeps: In the order of arms and phases.
        readers: By question, where there are any, the majority last.
        agreement: Of the readers, by question.
        subgroups: Of the network that validation chose, by question that is asked of patients.
        characteristics: Table 1 of the cohort; empty where it is not at hand.
        margin: AUC differences below it do not matter, as the study says.
        tests: Within a question: arms that share the phase, phases that share an arm, each network against radiomics,
            and rows against the observer.
        gaps: What is missing or does not fit, a line each.
        costs: Of every sweep that was begun, those that answer no question too.
    """

    name: str
    seed: int
    cohort: CohortFacts | None
    sweeps: tuple[SweepResult, ...]
    readers: Mapping[ComparedQuestion, tuple[ReaderResult, ...]]
    tests: tuple[PairedTest, ...]
    gaps: tuple[str, ...]
    costs: tuple[Cost, ...] = ()
    agreement: Mapping[ComparedQuestion, Agreement] = field(default_factory=dict)
    subgroups: Mapping[ComparedQuestion, tuple[Subgroup, ...]] = field(default_factory=dict)
    characteristics: tuple[Characteristic, ...] = ()
    margin: float = EQUIVALENCE_MARGIN

    @property
    def questions(self) -> tuple[ComparedQuestion, ...]:
        """In the order of the phases."""
        return tuple(dict.fromkeys(sweep.question for sweep in self.sweeps))

    @property
    def shown(self) -> list[str]:
        """Digests of the weights whose holdout scores are shown."""
        return [promoted.digest for sweep in self.sweeps for promoted in sweep.promoted if promoted.holdout]

    def of_question(self, question: ComparedQuestion) -> tuple[SweepResult, ...]:
        """The sweeps that answer this question."""
        return tuple(sweep for sweep in self.sweeps if sweep.question == question)

    def chosen(self, question: ComparedQuestion) -> SweepResult | None:
        """Of a question's scored sweeps the one that validation prefers."""
        return choose(self.of_question(question))


def choose(sweeps: Iterable[SweepResult]) -> SweepResult | None:
    """Of scored sweeps the one that validation prefers; those without a holdout score are left out."""
    scored = [sweep for sweep in sweeps if sweep.best and sweep.holdout]
    return max(scored, key=lambda sweep: sweep.best.value if sweep.best else 0.0, default=None)
