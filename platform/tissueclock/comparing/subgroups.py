"""Who the patients are (Table 1 of a paper), and whether a network serves all kinds of them alike."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import median

import numpy as np

from tissueclock.cohort.manifest import HAS_FLAIR
from tissueclock.cohort.store import Cohort
from tissueclock.comparing.scores import Scores
from tissueclock.comparing.statistics import AucEstimate, estimate_auc
from tissueclock.storage.tsv import MISSING, read_rows

NUMBERS: Mapping[str, str] = {"age": "age, years", "nihss": "NIHSS", "lesion_ml": "lesion volume, ml"}
"""Columns of `participants.tsv` that are split at their median, and what they are called."""

_SIDE = "side of the lesion"
WORDS: Mapping[str, str] = {
    "sex": "sex",
    "site": "site",
    "scanner": "scanner",
    "field": "field strength",
    HAS_FLAIR: "has FLAIR",
    _SIDE: _SIDE,
}
"""Columns of which each value is a group."""

MIN_CLASS = 10
"""Patients of either class below which a group's AUC says nothing by itself."""

MAX_VALUES = 12
"""A column with more values than this names patients, not groups."""

SPLITS = ("train", "validation", "holdout")
_CUTS_H = (3.0, 4.5)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A kind of patient on the holdout.

    Attributes:
        name: For example `age, years: below 70`.
        n: Patients.
        n_positive: Positive ones among them.
        auc: None where one class is missing.
    """

    name: str
    n: int
    n_positive: int
    auc: AucEstimate | None

    @property
    def is_weak(self) -> bool:
        """Whether a class is too small to tell anything."""
        return min(self.n_positive, self.n - self.n_positive) < MIN_CLASS


@dataclass(frozen=True, slots=True)
class Characteristic:
    """A row of Table 1.

    Attributes:
        name: What is told.
        values: By split, as text.
    """

    name: str
    values: Mapping[str, str]


def read_characteristics(cohort: Cohort) -> dict[str, dict[str, str]]:
    """What is known of each patient: the manifest's other columns; of a phantom, its lesion's volume too."""
    known = {
        patient.participant_id: {**patient.extra, _SIDE: patient.lesion_side or MISSING} for patient in cohort.patients
    }
    path = cohort.folder / "truth" / "lesions.tsv"
    if path.is_file():
        for row in read_rows(path, required=("patient", "volume_ml")):
            if (name := row.cells["patient"]) in known:
                known[name].setdefault("lesion_ml", row.cells["volume_ml"])
    return known


def find_subgroups(scores: Scores, known: Mapping[str, Mapping[str, str]]) -> tuple[Subgroup, ...]:
    """The AUC of a network in each kind of patient that the manifest tells apart.

    Args:
        scores: Of patients, or of hemispheres.
        known: What `read_characteristics` gave.
    """
    members: dict[str, set[str]] = {}
    for column, title in NUMBERS.items():
        told = _numbers(known, column, scores.patients)
        if len(set(told.values())) > 1:
            cut = median(told.values())
            members[f"{title}: below {cut:.3g}"] = {patient for patient, value in told.items() if value < cut}
            members[f"{title}: {cut:.3g} and more"] = {patient for patient, value in told.items() if value >= cut}
    for column, title in WORDS.items():
        words = _words(known, column, scores.patients)
        if len(set(words.values())) > 1:
            for value in sorted(set(words.values())):
                members[f"{title}: {value}"] = {patient for patient, word in words.items() if word == value}
    return tuple(_group(name, scores, patients) for name, patients in members.items())


def find_without_flair(scores: Scores) -> tuple[Subgroup, ...]:
    """The AUC of everyone whose FLAIR was taken away, by a network that can do without."""
    return (_group("everyone, FLAIR taken away", scores, set(scores.patients)),)


def find_left_out(scores: Scores, sites: Mapping[str, str | None]) -> tuple[Subgroup, ...]:
    """The AUC at each site by networks that saw nobody from there.

    Args:
        scores: Of those who judged, where each fold was a site.
        sites: Of each patient, as the manifest tells it.
    """
    told = sorted({site for patient in scores.patients if (site := sites.get(patient)) is not None})
    return tuple(
        _group(f"left out of training: {site}", scores, {patient for patient, own in sites.items() if own == site})
        for site in told
    )


def tabulate_cohort(cohort: Cohort, known: Mapping[str, Mapping[str, str]]) -> tuple[Characteristic, ...]:
    """Table 1: medians with quartiles and counts, by split."""
    split_of = {hemisphere.patient: hemisphere.split for hemisphere in cohort.table}
    onsets = {p.participant_id: p.onset_to_mri_min for p in cohort.patients if p.onset_to_mri_min is not None}
    members = {split: [patient for patient, own in split_of.items() if own == split] for split in SPLITS}

    def numbers(name: str, told: Mapping[str, float]) -> Characteristic:
        return Characteristic(
            name, {split: _quartiles([told[p] for p in own if p in told]) for split, own in members.items()}
        )

    def share(name: str, hits: Set[str]) -> Characteristic:
        return Characteristic(name, {split: _share(len(hits & set(own)), len(own)) for split, own in members.items()})

    rows = [Characteristic("patients", {split: str(len(own)) for split, own in members.items()})]
    if unknown := {patient.participant_id for patient in cohort.patients if not patient.is_scored}:
        rows.append(share("onset or side not known (they train, and judge nothing)", unknown))
    rows.append(numbers("onset to MRI, minutes", onsets))
    rows.extend(
        share(f"onset < {cut:g} h", {p for p, onset in onsets.items() if onset < 60.0 * cut}) for cut in _CUTS_H
    )
    rows.extend(
        numbers(title, told) for column, title in NUMBERS.items() if (told := _numbers(known, column, split_of))
    )
    for column, title in WORDS.items():
        words = _words(known, column, split_of)
        rows.extend(
            share(f"{title}: {value}", {p for p, word in words.items() if word == value})
            for value in sorted(set(words.values()))
        )
    return tuple(rows)


def _group(name: str, scores: Scores, patients: Set[str]) -> Subgroup:
    chosen = scores.take(tuple(u for u, p in zip(scores.units, scores.patients, strict=True) if p in patients))
    auc = estimate_auc(chosen.labels, chosen.logits, patients=chosen.patients) if chosen.has_both else None
    return Subgroup(name, len(chosen.units), chosen.n_positive, auc)


def _numbers(known: Mapping[str, Mapping[str, str]], column: str, patients: Iterable[str]) -> dict[str, float]:
    """A column's numbers by patient; `89+`, as BIDS hides great ages, is 89."""
    found = {}
    for patient in patients:
        try:
            value = float(known.get(patient, {}).get(column, MISSING).rstrip("+"))
        except ValueError:
            continue
        if math.isfinite(value):
            found[patient] = value
    return found


def _words(known: Mapping[str, Mapping[str, str]], column: str, patients: Iterable[str]) -> dict[str, str]:
    """A column's words by patient; nothing where there are so many that they name patients."""
    words = {patient: known.get(patient, {}).get(column, MISSING) for patient in patients}
    told = {patient: word for patient, word in words.items() if word not in (MISSING, "")}
    return told if len(set(told.values())) <= MAX_VALUES else {}


def _quartiles(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def _share(hits: int, n: int) -> str:
    return f"{hits} ({hits / n:.0%})" if n else MISSING
