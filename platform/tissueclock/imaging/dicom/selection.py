"""Which of a patient's series are taken: one diffusion series, or b0 and b1000 apart; an ADC map; FLAIR.

Pure: it decides by verdicts, b-values and the order of acquisition, and opens no file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import SHELL_S_MM2, BValues, lacking, reaching
from tissueclock.imaging.dicom.choices import COLUMNS, Choices
from tissueclock.imaging.dicom.objects import DicomSeries
from tissueclock.imaging.dicom.phase_encoding import are_opposite
from tissueclock.imaging.dicom.recognition import Verdict

_UIDS = "; the list of every series has their SeriesInstanceUID"


class MissingBError(ImageError):
    """No series has a b-value near enough; `other` is what to ask for to reach one, or None."""

    def __init__(self, line: str, other: BValues | None) -> None:
        super().__init__(line)
        self.other = other


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that may be taken.

    Attributes:
        series: The series itself.
        verdict: What the headers say that it is.
        b_values: Its b-values, s/mm2, where it is diffusion.
    """

    series: DicomSeries
    verdict: Verdict
    b_values: tuple[float, ...] = ()

    @property
    def has_b0(self) -> bool:
        """Holds an image without diffusion weighting."""
        return any(value <= SHELL_S_MM2 for value in self.b_values)

    @property
    def is_plain(self) -> bool:
        """Holds nothing but images without diffusion weighting."""
        return bool(self.b_values) and all(value <= SHELL_S_MM2 for value in self.b_values)

    @property
    def phase_encoding(self) -> str:
        """Its directions of phase encoding, to name them; empty where none is known."""
        return " and ".join(sorted(self.series.facts.phase_encodings))

    def distance_s_mm2(self, b_values: BValues) -> float:
        """From the wanted b-value to its nearest one, infinite where that is beyond the tolerance."""
        weighted = [abs(value - b_values.b_s_mm2) for value in self.b_values if value > SHELL_S_MM2]
        nearest = min(weighted, default=float("inf"))
        return nearest if nearest <= b_values.tolerance_s_mm2 else float("inf")


def of_one_session(one: Candidate, other: Candidate) -> bool:
    """Whether two series are of one study or one day: a FLAIR of the week after tells nothing of the onset."""
    first, second = one.series.files[0].identity, other.series.files[0].identity
    return first.study_uid == second.study_uid or first.study_date == second.study_date != ""


def is_reversed(one: Candidate, other: Candidate) -> bool:
    """Whether two series of one session are stretched in opposite directions."""
    directions = (which.series.facts.phase_encodings for which in (one, other))
    return of_one_session(one, other) and are_opposite(*directions)


def minutes_after(one: Candidate, other: Candidate) -> float | None:
    """From the beginning of the second series to that of the first; None where headers do not tell both."""
    first, second = one.series.acquired, other.series.acquired
    return None if first is None or second is None else (first - second).total_seconds() / 60


def choose_dwi(candidates: Sequence[Candidate], b_values: BValues, *, choices: Choices) -> tuple[Candidate, ...]:
    """The diffusion series of a patient: one that holds all, a trace before directions, or else b0 and trace apart.

    Args:
        candidates: All diffusion series in the order of acquisition.
        b_values: The b-value wanted.
        choices: What to do where two are equally good.

    Returns:
        One series, or two: b0 and b1000.

    Raises:
        ImageError: A b-value is missing, or two series would do and neither was asked for.
    """
    weighted = [one for one in candidates if one.distance_s_mm2(b_values) < float("inf")]
    if not weighted:
        found = [value for one in candidates for value in one.b_values]
        raise MissingBError(lacking(found, b_values), reaching(found, b_values))
    weighted = named("dwi", weighted, choices)

    def rank(one: Candidate) -> tuple[Any, ...]:
        # Of one shell none is nearer: 928 is no better than 930, and is not to be taken for that.
        alike = [other.distance_s_mm2(b_values) for other in weighted if other.verdict.trace == one.verdict.trace]
        further = one.distance_s_mm2(b_values) - min(alike)
        reverses = any(
            is_reversed(one, main) and _is_calibrated(main, candidates) and not _is_calibrated(one, candidates)
            for main in weighted
        )
        return not one.verdict.trace, further if further >= SHELL_S_MM2 else 0.0, reverses

    if complete := [one for one in weighted if one.has_b0]:
        return (_best(complete, rank, role="dwi", choices=choices),)
    high = _best(weighted, rank, role="b1000", choices=choices)
    low = _b0_for(high, candidates, b_values, choices)
    return low, high


def _is_calibrated(main: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Whether a series without diffusion weighting was acquired to correct the distortion of this one."""
    return any(one.is_plain and is_reversed(one, main) for one in candidates)


def _b0_for(high: Candidate, candidates: Sequence[Candidate], b_values: BValues, choices: Choices) -> Candidate:
    """The b0 beside a series that holds none; one that is distorted the other way does not fit it."""
    of_that_day = [one for one in candidates if one.has_b0 and of_one_session(one, high)]
    plain = [one for one in of_that_day if not is_reversed(one, high)]
    if not plain:
        found = sorted({value for one in candidates for value in one.b_values})
        listed = ", ".join(f"{value:g}" for value in found)
        raise ImageError(
            f"b-values {listed} found; b0 of one day with "
            f"{b_values.b_s_mm2:g} +- {b_values.tolerance_s_mm2:g} is needed{_reversal(of_that_day, high)}"
        )
    plain = named("b0", plain, choices)
    return _best(plain, lambda one: (len(one.b_values),), role="b0", choices=choices)


def _reversal(plain: Sequence[Candidate], high: Candidate) -> str:
    listed = " and ".join(f"{one.series.name} ({one.phase_encoding or 'not told'})" for one in (*plain, high))
    return f"; {listed} are of opposite phase encoding" if plain else ""


def choose_flair(candidates: Sequence[Candidate], *, choices: Choices) -> Candidate:
    """The FLAIR of a patient: one as acquired before a reformatted one, one by its tags before one by its text.

    Raises:
        ImageError: Two would do and neither was asked for.
    """
    return _best(
        named("flair", candidates, choices),
        lambda one: (one.verdict.reformatted, one.verdict.evidence == "free text"),
        role="flair",
        choices=choices,
    )


def choose_adc(candidates: Sequence[Candidate], *, dwi: Candidate, choices: Choices) -> Candidate | None:
    """The ADC map of the diffusion series that was taken: of its study, next to it in number; None in doubt.

    Raises:
        ImageError: A map was named that is no candidate.
    """
    row = choices.row("adc")
    if row is not None and row.is_series and len(chosen := named("adc", candidates, choices)) == 1:
        return chosen[0]
    number = dwi.series.files[0].number

    def distance(one: Candidate) -> float:
        own = one.series.files[0].number
        return float("inf") if own is None or number is None else float(abs(own - number))

    same = [one for one in candidates if _study(one) == _study(dwi)]
    nearest = [one for one in same if distance(one) == min(distance(other) for other in same)]
    if row is not None and row.role == "adc" and nearest:
        return nearest[-1 if row.take == "last" else 0]
    return nearest[0] if len(nearest) == 1 else None


def named(role: str, candidates: Sequence[Candidate], choices: Choices) -> list[Candidate]:
    """The one candidate that the user has named for a role, or all where none was named.

    Raises:
        ImageError: The series named is no candidate, or several have its number.
    """
    row = choices.row(role)
    if row is None or not row.is_series:
        return list(candidates)
    found = [one for one in candidates if row.names(one.series)]
    if len(found) > 1:
        raise ImageError(f"{row.where}: {len(found)} series have number {row.take}; give a SeriesInstanceUID{_UIDS}")
    if found or not row.role:  # without a role it is named for one of them
        return found or list(candidates)
    listed = ", ".join(one.series.name for one in candidates) or "there are none"
    raise ImageError(f"{row.where}: series {row.take} is no candidate for {role} ({listed})")


def _best(
    candidates: Sequence[Candidate],
    rank: Callable[[Candidate], tuple[Any, ...]],
    *,
    role: str,
    choices: Choices,
) -> Candidate:
    ranked = [rank(one) for one in candidates]
    equals = [one for one, own in zip(candidates, ranked, strict=True) if own == min(ranked)]
    rule = choices.rule(role)
    if len(equals) == 1 or rule == "first":
        return equals[0]
    if rule == "last":
        return equals[-1]
    directions = [one.phase_encoding for one in equals]
    names = " and ".join(
        f"{one.series.name} (phase encoding {direction or 'not told'})" if len(set(directions)) > 1 else one.series.name
        for one, direction in zip(equals, directions, strict=True)
    )
    numbers = {one.series.files[0].number for one in equals}
    raise ImageError(
        f"{names} would each do as {role}; one is needed; --duplicates first or last takes one of every patient's, "
        f"--duplicates FILE.tsv ({COLUMNS}) this patient's{_UIDS if len(numbers) < len(equals) else ''}"
    )


def _study(one: Candidate) -> str:
    return one.series.files[0].identity.study_uid
