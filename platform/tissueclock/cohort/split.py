"""The split: which patient learns, which one tunes, which one is kept for the end. Made once per cohort, and hashed.

By patient, never by hemisphere, so that nothing of a holdout patient can be learned from.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, TypeVar

from tissueclock.cohort.manifest import Patient
from tissueclock.errors import CohortError
from tissueclock.seeds import derive_seed
from tissueclock.storage.files import digest_facts

Split = Literal["train", "validation", "holdout"]
Share = TypeVar("Share", bound=Hashable)

FRACTIONS: Mapping[Split, float] = {"train": 0.64, "validation": 0.16, "holdout": 0.20}
"""Shares of the patients (Zhang et al. 2021: 272, 68 and 82 of 422)."""

_LEAST_OF_A_SITE = 10
"""Patients below which a site is no stratum: scanners' serial numbers would leave nothing of the others."""

_ONSET_EDGES_MIN = (180.0, 270.0)


def split_patients(patients: Sequence[Patient], *, seed: int) -> dict[str, Split]:
    """Deals patients into train, validation and holdout, alike in site, onset class and lesion side.

    The patients are lined up by stratum (onset under 180 min, under 270 min, later, none; then site, where the manifest
    tells sites of at least 10; then side) and, within it, by a keyed hash; each in turn goes where the share so far is
    furthest behind. So the shares hold over the whole and, to about one patient, in every stratum, and neither order
    nor numbering of the manifest matters. Patients who can judge nothing (`Patient.is_scored`) all train, and change
    nobody else's split.

    Args:
        patients: At least one; ids are unique.
        seed: Which of the many such splits.

    Returns:
        The split of every patient, in the order given. Totals of those dealt are 64/16/20 % by largest remainder.

    Raises:
        CohortError: There is no patient.
    """
    if not patients:
        raise CohortError("split: no patient; at least one is needed")
    judging = [patient for patient in patients if patient.is_scored]
    dealt = _deal(judging, shares=FRACTIONS, key=derive_seed(seed, "split"), by_site=True)
    return {patient.participant_id: dealt.get(patient.participant_id, "train") for patient in patients}


def fold_patients(patients: Sequence[Patient], *, n_folds: int, seed: int, by_site: bool = True) -> dict[str, int]:
    """Deals patients into folds of equal size, as alike as `split_patients` makes its splits.

    Args:
        patients: At least as many as folds; ids are unique.
        n_folds: At least 2.
        seed: Which of the many such folds.
        by_site: Whether folds are alike in site, too; cohorts packed before 0.2 have folds that are not.

    Returns:
        The fold of every patient, from 1, in the order given.

    Raises:
        CohortError: There are fewer patients than folds.
    """
    if len(patients) < n_folds:
        raise CohortError(f"folds: {len(patients)} patients for {n_folds} folds; each needs one at least")
    shares = dict.fromkeys(range(1, n_folds + 1), 1.0 / n_folds)
    return _deal(patients, shares=shares, key=derive_seed(seed, "folds", n_folds), by_site=by_site)


def split_digest(split: Mapping[str, Split] | Mapping[str, int]) -> str:
    """The SHA-256 of the table patient -> split (or fold), whatever its order.

    >>> split_digest({"a": "train", "b": "holdout"}) == split_digest({"b": "holdout", "a": "train"})
    True
    """
    return digest_facts(dict(split))


def _deal(patients: Sequence[Patient], *, shares: Mapping[Share, float], key: int, by_site: bool) -> dict[str, Share]:
    n_at = Counter(patient.site for patient in patients) if by_site else Counter[str | None]()

    def place(patient: Patient) -> tuple[int, str, str, bytes]:
        onset_class, side = _stratum(patient)
        site = patient.site if n_at[patient.site] >= _LEAST_OF_A_SITE else None
        return onset_class, site or "", side, _draw(key, patient.participant_id)

    line = sorted(patients, key=place)
    totals = _totals(len(line), shares)
    dealt: Counter[Share] = Counter()
    found: dict[str, Share] = {}
    for n, patient in enumerate(line, start=1):
        still_open = [name for name in shares if dealt[name] < totals[name]]
        chosen = max(still_open, key=lambda name: totals[name] / len(line) * n - dealt[name])
        dealt[chosen] += 1
        found[patient.participant_id] = chosen
    return {patient.participant_id: found[patient.participant_id] for patient in patients}


def _stratum(patient: Patient) -> tuple[int, str]:
    onset = patient.onset_to_mri_min
    onset_class = len(_ONSET_EDGES_MIN) + 1 if onset is None else sum(onset >= edge for edge in _ONSET_EDGES_MIN)
    return onset_class, str(patient.lesion_side)


def _draw(key: int, participant_id: str) -> bytes:
    """A hash that orders patients at random, yet does not depend on who else is there."""
    return hashlib.sha256(f"{key}\x1f{participant_id}".encode()).digest()


def _totals(n_patients: int, shares: Mapping[Share, float]) -> dict[Share, int]:
    """Whole numbers nearest to the shares that add up to `n_patients` (largest remainder)."""
    totals = {name: int(share * n_patients) for name, share in shares.items()}
    remainders = sorted(shares, key=lambda name: totals[name] - shares[name] * n_patients)
    for name in remainders[: n_patients - sum(totals.values())]:
        totals[name] += 1
    return totals
