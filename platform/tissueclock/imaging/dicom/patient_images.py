"""One patient's series to the images that are taken of them, each other series with the reason why it was left.

Who the patient is called in the output, and where that lies, is `ingest`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import BValues, flags
from tissueclock.imaging.dicom.choices import Choices
from tissueclock.imaging.dicom.conversion import Converted, convert
from tissueclock.imaging.dicom.objects import DicomSeries
from tissueclock.imaging.dicom.persons import differ, is_placeholder
from tissueclock.imaging.dicom.phase_encoding import are_opposite
from tissueclock.imaging.dicom.recognition import Verdict, recognise_series
from tissueclock.imaging.dicom.selection import (
    Candidate,
    MissingBError,
    choose_adc,
    choose_dwi,
    choose_flair,
    minutes_after,
    named,
    of_one_session,
)

_APART_MIN = 60.0
"""FLAIR of more than an hour before or after the diffusion series shows another age of the lesion: that is said."""


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """What became of one series.

    Attributes:
        name: How messages name it, such as `series 5`.
        number: The series' number in its study, or None.
        study_date: YYYYMMDD; private.
        description: Free text of the header; private.
        n_files: Files in it.
        taken_as: `dwi`, `b0`, `b1000`, `adc` or `flair`; empty where it was left.
        reason: Why, in one line.
        lost: Whether it was left because files of it are damaged, though it may have been needed.
        uid: SeriesInstanceUID; private.
    """

    name: str
    number: int | None
    study_date: str
    description: str
    n_files: int
    taken_as: str
    reason: str
    lost: bool = False
    uid: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What is taken of a patient.

    Attributes:
        images: By folder and the part of the name behind the subject's, as `("dwi", "dwi")`; none if refused.
        series: One line each, in the order of acquisition.
        refusal: Why nothing is taken, in one line; or empty.
        missing: What the patient lacks and can do without, and which series are lost; or empty.
        remarks: What else should be known, one line each.
    """

    images: Mapping[tuple[str, str], Converted]
    series: tuple[SeriesLine, ...]
    refusal: str = ""
    missing: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Conversions:
    """Where one patient's series are converted, each once, and what is said of each."""

    work: Path
    images: dict[str, Converted] = field(default_factory=dict)
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    n_begun: int = 0
    remarks: list[str] = field(default_factory=list)

    def convert(self, series: DicomSeries) -> Converted:
        """The image of a series; raises ImageError."""
        uid = series.files[0].series_uid
        if uid not in self.images:
            self.n_begun += 1
            self.images[uid] = convert(series, self.work / f"{self.n_begun:04d}")
        return self.images[uid]

    def leave(self, series: DicomSeries, reason: str) -> None:
        """Says why a series is left."""
        self.said[series.files[0].series_uid] = ("", reason.removeprefix(f"{series.name}: "))

    def take(self, one: Candidate, role: str) -> None:
        """Says as what a series is taken."""
        uid = one.series.files[0].series_uid
        note = f"; {self.images[uid].note}" if self.images[uid].note else ""
        self.said[uid] = (role, f"{one.verdict.reason} (by {one.verdict.evidence}){note}")

    def works(self, one: Candidate) -> bool:
        """Whether a series can be converted; where not, says why."""
        try:
            self.convert(one.series)
        except ImageError as error:
            self.leave(one.series, str(error))
            return False
        return True


def take(series: Sequence[DicomSeries], work: Path, *, b_values: BValues, choices: Choices) -> Taken:
    """Chooses the series of a patient that are to be images, and converts them.

    Args:
        series: All of one patient's, in the order of acquisition.
        work: A folder of ours; the images are read from it until they are written.
        b_values: The b-value wanted.
        choices: Which of two equally good series is taken.

    Returns:
        Images, or the reason why there are none.

    Raises:
        StorageError: The work folder cannot be written.
    """
    conversions = _Conversions(work)
    verdicts = {one.files[0].series_uid: recognise_series(one.facts) for one in series}
    candidates: dict[str, list[Candidate]] = {"dwi": [], "adc": [], "flair": []}
    for one in series:
        verdict = verdicts[one.files[0].series_uid]
        if _is_lost(one, verdict):
            conversions.leave(one, one.damage)
        elif verdict.kind == "left":
            conversions.leave(one, verdict.reason)
        else:
            candidates[verdict.kind].append(Candidate(one, verdict, tuple(sorted(one.facts.b_values))))
    try:
        _check_person(series)
        _check_dwi(series, candidates["dwi"], verdicts)
        images = _images(conversions, candidates, b_values, choices)
        _check_choices(conversions, series, choices)
        refusal = ""
    except ImageError as error:
        images, refusal = {}, str(error)
        conversions.said = {uid: said for uid, said in conversions.said.items() if not said[0]}
    lost = [one for one in series if _is_lost(one, verdicts[one.files[0].series_uid]) and one.damage not in refusal]
    told = [f"{one.name} lost: {one.damage}" for one in lost]
    if refusal:
        refusal = "; ".join([refusal, *told])
    missing = "" if refusal else "; ".join([*([] if ("anat", "FLAIR") in images else ["no FLAIR"]), *told])
    lines = _lines(conversions, series, verdicts, refused=bool(refusal))
    return Taken(images, lines, refusal, missing, () if refusal else tuple(conversions.remarks))


def _is_lost(series: DicomSeries, verdict: Verdict) -> bool:
    """Whether damage is why a series cannot be taken; a header that is cut may be of anything."""
    return bool(series.damage) and (verdict.kind != "left" or not series.legible)


def _images(
    conversions: _Conversions, candidates: Mapping[str, Sequence[Candidate]], b_values: BValues, choices: Choices
) -> dict[tuple[str, str], Converted]:
    dwi = _dwi(conversions, candidates["dwi"], b_values, choices)
    flair = _flair(conversions, candidates["flair"], dwi[-1], choices)
    images = _diffusion_images(conversions, dwi) | _adc_image(conversions, candidates["adc"], dwi[-1], choices)
    if flair is not None:
        conversions.take(flair, "flair")
        images["anat", "FLAIR"] = _timed(conversions, flair, dwi[-1])
    return images


def _timed(conversions: _Conversions, flair: Candidate, dwi: Candidate) -> Converted:
    """FLAIR, with the minutes in its sidecar if it lies far from the diffusion series: a difference is no date."""
    image = conversions.convert(flair.series)
    minutes = minutes_after(flair, dwi)
    if minutes is None or abs(minutes) <= _APART_MIN:
        return image
    conversions.remarks.append(
        f"FLAIR was acquired {_apart(minutes)} the diffusion series; it may show another age of the lesion"
    )
    return replace(image, facts={**image.facts, "MinutesAfterDiffusion": round(minutes)})


def _apart(minutes: float) -> str:
    """Such as `1 h 35 min after`."""
    hours, rest = divmod(round(abs(minutes)), 60)
    return f"{hours} h {rest} min {'after' if minutes > 0 else 'before'}"


def _dwi(
    conversions: _Conversions, candidates: Sequence[Candidate], b_values: BValues, choices: Choices
) -> tuple[Candidate, ...]:
    """The best that can be converted: where one cannot, the next best."""
    left = [known for one in candidates if (known := _with_b_values(conversions, one)) is not None]
    while left:
        try:
            chosen = choose_dwi(left, b_values, choices=choices)
        except MissingBError as error:
            failed = _failures(conversions, candidates)  # before what trying the advice adds
            advice = _advice(conversions, left, error.other, b_values, choices)
            raise ImageError(f"{error}{advice}{failed}") from error
        except ImageError as error:
            raise ImageError(f"{error}{_failures(conversions, candidates)}") from error
        unusable = [one for one in chosen if not conversions.works(one)]
        if not unusable:
            return chosen
        left = [one for one in left if one not in unusable]
    raise ImageError(f"no diffusion series can be used{_failures(conversions, candidates)}")


def _advice(
    conversions: _Conversions,
    candidates: Sequence[Candidate],
    other: BValues | None,
    b_values: BValues,
    choices: Choices,
) -> str:
    """An option that would do, since it was tried, or what would be missing with it; empty where there is none."""
    if other is None:
        return ""
    option = flags(other, instead_of=b_values)
    try:
        _dwi(conversions, candidates, other, choices)
    except ImageError as error:
        return f"; with {option} there would remain: {error}"
    return f"; {option} would take it"


def _with_b_values(conversions: _Conversions, one: Candidate) -> Candidate | None:
    """A candidate, with the b-values that its conversion finds where images do not tell theirs; None: it finds none."""
    directions = one.series.facts.phase_encodings
    if are_opposite(directions, directions):
        reason = f"diffusion of phase encoding {one.phase_encoding} in one series, each distorted the other way"
        conversions.leave(one.series, reason)
        return None
    if one.b_values and not one.series.facts.some_b_untold:
        return one
    if not conversions.works(one):
        return None
    bvals = conversions.convert(one.series).bvals
    if bvals is None:
        conversions.leave(one.series, "diffusion, but neither tags nor dcm2niix nor free text tell its b-values")
        return None
    return replace(one, b_values=tuple(sorted(set(bvals.tolist()))))


def _failures(conversions: _Conversions, candidates: Sequence[Candidate]) -> str:
    said = [(one.series.name, conversions.said.get(one.series.files[0].series_uid)) for one in candidates]
    told = [f"{name}: {word[1]}" for name, word in said if word is not None]
    return f" ({'; '.join(told)})" if told else ""


def _flair(
    conversions: _Conversions, candidates: Sequence[Candidate], dwi: Candidate, choices: Choices
) -> Candidate | None:
    left = [one for one in candidates if of_one_session(one, dwi)]
    for one in candidates:
        if one not in left:
            minutes = minutes_after(one, dwi)
            apart = "" if minutes is None else f" ({_apart(minutes)})"
            conversions.leave(one.series, f"{one.verdict.reason}; of another day than the diffusion series{apart}")
    left = named("flair", left, choices)
    while left:
        chosen = choose_flair(left, choices=choices)
        if conversions.works(chosen):
            shape = conversions.convert(chosen.series).data.shape
            if len(shape) == 3:
                return chosen
            conversions.leave(chosen.series, f"FLAIR of {shape[3]} images; one is needed")
        left.remove(chosen)
    return None


def _diffusion_images(conversions: _Conversions, dwi: Sequence[Candidate]) -> dict[tuple[str, str], Converted]:
    if len(dwi) == 1:
        conversions.take(dwi[0], "dwi")
        return {("dwi", "dwi"): conversions.convert(dwi[0].series)}
    low, high = dwi
    conversions.take(low, "b0")
    conversions.take(high, "b1000")
    kind = "trace" if high.verdict.trace else "b1000"
    return {
        ("dwi", "acq-b0_dwi"): conversions.convert(low.series),
        ("dwi", f"acq-{kind}_dwi"): conversions.convert(high.series),
    }


def _adc_image(
    conversions: _Conversions, candidates: Sequence[Candidate], dwi: Candidate, choices: Choices
) -> dict[tuple[str, str], Converted]:
    """The map beside the diffusion series; it is a help, so that doubt about it refuses nobody."""
    chosen = choose_adc(candidates, dwi=dwi, choices=choices)
    if chosen is None or not conversions.works(chosen):
        return {}
    conversions.take(chosen, "adc")
    # An ADC map has no b-value, whatever a vendor's header says.
    return {("dwi", "ADC"): replace(conversions.convert(chosen.series), bvals=None, bvecs=None)}


def _check_choices(conversions: _Conversions, series: Sequence[DicomSeries], choices: Choices) -> None:
    """Refuses to take others where a series was named that cannot be taken."""
    for row in choices.rows.values():
        said = [conversions.said.get(one.files[0].series_uid, ("", "")) for one in series if row.names(one)]
        if row.is_series and not any(taken_as for taken_as, _ in said):
            why = "; ".join(reason for _, reason in said if reason) or "another series was taken"
            raise ImageError(f"{row.where}: series {row.take} cannot be taken ({why})")


def _check_person(series: Sequence[DicomSeries]) -> None:
    """Refuses two persons under one patient ID: mixing their images would be worse than leaving both."""
    for one, other in combinations(series, 2):  # a placeholder between two names does not reconcile them
        first, second = one.files[0].identity, other.files[0].identity
        if differ(first, second):
            one_what = "study" if is_placeholder(first.patient_id) else "patient ID"
            raise ImageError(
                f"{one.name} and {other.name} have one {one_what} but two names or birth dates; one person is needed"
            )
    for one in series:
        if any(differ(one.files[0].identity, file.identity) for file in one.files[1:]):
            raise ImageError(f"{one.name}: files with two patients' names or birth dates; one person is needed")


def _check_dwi(series: Sequence[DicomSeries], candidates: Sequence[Candidate], verdicts: Mapping[str, Verdict]) -> None:
    if candidates:
        return
    may_be = [one for one in series if verdicts[one.files[0].series_uid].kind == "dwi" or not one.legible]
    if damaged := [f"{one.name}: {one.damage}" for one in may_be if one.damage]:
        raise ImageError(f"no diffusion series can be used ({'; '.join(damaged)})")
    raise ImageError(f"no diffusion series found among {len(series)}; b0 and b1000 are needed")


def _lines(
    conversions: _Conversions, series: Sequence[DicomSeries], verdicts: Mapping[str, Verdict], *, refused: bool
) -> tuple[SeriesLine, ...]:
    lines = []
    for one in series:
        first, verdict = one.files[0], verdicts[one.files[0].series_uid]
        why = "the patient was refused" if refused else f"another series was taken as {verdict.kind}"
        if verdict.kind == "adc" and not refused:
            why = "another map was taken, or none lies beside the diffusion series"
        taken_as, reason = conversions.said.get(first.series_uid, ("", f"{verdict.reason}; {why}"))
        texts = " | ".join(sorted(one.facts.texts))
        lines.append(
            SeriesLine(
                name=one.name,
                number=first.number,
                study_date=first.identity.study_date,
                description=texts,
                n_files=len(one.files),
                taken_as=taken_as,
                reason=reason,
                lost=_is_lost(one, verdict),
                uid=first.series_uid,
            )
        )
    return tuple(lines)
