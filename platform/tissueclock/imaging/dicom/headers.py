"""From one DICOM header to the facts that recognition needs and the identity that must not leave it.

Here alone are tags read, standard and private; what they say of a series, `recognition` judges.
"""

import math
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tissueclock.imaging.dicom.phase_encoding import read_csa_positive, said_direction, told_direction
from tissueclock.imaging.dicom.recognition import Facts

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

_IDENTITY = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientBirthDate",
    "PatientAddress", "PatientMotherBirthName", "MedicalRecordLocator", "PatientTelephoneNumbers", "AccessionNumber",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "RequestingPhysician", "StudyID",
)  # fmt: skip

_READ = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesTime", "AcquisitionTime",
    "AcquisitionDateTime", "AcquisitionDate", "SeriesDate", "ContentDate", "ContentTime",
    "Modality", "Manufacturer", "SeriesDescription", "AcquisitionContrast", "ComplexImageComponent",
    "IssuerOfPatientID", "ScanningSequence", "SequenceName", "RepetitionTime", "EchoTime", "InversionTime",
    "ProtocolName", "PulseSequenceName", "FrameOfReferenceUID",
    "EchoPulseSequence", "EchoPlanarPulseSequence", "InversionTimes", "InversionRecovery", "EffectiveEchoTime",
    "DiffusionBValue", "DiffusionDirectionality", "MRDiffusionSequence", "StudyInstanceUID", "SeriesInstanceUID",
    "SeriesNumber", "InstanceNumber", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing",
    "SamplesPerPixel", "InPlanePhaseEncodingDirection", "RectilinearPhaseEncodeReordering",
    "PhotometricInterpretation",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", _SHARED, _PER_FRAME,
)  # fmt: skip

_PRIVATE_B = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C, "siemens"),
    ("GEMS_PARM_01", 0x0043, 0x39, "ge"),
    ("Philips Imaging DD 001", 0x2001, 0x03, "philips"),
    ("Image Private Header", 0x0065, 0x09, "uih"),
)
"""Creator, group, element and a word of the manufacturer. Canon and Toshiba write the standard tag."""

_PRIVATE_DIRECTION = (
    ("SIEMENS MR HEADER", 0x0019, 0x0D, "siemens"),
    ("Philips Imaging DD 001", 0x2001, 0x04, "philips"),
)
_PRIVATE_POLARITY = (
    ("SIEMENS MR SDI 02", 0x0021, 0x1C, "siemens"),
    ("SIEMENS CSA HEADER", 0x0029, 0x10, "siemens"),
)
_PRIVATE = (*_PRIVATE_B, *_PRIVATE_DIRECTION, *_PRIVATE_POLARITY)
_DIRECTIONS = {"I": "ISOTROPIC", "ISOTROPIC": "ISOTROPIC", "DIRECTIONAL": "DIRECTIONAL"}

_GE_OFFSET_S_MM2 = 1e9
"""GE adds it to b-values since software DV24: 1000001000 is 1000."""

_MAX_B_S_MM2 = 1e5

TAGS = [
    *(Tag(keyword) for keyword in (*_READ, *_IDENTITY)),
    *(Tag(group, block) for _, group, _, _ in _PRIVATE for block in range(0x10, 0x18)),
    *(Tag(group, block << 8 | element) for _, group, element, _ in _PRIVATE for block in range(0x10, 0x18)),
]
"""All that is read of a file; private blocks may lie at 10 to 17."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was scanned and when: what must reach the key file only.

    Attributes:
        patient_id: Empty where the header has none.
        issuer: Of the patient ID.
        name: The patient's, as written.
        birth_date: YYYYMMDD, or empty.
        study_uid: Of the study; where that is missing, of the frame of reference or the series.
        study_date: YYYYMMDD, or empty.
        words: Whatever else may name a person, a place or a machine, in lower case, words of three letters or more.
        frame_uid: Of the frame of reference: one where the head lay on the table without moving it; or empty.
    """

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    study_uid: str
    study_date: str
    words: frozenset[str]
    frame_uid: str = ""


def read_identity(header: Dataset) -> Identity:
    """Who a header speaks of."""
    texts = (text for keyword in _IDENTITY for text in _texts(header, keyword))
    # A word of two letters is in every model's name.
    words = frozenset(word for text in texts for word in re.split(r"[\W_]+", text.casefold()) if len(word) > 2)
    uids = (first_text(header, f"{what}UID") for what in ("StudyInstance", "FrameOfReference", "SeriesInstance"))
    return Identity(
        patient_id=first_text(header, "PatientID"),
        issuer=first_text(header, "IssuerOfPatientID"),
        name=first_text(header, "PatientName"),
        birth_date=first_text(header, "PatientBirthDate"),
        study_uid=next((uid for uid in uids if uid), ""),
        study_date=first_text(header, "StudyDate"),
        words=words,
        frame_uid=first_text(header, "FrameOfReferenceUID"),
    )


def read_facts(header: Dataset) -> Facts:
    """What a header says of its pictures, all frames together."""
    parts = [header, *_functional_groups(header)]
    return Facts(
        modality=_set(parts, "Modality"),
        colour=frozenset(
            word for word in _set(parts, "PhotometricInterpretation") if not word.startswith("MONOCHROME")
        ),
        image_types=frozenset(
            tuple(word.upper() for word in words)
            for part in parts
            for keyword in ("ImageType", "FrameType")
            if (words := list(_texts(part, keyword)))
        ),
        contrasts=_set(parts, "AcquisitionContrast"),
        components=_set(parts, "ComplexImageComponent"),
        b_tags=frozenset(_b_tags(header)),
        directionality=_set(parts, "DiffusionDirectionality") | _private_directions(header),
        sequences=_sequences(parts),
        inversion_times_ms=frozenset(
            value for part in parts for keyword in ("InversionTime", "InversionTimes")
            for value in _numbers(part, keyword) if value > 0
        ),
        echo_times_ms=frozenset(
            value for part in parts for keyword in ("EchoTime", "EffectiveEchoTime")
            for value in _numbers(part, keyword)
        ),
        repetition_times_ms=frozenset(value for part in parts for value in _numbers(part, "RepetitionTime")),
        axes=frozenset(axis for part in parts if (axis := _axis(part)) is not None),
        texts=frozenset(
            text
            for keyword in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
            for text in _texts(header, keyword)
        ),
        phase_encodings=_phase_encodings(header, parts),
    )  # fmt: skip


def first_text(header: Dataset, keyword: str) -> str:
    """The first value as text on one line; empty where there is none."""
    return next(iter(_texts(header, keyword)), "")


def first_number(header: Dataset, keyword: str) -> float | None:
    """The first value as a number; None where there is none."""
    return next(iter(_numbers(header, keyword)), None)


def read_slice_mm(header: Dataset) -> float | None:
    """How far along its normal the slice of a classic image lies, in mm; None where the header does not tell."""
    cosines, position = (list(_numbers(header, f"Image{what}Patient")) for what in ("Orientation", "Position"))
    if len(cosines) != 6 or len(position) != 3:
        return None
    return float(np.dot(np.cross(cosines[:3], cosines[3:]), position))


def read_acquired(header: Dataset) -> datetime | None:
    """When an image was acquired, by the best of the tags that tell a day and a time; None where none does."""
    moments = [first_text(part, "FrameAcquisitionDateTime") for part in _functional_groups(header)]
    moments = [min((moment for moment in moments if moment), default=""), first_text(header, "AcquisitionDateTime")]
    for what in ("Acquisition", "Series", "Content"):
        day = first_text(header, f"{what}Date") or first_text(header, "StudyDate")
        moments.append(day + first_text(header, f"{what}Time"))
    # What else a moment holds, fractions and the offset from Greenwich, is of seconds or common to the scanner.
    found = (re.match(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)(\d\d):?(\d\d)(?::?(\d\d))?", text) for text in moments)
    for one in found:
        try:
            if one is not None:
                return datetime(*(int(number or 0) for number in one.groups()))  # type: ignore[arg-type]
        except ValueError:  # hour 25, or a day that no month has
            continue
    return None


def missing_geometry(header: Dataset) -> str:
    """The first of orientation, position and pixel spacing that a header does not tell; empty where it tells all."""
    parts = [header, *_functional_groups(header)]
    for keyword, n, is_sound in (
        ("ImageOrientationPatient", 6, any),
        ("ImagePositionPatient", 3, lambda _: True),  # 0 is a place
        ("PixelSpacing", 2, lambda values: min(values) > 0),
    ):
        told = [values for part in parts if len(values := list(_numbers(part, keyword))) == n]
        if not (told and all(is_sound(values) for values in told)):
            return keyword
    return ""


def _functional_groups(header: Dataset) -> Iterator[Dataset]:
    """The items of all functional groups of an enhanced image, shared and of each frame."""
    for keyword in (_SHARED, _PER_FRAME):
        yield from _items(header.get(keyword) or ())


def _items(groups: Iterable[Dataset]) -> Iterator[Dataset]:
    for group in groups:
        for element in group:
            if element.VR == "SQ":
                yield from element.value


def _set(parts: Iterable[Dataset], keyword: str) -> frozenset[str]:
    return frozenset(text.upper() for part in parts for text in _texts(part, keyword))


def _texts(part: Dataset, keyword: str) -> Iterator[str]:
    value = part.get(keyword)
    for one in value if _is_many(value) else (value,):
        # Line breaks, tabs and zeros would break tables and messages.
        if one is not None and (text := " ".join(re.split(r"[\s\x00-\x1f]+", str(one))).strip()):
            yield text


def _numbers(part: Dataset, keyword: str) -> Iterator[float]:
    value = part.get(keyword)
    for one in value if _is_many(value) else (value,):
        if (number := _number(one)) is not None:
            yield number


def _is_many(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes) and not hasattr(value, "components")


def _number(value: Any) -> float | None:
    """A number from whatever a private tag holds; implicit VR leaves bytes."""
    try:
        if isinstance(value, bytes):
            unpacked = {4: "<f", 8: "<d"}.get(len(value))
            text = value.strip(b" \0").decode("ascii", "replace")
            is_text = re.fullmatch(r"[-+0-9.eE]+(\\.*)?", text) is not None
            value = text.split("\\")[0] if is_text or unpacked is None else struct.unpack(unpacked, value)[0]
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _b_tags(header: Dataset) -> Iterator[tuple[float | None, float | None]]:
    """Standard and private b-value of each image: of the file, or of each of its frames."""
    private = _b_value(_private_b(header))
    frames = header.get(_PER_FRAME) or (Dataset(),)
    shared = _b_value(value for part in (header, *_items(header.get(_SHARED) or ())) for value in _standard_b(part))
    own = [_b_value(value for part in _items((frame,)) for value in _standard_b(part)) for frame in frames]
    for found in own:
        standard = shared if found is None else found
        # A private tag of an enhanced file speaks of no frame; it counts where none has a standard one.
        yield standard, private if len(own) == 1 or standard is None else None


def _standard_b(part: Dataset) -> Iterator[float]:
    return _numbers(part, "DiffusionBValue")


def _b_value(values: Iterable[float]) -> float | None:
    return next((value for value in values if 0 <= value <= _MAX_B_S_MM2), None)


def _private_b(header: Dataset) -> Iterator[float]:
    for value in _private(header, _PRIVATE_B):
        if (number := _number(value)) is not None:
            yield number % _GE_OFFSET_S_MM2 if number >= _GE_OFFSET_S_MM2 else number


def _private_directions(header: Dataset) -> frozenset[str]:
    found = (
        value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        for value in _private(header, _PRIVATE_DIRECTION)
    )
    return frozenset(_DIRECTIONS[word] for one in found if (word := one.strip(" \0").upper()) in _DIRECTIONS)


def _phase_encodings(header: Dataset, parts: list[Dataset]) -> frozenset[str]:
    """By tags, or else by the series' description; protocols keep the name of what they were copied from."""
    keywords = ("InPlanePhaseEncodingDirection", "RectilinearPhaseEncodeReordering")
    axis, reordering = (next((text for part in parts for text in _texts(part, keyword)), "") for keyword in keywords)
    cosines = next((found for part in parts if len(found := list(_numbers(part, "ImageOrientationPatient"))) == 6), [])
    polarities = {_polarity(value) for part in parts for value in _private(part, _PRIVATE_POLARITY)} - {None}
    is_ge = "ge medical" in first_text(header, "Manufacturer").casefold()  # others write LINEAR whatever the polarity
    told = {
        told_direction(axis, positive=positive, reordering=reordering if is_ge else "", cosines=cosines)
        for positive in polarities or {None}
    } - {""}
    return frozenset(told or {said_direction(first_text(header, "SeriesDescription"))} - {""})


def _polarity(value: Any) -> bool | None:
    if isinstance(value, bytes) and len(value) > 16:
        return read_csa_positive(value)
    return {0.0: False, 1.0: True}.get(number) if (number := _number(value)) is not None else None


def _private(header: Dataset, wanted: Iterable[tuple[str, int, int, str]]) -> Iterator[Any]:
    """First values of private elements, by their creator; where that was stripped, at 10 of the right manufacturer."""
    maker = first_text(header, "Manufacturer").casefold()
    for creator, group, element, word in wanted:
        blocks = [block for block in range(0x10, 0x18) if str(_raw(header, group, block)).strip() == creator]
        if not blocks and _raw(header, group, 0x10) is None and word in maker:
            blocks = [0x10]
        for block in blocks:
            value = _raw(header, group, block << 8 | element)
            if value is not None:
                yield (value[0] if len(value) else None) if _is_many(value) else value


def _raw(header: Dataset, group: int, element: int) -> Any:
    found = header.get(Tag(group, element))
    return None if found is None else found.value


def _sequences(parts: list[Dataset]) -> frozenset[str]:
    named = set(_set(parts, "ScanningSequence"))
    if "YES" in _set(parts, "InversionRecovery"):
        named.add("IR")
    if "YES" in _set(parts, "EchoPlanarPulseSequence"):
        named.add("EP")
    if "GRADIENT" in _set(parts, "EchoPulseSequence"):
        named.add("GR")
    return frozenset(named)


def _axis(part: Dataset) -> int | None:
    """The patient's axis across which a slice lies."""
    cosines = list(_numbers(part, "ImageOrientationPatient"))
    if len(cosines) != 6:
        return None
    return int(np.argmax(np.abs(np.cross(cosines[:3], cosines[3:]))))
