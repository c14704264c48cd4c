"""In which direction an echo-planar image is stretched: the direction of phase encoding, as far as DICOM tells it.

Two series of opposite directions are distorted against each other; one of them is there to correct the other.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np

_TOWARDS = ("RL", "AP", "FH")
"""From where to where the patient's axes run in DICOM: to the left, to the back, to the head."""

REVERSED = "reversed"

_DIRECTION_TEXT = re.compile(r"(?<![a-z])([aplrfh])[ _]?(?:>>?|->|)[ _]?([aplrfh])(?![a-z])", re.IGNORECASE)
_BLIP_TEXT = re.compile(r"blip[ _-]?(up|down)", re.IGNORECASE)
_REVERSED_TEXT = re.compile(r"(?<![a-z])(rev|reversed?|revpe|rpe|revpol)(?![a-z])", re.IGNORECASE)
_OPPOSITES = {"AP": "PA", "RL": "LR", "FH": "HF", "blip up": "blip down"} | {
    f"{axis} linear": f"{axis} reverse linear" for axis in ("row", "col")
}
_OPPOSITE = _OPPOSITES | {other: one for one, other in _OPPOSITES.items()}


def told_direction(axis: str, *, positive: bool | None, reordering: str, cosines: Sequence[float]) -> str:
    """The direction that tags tell.

    Args:
        axis: InPlanePhaseEncodingDirection: ROW, COL or COLUMN; or empty.
        positive: Siemens' PhaseEncodingDirectionPositive; None where it is not told.
        reordering: GE's RectilinearPhaseEncodeReordering; or empty.
        cosines: The six of ImageOrientationPatient; or none.

    Returns:
        Such as `AP`, or `col reverse linear` for GE, which does not say what of the two that is; empty where tags tell
        an axis at most.

    >>> told_direction("COL", positive=True, reordering="", cosines=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    'AP'
    """
    is_row = axis.upper() == "ROW"
    if axis.upper() not in ("ROW", "COL", "COLUMN"):
        return ""
    if positive is not None and len(cosines) == 6:
        along = np.asarray(cosines[:3] if is_row else cosines[3:], dtype=np.float64)
        i_axis = int(np.argmax(np.abs(along)))
        name = _TOWARDS[i_axis]
        return name if (along[i_axis] > 0) == positive else name[::-1]
    words = reordering.lower().replace("_", " ")
    return f"{'row' if is_row else 'col'} {words}" if words in ("linear", "reverse linear") else ""


def said_direction(text: str) -> str:
    """The direction that a series description names; empty where it names none, or two.

    >>> [said_direction(text) for text in ("ep2d_diff_PA", "DWI A>>P", "DWI blip-down", "dwi rev", "DWI AP/PA", "ADC")]
    ['PA', 'AP', 'blip down', 'reversed', '', '']
    """
    found = {(one + other).upper() for one, other in _DIRECTION_TEXT.findall(text)} & _OPPOSITE.keys()
    found |= {f"blip {way.lower()}" for way in _BLIP_TEXT.findall(text)}
    if found:
        return found.pop() if len(found) == 1 else ""
    return REVERSED if _REVERSED_TEXT.search(text) else ""


def are_opposite(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two series' directions are opposite; `reversed` is opposite to one of which nothing is said."""
    if not (one and other):
        return REVERSED in one or REVERSED in other
    return any(_OPPOSITE.get(direction) in other for direction in one)


def read_csa_positive(csa: bytes) -> bool | None:
    """PhaseEncodingDirectionPositive of a Siemens CSA image header, whose elements have a head of 84 bytes."""
    name = b"PhaseEncodingDirectionPositive\0"
    start = csa.find(name)
    value = csa[start + 84 + 16 : start + 84 + 16 + 1] if start >= 0 else b""
    return {b"0": False, b"1": True}.get(value)
