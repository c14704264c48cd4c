"""What may be told of a scan beside its picture: physics, each field checked against the values that it can have.

An allow-list, since a converter's next version may write a field that names the patient.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_MAKERS = ("Siemens", "GE", "Philips", "Canon", "Toshiba", "UIH", "Hitachi", "Fujifilm", "Bruker", "Mediso", "Neusoft")

_SEQUENCES = {"SE", "IR", "GR", "EP", "RM"}
_VARIANTS = {"SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"}
_IMAGE_WORDS = {
    "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "OTHER", "M", "M_SE", "M_IR", "M_FFE",
    "SE", "IR", "FFE", "MAGNITUDE", "DIFFUSION", "NONE", "TRACEW", "TRACE", "ISOTROPIC",
    "COMBINED", "ADC", "ND", "NORM", "MOSAIC", "DIS2D", "DIS3D", "FM", "FIL",
    "MFSPLIT", "GDC", "MIXED", "VOLUME", "UNSPECIFIED", "MPR", "REFORMATTED", "FLAIR", "FLUID_ATTENUATED",
}  # fmt: skip

_MODEL = re.compile(r"[A-Za-z0-9 ._+-]{1,40}")
_VERSION = re.compile(r"v?[0-9][0-9A-Za-z.]{0,30}")

_NUMBERS = (
    "MagneticFieldStrength", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "SliceThickness",
    "SpacingBetweenSlices", "EffectiveEchoSpacing", "TotalReadoutTime", "PixelBandwidth",
)  # fmt: skip


def clean_sidecar(facts: Mapping[str, Any], *, unspoken: Collection[str]) -> dict[str, Any]:
    """The part of a converter's sidecar that is physics.

    Args:
        facts: As dcm2niix wrote it, times in seconds.
        unspoken: Words that may not appear, in lower case: the patient's, the hospital's.

    Returns:
        BIDS fields; one that holds anything unexpected is missing.
    """
    checks: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(_NUMBERS, _number),
        "Manufacturer": _maker,
        "ManufacturersModelName": lambda value: _model(value, unspoken),
        "MRAcquisitionType": lambda value: value if value in ("1D", "2D", "3D") else None,
        "PhaseEncodingDirection": _direction,
        "PhaseEncodingAxis": _direction,
        "ScanningSequence": lambda value: _words(value, _SEQUENCES),
        "SequenceVariant": lambda value: _words(value, _VARIANTS),
        "ImageType": lambda value: (
            [word for word in value if word in _IMAGE_WORDS] if isinstance(value, list) else None
        ),
        "ConversionSoftware": lambda value: value if value == "dcm2niix" else None,
        "ConversionSoftwareVersion": lambda value: value if _VERSION.fullmatch(str(value)) else None,
    }
    found = {name: check(facts[name]) for name, check in checks.items() if name in facts}
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _number(value: Any) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _maker(value: Any) -> str | None:
    return next((name for name in _MAKERS if re.match(name, str(value), re.IGNORECASE)), None)


def _model(value: Any, unspoken: Collection[str]) -> str | None:
    if not isinstance(value, str) or not _MODEL.fullmatch(value):
        return None
    return None if any(word in value.casefold() for word in unspoken) else value


def _direction(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[ijk]-?", value) else None


def _words(value: Any, known: Collection[str]) -> str | None:
    words = re.split(r"[\\_]", value) if isinstance(value, str) else []
    return value if words and all(word in known for word in words) else None
