"""Who else looked at the same patients: the phantom's lesion-feature observer, and the readers.

The observer is an out-of-fold classifier of features measured in the true lesion: what a network can hope to learn, not
a bound on it, but a network that beats it by more than its interval allows has probably seen something it should not.
A reader's DWI-FLAIR mismatch is a call for an onset less than 4.5 h ago (Thomalla 2011,
doi 10.1016/S1474-4422(11)70192-2), and is held against that question only.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissueclock.cohort.manifest import Patient
from tissueclock.comparing.agreement import estimate_kappa
from tissueclock.comparing.scores import Confusion, Scores, count_calls
from tissueclock.comparing.statistics import AucDifference, AucEstimate, Estimate, compare_aucs, estimate_auc
from tissueclock.comparing.testing import PairedCalls, compare_calls
from tissueclock.errors import InputError
from tissueclock.storage.tsv import MISSING, read_rows

OBSERVER = "lesion-feature observer"
"""What tables and figures call it."""

OBSERVER_COLUMNS: Mapping[float, str] = {180.0: "observer_3h", 270.0: "observer_4h5"}
MISMATCH_ONSET_MIN = 270.0
MAJORITY, MIN_MAJORITY = "majority", 3
"""Its name, and how many readers make one."""

ObserverScores = Mapping[str, Mapping[str, float]]
"""Column -> patient -> score."""


@dataclass(frozen=True, slots=True, eq=False)
class ObserverResult:
    """The lesion-feature observer beside a network, on the units that both scored.

    Attributes:
        column: Of `truth/observer.tsv`.
        scores: The observer's, as `logits`, on those units.
        n_missing: Units of the network that the observer did not score.
        auc: The observer's.
        network_auc: The network's on the same units.
        difference: Network minus observer.
    """

    column: str
    scores: Scores
    n_missing: int
    auc: AucEstimate
    network_auc: AucEstimate
    difference: AucDifference

    @property
    def leaks(self) -> bool:
        """Whether the network is above the observer by more than the interval of the difference allows."""
        return self.difference.interval.low > 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the readers agree.

    Attributes:
        n: Patients whom every reader read.
        n_readers: At least 2.
        kappa: Fleiss'; None where it cannot be had.
    """

    n: int
    n_readers: int
    kappa: Estimate | None


@dataclass(frozen=True, slots=True)
class ReaderResult:
    """One reader's calls on the patients of a holdout, or the majority's.

    Attributes:
        name: The manifest's column, or `majority`.
        n: Patients read; for the majority, by more than half of the readers in one way.
        n_missing: The other patients.
        confusion: A mismatch is a positive call.
        against: The network's calls on the same patients beside these: `PairedCalls` with the network first.
        network: The network's own rates on the same patients.
    """

    name: str
    n: int
    n_missing: int
    confusion: Confusion
    against: PairedCalls
    network: Confusion


def read_observer(cohort: Path) -> ObserverScores:
    """Reads `truth/observer.tsv`; empty where the cohort has none.

    Raises:
        InputError: The file is damaged.
    """
    path = cohort / "truth" / "observer.tsv"
    if not path.is_file():
        return {}
    scores: dict[str, dict[str, float]] = {column: {} for column in OBSERVER_COLUMNS.values()}
    for row in read_rows(path, required=("patient", *scores)):
        for column, by_patient in scores.items():
            if (text := row.cells[column]) != MISSING:
                by_patient[row.cells["patient"]] = _score(text, f"{path}, row {row.number}: {column}")
    return scores


def compare_with_observer(
    network: Scores, observer: ObserverScores, *, onset_before_min: float | None
) -> ObserverResult | None:
    """Holds a network against the observer of the same question.

    Args:
        network: The network's holdout scores.
        observer: What `read_observer` gave.
        onset_before_min: The question's cut, minutes.

    Returns:
        None where the question has no observer, or the units that both scored are of one class.
    """
    column = OBSERVER_COLUMNS.get(onset_before_min or 0.0, "")
    by_patient = observer.get(column, {})
    units = tuple(u for u, p in zip(network.units, network.patients, strict=True) if p in by_patient)
    common = network.take(units)
    if not 0 < common.n_positive < len(units):
        return None
    seen = np.array([by_patient[patient] for patient in common.patients])
    patients = common.patients
    return ObserverResult(
        column=column,
        scores=Scores(units, patients, common.labels, seen),
        n_missing=len(network.units) - len(units),
        auc=estimate_auc(common.labels, seen, patients=patients),
        network_auc=estimate_auc(common.labels, common.logits, patients=patients),
        difference=compare_aucs(common.labels, common.logits, seen, patients=patients),
    )


def count_readers(
    network: Scores, manifest: Sequence[Patient], *, onset_before_min: float | None, threshold: float
) -> tuple[ReaderResult, ...]:
    """The readers' calls on the patients of a network's holdout; none for a question that a mismatch does not answer.

    Args:
        network: The network's holdout scores; its labels are the truth.
        manifest: With what the readers read.
        onset_before_min: The question's cut, minutes.
        threshold: The logit from which on the network calls a patient positive.

    Returns:
        Each reader and, of three or more, the majority.
    """
    if onset_before_min != MISMATCH_ONSET_MIN:
        return ()
    places = {patient: i for i, patient in enumerate(network.patients)}
    patients = [patient for patient in manifest if patient.participant_id in places]
    names = sorted({name for patient in patients for name in patient.readers})
    calls = {
        name: {p.participant_id: call for p in patients if (call := p.readers.get(name)) is not None} for name in names
    }
    calls = {name: called for name, called in calls.items() if called}
    if len(calls) >= MIN_MAJORITY:
        calls[MAJORITY] = _majority(list(calls.values()))
    results = []
    for name, called in calls.items():
        if not called:
            continue
        chosen = [places[patient] for patient in called]
        truth, said = network.labels[chosen], np.array(list(called.values()))
        answered = network.logits[chosen] >= threshold
        results.append(
            ReaderResult(
                name=name,
                n=len(called),
                n_missing=len(places) - len(called),
                confusion=count_calls(truth, said),
                against=compare_calls(truth, answered, said),
                network=count_calls(truth, answered),
            )
        )
    return tuple(results)


def agree(manifest: Sequence[Patient], patients: Collection[str]) -> Agreement | None:
    """How far the readers agree on these patients, those whom all of them read; None where there are fewer than two."""
    read = [patient.readers for patient in manifest if patient.participant_id in patients]
    names = sorted({name for readings in read for name, call in readings.items() if call is not None})
    if len(names) < 2:
        return None
    calls = [[readings.get(name) for name in names] for readings in read]
    yes = np.array([sum(map(bool, row)) for row in calls if None not in row], dtype=np.int64)
    counts = np.stack([yes, len(names) - yes], axis=1)
    return Agreement(len(yes), len(names), estimate_kappa(counts))


def _majority(readers: Sequence[Mapping[str, bool]]) -> dict[str, bool]:
    """What more than half of the readers say of each patient; nothing where they are split evenly."""
    said: dict[str, list[bool]] = {}
    for called in readers:
        for patient, call in called.items():
            said.setdefault(patient, []).append(call)
    enough = len(readers) / 2
    return {p: sum(calls) > enough for p, calls in said.items() if sum(calls) > enough or calls.count(False) > enough}


def _score(text: str, whose: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{whose} is {text!r}; a finite number or {MISSING} is allowed")
    return score
