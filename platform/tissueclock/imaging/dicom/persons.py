"""Whose a study is: by the patient ID, and where that is a placeholder, by what the scanner itself wrote.

Anonymisers write one word for all patients. It is no evidence that two studies are one person, nor that they are two.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations, pairwise
from types import MappingProxyType

from tissueclock.imaging.dicom.headers import Identity

_WORD = (
    r"0+|x+|anon|anonym|anonymous|anonymi[sz]ed?|anonymous(patient|name|id)|unknown|none|null|na|nan|patient|"
    r"patients?(name|id)|name|id|noname|noid|nobody|deidentified|removed|redacted|deleted|empty|blank|default|dummy|"
    r"n a|no name|no id|not (available|given|known)|de identified"
)
_PLACEHOLDER = re.compile(rf"(({_WORD})( ({_WORD}))*)?")
"""All words of a name or ID that names nobody; `ANON-0012` has one that is none of them."""

_DUMMY_DATES = {"00000000", "00010101", "18000101", "18500101", "19000101", "19700101", "99991231"}


def is_placeholder(text: str) -> bool:
    """Whether a patient's ID or name names nobody.

    >>> [is_placeholder(text) for text in ("", "ANONYMOUS", "Anon^Patient", "00", "N/A", "ANON-12", "A", "No^Il", "10")]
    [True, True, True, True, True, False, False, False, False]
    """
    return _PLACEHOLDER.fullmatch(" ".join(_words(text))) is not None


def differ(one: Identity, other: Identity) -> bool:
    """Whether names or birth dates say that two headers are of two persons; placeholders say nothing."""
    births = {who.birth_date for who in (one, other)} - _DUMMY_DATES - {""}
    if len(births) > 1:
        return True
    if is_placeholder(one.name) or is_placeholder(other.name):
        return False
    first, second = (set(_words(who.name)) for who in (one, other))
    # A middle name more or less is the same person.
    return not (first <= second or second <= first)


@dataclass(slots=True)
class _Study:
    identities: dict[tuple[str, str], Identity] = field(default_factory=dict)
    frames: set[str] = field(default_factory=set)
    date: str = ""


class Persons:
    """Tells patients apart, given all headers of a folder.

    Args:
        identities: Of all whole files.
        known: Studies of the key file's patients without an ID, each with the study that names its patient there.
    """

    def __init__(self, identities: Iterable[Identity], known: Mapping[str, str] = MappingProxyType({})) -> None:
        studies: dict[str, _Study] = {}
        for who in identities:
            if is_placeholder(who.patient_id):
                study = studies.setdefault(who.study_uid, _Study())
                study.identities.setdefault((who.name, who.birth_date), who)
                study.frames |= {who.frame_uid} - {""}
                study.date = max(study.date, who.study_date)
        groups = _joined(studies)
        self.studies: dict[tuple[str, str], tuple[str, ...]] = {}
        self._names: dict[str, str] = {}
        for group in groups:
            first = min(group, key=lambda uid: (uid not in known, studies[uid].date, uid))
            name = known.get(first, first)
            self.studies["", name] = tuple(sorted({*group, *self.studies.get(("", name), ())}))
            self._names |= dict.fromkeys(group, name)

    def find(self, who: Identity) -> tuple[str, str]:
        """`(patient ID, issuer)`, or `("", study UID)` where the ID is a placeholder: of one study of the patient's."""
        if is_placeholder(who.patient_id):
            return "", self._names.get(who.study_uid, who.study_uid)
        return who.patient_id, who.issuer


def _joined(studies: Mapping[str, _Study]) -> list[list[str]]:
    """Studies of one frame of reference and of one day or the next, whose names and birth dates agree."""
    group_of = {uid: [uid] for uid in studies}
    by_frame: dict[str, list[str]] = {}
    for uid, study in sorted(studies.items(), key=lambda entry: (entry[1].date, entry[0])):
        for frame in study.frames:
            by_frame.setdefault(frame, []).append(uid)
    for one, other in (pair for uids in by_frame.values() for pair in pairwise(uids)):
        first, second = group_of[one], group_of[other]
        if first is second or not _adjacent(studies[one].date, studies[other].date):
            continue
        everybody = [who for uid in (*first, *second) for who in studies[uid].identities.values()]
        if not any(differ(*pair) for pair in combinations(everybody, 2)):
            first.extend(second)
            group_of |= dict.fromkeys(second, first)
    return list({id(group): group for group in group_of.values()}.values())


def _adjacent(one: str, other: str) -> bool:
    """Whether two dates, YYYYMMDD, are at most a day apart; one that is not told contradicts nothing."""
    try:
        days = [datetime.strptime(date, "%Y%m%d") for date in (one, other)]
    except ValueError:
        return True
    return abs((days[0] - days[1]).days) <= 1


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", text.casefold()) if word]
