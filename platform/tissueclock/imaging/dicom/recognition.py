"""What a series is, judged from its headers: diffusion, ADC map, FLAIR, or the reason why it is none of them.

Standard tags decide first, then vendors' private ones, free text last and only where the tags are silent. Pure:
no file is opened here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from tissueclock.imaging.bvalues import SHELL_S_MM2, same_shell

Kind = Literal["dwi", "adc", "flair", "left"]
Evidence = Literal["standard tags", "private tags", "free text"]

FLAIR_TI_MS = (1600.0, 3200.0)
"""Inversion times that null fluid: 1650 to 1800 in 3D at 3 T with short recovery, 2000 to 2850 in 2D; T1-FLAIR has 700
to 1100 and STIR 130 to 250. (The null of CSF, T1 about 4.3 s, is at TI = T1 ln(2 / (1 + exp(-TR / T1)))."""

FLAIR_TE_MS = 60.0
"""A shorter echo is not T2-weighted."""

_TRACE_WORDS = {"TRACEW", "TRACE", "TRACEWEIGHTED", "ISOTROPIC", "COMBINED"}
_ADC_WORDS = {"ADC", "ADC MAP", "ADC_MAP"}
_REFORMATTED_WORDS = {"MPR", "REFORMATTED", "RESAMPLED", "CPR"}
_MAGNITUDES = {"M", "MAGNITUDE", "M_SE", "M_IR", "M_FFE", "MIXED"}
_PARTS = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "IR_MAP"}

_LEFT_WORDS = {
    "a localiser": {"LOCALIZER", "SCOUT", "POSDISP"},
    "a projection": {"MIP", "MINIP", "MIN IP", "MNIP", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "VOLUME RENDERED"},
    "an exponential ADC map": {"EADC", "EXP", "EXPONENTIAL"},
    "a tensor map": {"FA", "FA MAP", "COLFA", "TENSOR", "TENSOR_B0", "ANISO", "RA", "TRACE_MAP"},
    "a computed b-value, not a measured one": {"CALC_BVALUE", "COMPUTED_BVALUE", "SYNTHETIC"},
    "susceptibility-weighted": {"SWI", "SWI_MAP", "VENBOLD", "QSM"},
    "perfusion": {
        "PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBF", "RCBV", "RELCBF", "RELCBV", "RELMTT", "ASL", "PBP",
        "GBP",
    },
    "angiography": {"TOF", "PCA", "VELOCITY", "FLOW", "FLOW_ENCODED", "TIME_OF_FLIGHT", "TIMEOFFLIGHT"},
    "a map, not a weighted image": {
        "FIELD MAP", "FIELDMAP", "B0 MAP", "B1 MAP", "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP",
    },
    "a subtraction": {"SUBTRACT", "SUBTRACTION", "SUB"},
    "a picture of a screen or a report": {"SCREEN SAVE", "SCREENSHOT", "REPORT", "CSA REPORT", "CSAPARALLEL"},
}  # fmt: skip

_DIFFUSION_TEXT = re.compile(r"(?<![a-z])(dwi|dti|diff|diffusion|trace|tracew|resolve)(?![a-z])|ep_b\d", re.IGNORECASE)
_ADC_TEXT = re.compile(r"(?<![a-z])(adc|apparent diffusion)(?![a-z])", re.IGNORECASE)
_MAP_TEXT = re.compile(r"(?<![a-z])(eadc|exp(onential)?|fa|colfa|tensor|mip|perf|swi|phase)(?![a-z])", re.IGNORECASE)
_FLAIR_TEXT = re.compile(r"flair|dark[ _-]?fluid", re.IGNORECASE)
_T1_TEXT = re.compile(r"(?<![a-z])t1", re.IGNORECASE)
_B_TEXT = re.compile(r"(?<![a-z0-9])b[ =_]?(\d{1,5})(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What headers say, each fact as the set of values met, so that those of files add up to those of a series.

    Attributes:
        modality: Such as MR.
        colour: Photometric interpretation where it is not grey.
        image_types: ImageType and FrameType, in capitals.
        contrasts: AcquisitionContrast: diffusion, perfusion, ...
        components: ComplexImageComponent: magnitude, phase, real or imaginary part.
        b_tags: Of each image, DiffusionBValue and the vendor's private b-value, s/mm2, None where it has none.
        directionality: NONE, DIRECTIONAL, ISOTROPIC, BMATRIX.
        sequences: ScanningSequence, and IR, EP where enhanced headers say so.
        inversion_times_ms: Inversion times above 0.
        echo_times_ms: Echo times, effective ones where several echoes were read.
        repetition_times_ms: Repetition times as written.
        axes: Of the patient, across which slices lie: 0, 1 or 2.
        texts: Series description, protocol and sequence name.
        phase_encodings: Directions of phase encoding, such as AP.
    """

    modality: frozenset[str] = frozenset()
    colour: frozenset[str] = frozenset()
    image_types: frozenset[tuple[str, ...]] = frozenset()
    contrasts: frozenset[str] = frozenset()
    components: frozenset[str] = frozenset()
    b_tags: frozenset[tuple[float | None, float | None]] = frozenset()
    directionality: frozenset[str] = frozenset()
    sequences: frozenset[str] = frozenset()
    inversion_times_ms: frozenset[float] = frozenset()
    echo_times_ms: frozenset[float] = frozenset()
    repetition_times_ms: frozenset[float] = frozenset()
    axes: frozenset[int] = frozenset()
    texts: frozenset[str] = frozenset()
    phase_encodings: frozenset[str] = frozenset()

    @property
    def standard_b(self) -> frozenset[float]:
        """From the standard tag."""
        return frozenset(standard for standard, _ in self.b_tags if standard is not None)

    @property
    def private_b(self) -> frozenset[float]:
        """From vendors' private tags."""
        return frozenset(private for _, private in self.b_tags if private is not None)

    @property
    def b_values(self) -> frozenset[float]:
        """Of each image its standard tag's, or else its private one's; empty where all are silent."""
        told = (private if standard is None else standard for standard, private in self.b_tags)
        return frozenset(value for value in told if value is not None)

    @property
    def some_b_untold(self) -> bool:
        """Whether some images tell their b-value and others do not: GE and Toshiba leave it out of b0."""
        return (None, None) in self.b_tags and bool(self.b_values)

    @property
    def torn_b(self) -> tuple[float, float] | None:
        """An image's standard and private b-value where they are not of one shell."""
        both = ((one, other) for one, other in self.b_tags if one is not None and other is not None)
        return next((pair for pair in sorted(both) if not same_shell(*pair)), None)

    @property
    def words(self) -> frozenset[str]:
        """All words of the image types."""
        return frozenset(word for words in self.image_types for word in words)

    @property
    def text(self) -> str:
        """All free text, to search in."""
        return " | ".join(sorted(self.texts))

    @property
    def text_b(self) -> tuple[float, ...]:
        """b-values that the free text names, ascending."""
        return tuple(sorted({float(found) for found in _B_TEXT.findall(self.text)}))


def merge(facts: Sequence[Facts]) -> Facts:
    """The facts of a series from those of its files."""
    names = [field.name for field in fields(Facts)]
    return Facts(**{name: frozenset().union(*(getattr(one, name) for one in facts)) for name in names})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a series is.

    Attributes:
        kind: `left` is none that we take.
        reason: Why, in one line.
        evidence: Which kind of tag, or text, decided.
        trace: Diffusion whose directions the scanner has averaged.
        reformatted: Computed from another series in another plane.
    """

    kind: Kind
    reason: str
    evidence: Evidence = "standard tags"
    trace: bool = False
    reformatted: bool = False


def recognise_series(facts: Facts) -> Verdict:
    """Judges what a series is by its headers.

    Returns:
        Its kind and the reason. Diffusion may come without b-values: then what the converter finds has to do.
    """
    if reason := _unfit(facts):
        return Verdict("left", reason)
    if facts.words & _ADC_WORDS and not any(value >= SHELL_S_MM2 for value in _measured_b(facts)):
        return Verdict("adc", f"ImageType {', '.join(sorted(facts.words & _ADC_WORDS))}")
    return _diffusion(facts) or _flair(facts)


def _unfit(facts: Facts) -> str:
    """Why a series cannot be what we look for, whatever its contrast; empty where it may."""
    if facts.modality != {"MR"}:
        return f"modality {', '.join(sorted(facts.modality)) or 'unknown'}; MR is needed"
    if facts.colour:
        return f"a colour map ({', '.join(sorted(facts.colour))})"
    reasons = [_left_because(words) for words in sorted(facts.image_types)]
    if reasons and all(reasons):
        return reasons[0]
    if facts.components and not facts.components & _MAGNITUDES:
        return f"{', '.join(sorted(facts.components)).lower()}, not magnitude"
    for reason, words in _LEFT_WORDS.items():
        if found := facts.contrasts & words:
            return f"{reason} (AcquisitionContrast {', '.join(sorted(found))})"
    if len(facts.axes) > 1:
        return f"a localiser (slices across {len(facts.axes)} axes)"
    return ""


def _left_because(image_type: tuple[str, ...]) -> str:
    words = set(image_type)
    for reason, unwanted in _LEFT_WORDS.items():
        if found := words & unwanted:
            return f"{reason} (ImageType {', '.join(sorted(found))})"
    # One letter means a part of a complex image in the third place only; Philips writes it again farther on.
    part = set(image_type[2:3]) & _PARTS or words & {"PHASE", "PHASE MAP", "REAL", "IMAGINARY"}
    if part and not words & _MAGNITUDES:
        return f"not a magnitude image (ImageType {', '.join(sorted(part))})"
    return ""


def _measured_b(facts: Facts) -> frozenset[float]:
    """The b-values of a series that holds images beside its ADC map; none where it is nothing but the map."""
    return facts.b_values if any(not set(words) & _ADC_WORDS for words in facts.image_types) else frozenset()


def _diffusion(facts: Facts) -> Verdict | None:
    trace = bool(facts.words & _TRACE_WORDS or "ISOTROPIC" in facts.directionality)
    listed = ", ".join(f"{value:g}" for value in sorted(facts.b_values))
    said = f"b {listed}" if listed else "no b-value in the tags"
    evidence: Evidence = "private tags" if facts.private_b and not facts.standard_b else "standard tags"
    if _is_diffusion(facts):
        return Verdict("dwi", said, evidence, trace)
    # Philips and GE write b = 0 into series of any contrast: it says diffusion only of a spin-echo EPI.
    if facts.b_values and "EP" in facts.sequences and not facts.sequences & {"GR", "IR"}:
        return Verdict("dwi", f"{said} of a spin-echo EPI", evidence, trace)
    if facts.sequences & {"IR"} or facts.inversion_times_ms or _MAP_TEXT.search(facts.text):
        return None
    if _ADC_TEXT.search(facts.text):
        return Verdict("adc", "the free text says ADC", "free text")
    if found := _DIFFUSION_TEXT.search(facts.text):
        return Verdict(
            "dwi", f"{said}; the free text says {found.group(0)!r}", "free text", "trace" in facts.text.lower()
        )
    return None


def _is_diffusion(facts: Facts) -> bool:
    return bool(
        "DIFFUSION" in facts.contrasts
        or facts.words & ({"DIFFUSION"} | _TRACE_WORDS - {"COMBINED"})
        or facts.directionality - {"NONE"}
        or any(value >= SHELL_S_MM2 for value in facts.b_values)
    )


def _flair(facts: Facts) -> Verdict:
    """FLAIR: fluid nulled by a long inversion time, T2-weighted by a long echo."""
    reformatted = bool(facts.words & _REFORMATTED_WORDS)
    inversions, echo_ms = sorted(facts.inversion_times_ms), max(facts.echo_times_ms, default=None)
    timing = f"TI {' and '.join(f'{ti:g}' for ti in inversions) or 'unknown'}, TE {_listed(echo_ms)} ms"
    nulled = "FLUID_ATTENUATED" in facts.contrasts
    if not (nulled or "IR" in facts.sequences or inversions):
        if _says_flair(facts) and (echo_ms is None or echo_ms >= FLAIR_TE_MS):
            return Verdict("flair", f"{timing}; the free text says FLAIR", "free text", reformatted=reformatted)
        repetitions = _listed(*sorted(facts.repetition_times_ms))
        return Verdict("left", f"neither diffusion nor inversion recovery ({timing}, TR {repetitions} ms)")
    if echo_ms is not None and echo_ms < FLAIR_TE_MS:
        allowed = f"FLAIR has TE of {FLAIR_TE_MS:g} ms or more"
        return Verdict("left", f"inversion recovery, but not T2-weighted: {timing}; {allowed}")
    lowest, highest = FLAIR_TI_MS
    if any(not lowest <= ti <= highest for ti in inversions):
        return Verdict(
            "left", f"inversion recovery, but not FLAIR: {timing}; FLAIR has TI {lowest:g} to {highest:g} ms"
        )
    if nulled or (inversions and echo_ms is not None):
        return Verdict("flair", timing, reformatted=reformatted)
    if _says_flair(facts):
        return Verdict("flair", f"{timing}; the free text says FLAIR", "free text", reformatted=reformatted)
    return Verdict("left", f"inversion recovery, but neither tags nor free text say FLAIR ({timing})")


def _says_flair(facts: Facts) -> bool:
    text = facts.text
    return bool(_FLAIR_TEXT.search(text)) and not _T1_TEXT.search(text) and not _MAP_TEXT.search(text)


def _listed(*values: float | None) -> str:
    return ", ".join(f"{value:g}" for value in values if value is not None) or "unknown"
