"""What was answered for a patient, as DICOM beside the images that it was read from: a structured report and a picture.

Both are preliminary, unverified, and say that they are for research only. highdicom writes them (Bridge et al. 2022,
doi 10.1007/s10278-022-00683-y), by template 1500 of the standard (PS3.16, Measurement Report).
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tissueclock.errors import InputError
from tissueclock.imaging.dicom.keyfile import log_path
from tissueclock.imaging.dicom.objects import opened
from tissueclock.imaging.dicom.survey import survey
from tissueclock.storage.files import atomic_path
from tissueclock.storage.tsv import MISSING, read_rows

REPORT, PICTURE = "report.dcm", "picture.dcm"

_SCHEME = "99TISSUECLOCK"
_SERIES_NUMBERS = {REPORT: 9471, PICTURE: 9472}
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_TOLD = {
    "yes": ("373066001", "SCT", "Yes"),
    "no": ("373067005", "SCT", "No"),
    "cannot tell": ("373068000", "SCT", "Undetermined"),
}
_LATERALITY = {"left": ("7771000", "SCT", "Left"), "right": ("24028007", "SCT", "Right")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is told of one cut.

    Attributes:
        onset_before_min: The cut.
        probability: That the onset was less than the cut before the scan.
        told: What can be ruled out at the error rate.
    """

    onset_before_min: float
    probability: float
    told: Literal["yes", "no", "cannot tell"]


def need_highdicom() -> None:
    """Raises InputError where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise InputError('DICOM out needs highdicom: pip install "tissueclock[dicom]"') from None


def taken_files(source: Path, key_file: Path) -> dict[str, tuple[Path, ...]]:
    """By subject, the DICOM files of the series that `ingest` took, as its log beside the key file tells.

    Raises:
        ImageError: There is no DICOM in the folder.
        CohortError: The log is missing or damaged.
    """
    rows = [row.cells for row in read_rows(log_path(key_file), required=("participant_id", "taken_as", "series_uid"))]
    subject_of = {cells["series_uid"]: cells["participant_id"] for cells in rows if cells["taken_as"] != MISSING}
    found: dict[str, tuple[Path, ...]] = {}
    for series in (one for own in survey(source).patients.values() for one in own):
        if (subject := subject_of.get(series.files[0].series_uid)) is not None:
            found[subject] = (*found.get(subject, ()), *(file.path for file in series.files))
    return found


def write_answer(
    folder: Path,
    sources: Sequence[Path],
    *,
    hemisphere: Literal["left", "right"],
    findings: Sequence[Finding],
    remarks: Sequence[str],
    model: str,
    error_rate: float,
    picture: bytes | None,
) -> None:
    """Writes `report.dcm` and, where there is a picture, `picture.dcm`, into the study of the images.

    The same answer has the same instance UIDs, so that it is stored once.

    Args:
        folder: Where; made if missing.
        sources: The DICOM files that were read; the first names patient and study.
        hemisphere: That was read.
        findings: What is told, by cut.
        remarks: What a reader should know of it.
        model: What answered.
        error_rate: At which something is told.
        picture: A PNG.

    Raises:
        InputError: highdicom is not installed, or refuses what the images' headers say.
        StorageError: The folder cannot be written.
    """
    need_highdicom()
    facts = (version("tissueclock"), model, hemisphere, str(findings), str(error_rate), str(remarks))
    try:
        read = [_read_header(path) for path in sources]
        first = read[0]
        evidence = [each for each in read if each.StudyInstanceUID == first.StudyInstanceUID]
        made = {REPORT: _report(evidence, hemisphere, findings, remarks, model, error_rate, facts)}
        if picture is not None:
            made[PICTURE] = _picture(first, picture, facts)
    except (AttributeError, ValueError, TypeError, KeyError, LookupError) as error:
        raise InputError(f"{sources[0]}: no DICOM can be written beside it ({' '.join(str(error).split())})") from error
    folder.mkdir(parents=True, exist_ok=True)
    for name, dataset in made.items():
        with atomic_path(folder / name) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)


def _read_header(path: Path) -> Dataset:
    """A header with everything that must stand in it, if only empty (type 2); de-identified ones often lack some."""
    with opened(path) as stream:
        header = dcmread(stream, stop_before_pixels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on values that are not the standard's, as they come
        header.decode()
    header.SpecificCharacterSet = "ISO_IR 192"  # what is written beside it is
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def _report(
    evidence: Sequence[Dataset],
    hemisphere: Literal["left", "right"],
    findings: Sequence[Finding],
    remarks: Sequence[str],
    model: str,
    error_rate: float,
    facts: Sequence[str],
) -> Dataset:
    from highdicom import sr
    from highdicom.sr import CodedConcept as Code
    from pydicom.sr.codedict import codes

    measured, told = [], []
    for finding in findings:
        hours = f"{finding.onset_before_min / 60:g} h"
        key = f"{finding.onset_before_min:g}min"
        measured.append(
            sr.Measurement(
                name=Code(f"p{key}", _SCHEME, f"Probability that onset was less than {hours} before the scan"),
                value=round(finding.probability, 4),
                unit=Code("1", "UCUM", "no units"),
            )
        )
        name = Code(f"t{key}", _SCHEME, f"Onset less than {hours} before the scan, at error rate {error_rate:g}")
        told.append(sr.QualitativeEvaluation(name=name, value=Code(*_TOLD[finding.told])))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(_uid(evidence[0], "lesion", facts), "acute lesion"),
        algorithm_id=sr.AlgorithmIdentification(
            name="tissueclock", version=version("tissueclock"), parameters=[model, *remarks, "research only"]
        ),
        finding_sites=[
            sr.FindingSite(anatomic_location=codes.SCT.Brain, laterality=Code(*_LATERALITY[hemisphere])),
        ],
        measurements=measured,
        qualitative_evaluations=told,
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(model)),
        procedure_reported=Code("24590-2", "LN", "MR Brain"),
        imaging_measurements=[group],
    )
    made: Dataset = sr.ComprehensiveSR(
        evidence=evidence,
        content=report[0],
        series_instance_uid=_uid(evidence[0], "report series", facts),
        series_number=_SERIES_NUMBERS[REPORT],
        sop_instance_uid=_uid(evidence[0], "report", facts),
        instance_number=1,
        manufacturer="tissueclock",
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="tissueclock, research only",
    )
    return made


def _observer(model: str) -> Any:
    """Who observed: this program, with a model."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=["tissueclock", version("tissueclock")]),
            name="tissueclock (research only)",
            manufacturer_name="tissueclock",
            model_name=model[:64],
        ),
    )


def _picture(reference: Dataset, picture: bytes, facts: Sequence[str]) -> Dataset:
    from highdicom.sc import SCImage
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    made: Dataset = SCImage.from_ref_dataset(
        ref_dataset=reference,
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid=_uid(reference, "picture series", facts),
        series_number=_SERIES_NUMBERS[PICTURE],
        sop_instance_uid=_uid(reference, "picture", facts),
        instance_number=1,
        manufacturer="tissueclock",
        series_description="tissueclock, research only",
    )
    made.Laterality = ""  # of a paired body part; the picture says which half
    return made


def _uid(reference: Dataset, what: str, facts: Sequence[str]) -> Any:
    return generate_uid(entropy_srcs=[str(reference.StudyInstanceUID), what, *facts])
