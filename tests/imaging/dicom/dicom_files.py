"""Synthetic DICOM as each vendor writes it, with a patient's name in every place where one can stand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

SHAPE = (24, 20, 8)
"""Rows, columns, slices."""

SECRETS = {
    "PatientName": "Zykerman^Ottilie",
    "PatientID": "KLINIK-777123",
    "PatientBirthDate": "19430217",
    "InstitutionName": "Hospital Weitblick",
    "InstitutionAddress": "Quellgasse 9",
    "ReferringPhysicianName": "Brambach^Xaver",
    "OperatorsName": "Quastenberg",
    "AccessionNumber": "ACC5512987",
    "StationName": "WBMR03",
    "DeviceSerialNumber": "SN448812",
    "PatientComments": "Zykerman asks for a copy",
    "StudyDescription": "Zykerman Ottilie brain",
    "ImageComments": "KLINIK-777123",
}


def pixels(seed: int, *, low: int = 100, high: int = 1000) -> np.ndarray:
    """Slices, rows, columns: a blob of a head with noise, so that each volume is told from the others."""
    rows, columns, slices = SHAPE
    generator = np.random.default_rng(seed)
    return generator.integers(low, high, size=(slices, rows, columns)).astype(np.uint16)


def header(**tags: Any) -> Dataset:
    """What all objects share; `tags` replace or add."""
    made = Dataset()
    made.SOPClassUID = MRImageStorage
    made.Modality = "MR"
    made.StudyInstanceUID = "1.2.826.0.1.1"
    made.StudyDate, made.StudyTime = "20240131", "101500"
    made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20240131"
    made.SeriesTime = made.AcquisitionTime = made.ContentTime = "102000"
    made.FrameOfReferenceUID = "1.2.826.0.1.9"
    made.PatientPosition = "HFS"
    made.MagneticFieldStrength = 3.0
    made.MRAcquisitionType = "2D"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = SHAPE[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.PixelSpacing, made.SliceThickness, made.SpacingBetweenSlices = [2.0, 2.0], 5.0, 5.0
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for keyword, value in (SECRETS | tags).items():
        setattr(made, keyword, value)
    return made


def save(path: Path, dataset: Dataset) -> Path:
    """Writes one object as explicit little endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    number: int,
    volumes: Sequence[tuple[np.ndarray, Sequence[tuple]]],
    *,
    uid: str = "",
    along: Sequence[float] = (0.0, 0.0, 1.0),
    **tags: Any,
) -> list[Path]:
    """Writes a classic series, one file a slice.

    Args:
        folder: Where.
        number: Series number.
        volumes: Pixels and the elements `(group, element, VR, value)` that are of this volume only.
        uid: Of the series; made of the number if empty.
        along: Where slices follow each other.
        tags: What all its files share.
    """
    paths = []
    uid = uid or f"{tags.get('StudyInstanceUID', '1.2.826.0.1.1')}.{number}"
    for i_volume, (volume, elements) in enumerate(volumes):
        for i_slice, image in enumerate(volume):
            made = header(**tags)
            made.SeriesInstanceUID, made.SeriesNumber = uid, number
            made.InstanceNumber = i_volume * len(volume) + i_slice + 1
            made.AcquisitionNumber = i_volume + 1
            made.SOPInstanceUID = f"{uid}.{made.InstanceNumber}"
            made.ImagePositionPatient = [
                start + 5.0 * i_slice * step for start, step in zip((-20.0, -24.0, 0.0), along, strict=True)
            ]
            made.SliceLocation = 5.0 * i_slice
            for group, element, vr, value in elements:
                made.add_new((group, element), vr, value)
            made.PixelData = image.astype("<u2").tobytes()
            paths.append(save(folder / f"{number:03d} Zykérman" / f"IM{made.InstanceNumber:04d}", made))
    return paths


def siemens_b(b: int, direction: str = "NONE") -> list[tuple]:
    return [
        (0x0019, 0x0010, "LO", "SIEMENS MR HEADER"),
        (0x0019, 0x100C, "IS", str(b)),
        (0x0019, 0x100D, "CS", direction),
    ]


def ge_b(b: int) -> list[tuple]:
    value = [str(b + 1_000_000_000) if b else "0", "8", "0", "0"]
    return [(0x0043, 0x0010, "LO", "GEMS_PARM_01"), (0x0043, 0x1039, "IS", value)]


def philips_b(b: float, direction: str = "N") -> list[tuple]:
    return [
        (0x2001, 0x0010, "LO", "Philips Imaging DD 001"),
        (0x2001, 0x1003, "FL", float(b)),
        (0x2001, 0x1004, "CS", direction),
    ]


def standard_b(b: float) -> list[tuple]:
    return [(0x0018, 0x9087, "FD", float(b))]


SIEMENS = {
    "Manufacturer": "SIEMENS",
    "ManufacturerModelName": "Skyra",
    "ScanningSequence": "EP",
    "SequenceVariant": "SK",
    "EchoTime": 89.0,
    "RepetitionTime": 6000.0,
    "SeriesDescription": "Zykerman ep2d",
    "ProtocolName": "Ottilie ep2d",
}
GE = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "Signa",
    "ScanningSequence": ["EP", "SE"],
    "SequenceVariant": "NONE",
    "EchoTime": 80.0,
    "RepetitionTime": 8000.0,
    "SeriesDescription": "Zykerman",
}
PHILIPS = GE | {"Manufacturer": "Philips Medical Systems", "ManufacturerModelName": "Ingenia", "ScanningSequence": "SE"}
CANON = GE | {"Manufacturer": "CANON_MEC", "ManufacturerModelName": "Vantage"}


def siemens_trace(
    folder: Path, number: int = 3, *, b: Sequence[int] = (0, 1000), seed: int = 0, **tags: Any
) -> list[Path]:
    types = ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND", "NORM"]
    volumes = [(pixels(seed + i), siemens_b(value)) for i, value in enumerate(b)]
    return write_series(
        folder, number, volumes, **(SIEMENS | {"ImageType": types, "SequenceName": "*ep_b1000t"} | tags)
    )


def siemens_directions(folder: Path, number: int = 2, *, n: int = 3, b: int = 1000, **tags: Any) -> list[Path]:
    types = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND", "NORM"]
    axes = np.eye(3)
    volumes = [(pixels(10), siemens_b(0))] + [
        (pixels(11 + i), [*siemens_b(b, "DIRECTIONAL"), (0x0019, 0x100E, "FD", axes[i % 3].tolist())]) for i in range(n)
    ]
    return write_series(folder, number, volumes, **(SIEMENS | {"ImageType": types} | tags))


def siemens_adc(folder: Path, number: int = 4, **tags: Any) -> list[Path]:
    types = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND", "NORM"]
    return write_series(folder, number, [(pixels(20), [])], **(SIEMENS | {"ImageType": types} | tags))


def flair(folder: Path, number: int = 8, *, seed: int = 30, **tags: Any) -> list[Path]:
    own = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "ScanningSequence": ["SE", "IR"], "EchoTime": 93.0,
           "RepetitionTime": 9000.0, "InversionTime": 2500.0, "SeriesDescription": "Zykerman t2"}  # fmt: skip
    return write_series(folder, number, [(pixels(seed), [])], **(SIEMENS | own | tags))


def ge_dwi(folder: Path, number: int = 5, **tags: Any) -> list[Path]:
    """b0 and the combined (trace) image in one series."""
    volumes = [
        (pixels(40), [*ge_b(0), (0x0008, 0x0008, "CS", ["ORIGINAL", "PRIMARY", "OTHER"])]),
        (pixels(41), [*ge_b(1000), (0x0008, 0x0008, "CS", ["DERIVED", "SECONDARY", "COMBINED"])]),
    ]
    return write_series(folder, number, volumes, **(GE | tags))


def philips_dwi(folder: Path, number: int = 601, *, private_only: bool = False, **tags: Any) -> list[Path]:
    """b0 and three directions in one series."""
    axes = [[0.0, 0.0, 0.0], *np.eye(3).tolist()]
    volumes = []
    for i, b in enumerate((0, 1000, 1000, 1000)):
        own = philips_b(b, "PRSI"[i] if i else "N")
        if not private_only:
            own += [*standard_b(b), (0x0018, 0x9089, "FD", axes[i])]
        volumes.append((pixels(50 + i), own))
    types = ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]
    return write_series(folder, number, volumes, **(PHILIPS | {"ImageType": types} | tags))


def canon_dwi(folder: Path, number: int = 4000, **tags: Any) -> list[Path]:
    volumes = [(pixels(60), standard_b(0)), (pixels(61), standard_b(1000))]
    return write_series(folder, number, volumes, **(CANON | {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]} | tags))


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def enhanced_dwi(folder: Path, number: int = 12, *, b: Sequence[float] = (0.0, 1000.0), **tags: Any) -> Path:
    """One enhanced multi-frame object of b0 and trace."""
    made = header(
        **({"Manufacturer": "CANON_MEC", "ManufacturerModelName": "Galan 3T", "SeriesDescription": "Zykerman"} | tags)
    )
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImageOrientationPatient"):
        delattr(made, keyword)
    made.SOPClassUID, made.ImageType = EnhancedMRImageStorage, ["DERIVED", "PRIMARY", "DIFFUSION", "NONE"]
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = f"1.2.826.0.1.1.{number}", number, 1
    made.SOPInstanceUID = f"{made.SeriesInstanceUID}.1"
    made.AcquisitionContrast = "DIFFUSION"
    volumes = [pixels(70 + i) for i in range(len(b))]
    made.NumberOfFrames = len(b) * SHAPE[2]
    made.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[_item(PixelSpacing=[2.0, 2.0], SliceThickness=5.0, SpacingBetweenSlices=5.0)],
            MRTimingAndRelatedParametersSequence=[_item(RepetitionTime=6000.0, FlipAngle=90.0)],
            MREchoSequence=[_item(EffectiveEchoTime=89.0)],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        _item(
            MRDiffusionSequence=[
                _item(DiffusionBValue=value, DiffusionDirectionality="ISOTROPIC" if value else "NONE")
            ],
            FrameContentSequence=[
                _item(StackID="1", InStackPositionNumber=i + 1, TemporalPositionIndex=i_volume + 1,
                      DimensionIndexValues=[i_volume + 1, 1, i + 1])
            ],
            PlanePositionSequence=[_item(ImagePositionPatient=[-20.0, -24.0, 5.0 * i])],
            MRImageFrameTypeSequence=[_item(FrameType=["DERIVED", "PRIMARY", "DIFFUSION", "NONE"])],
        )
        for i_volume, value in enumerate(b)
        for i in range(SHAPE[2])
    ]  # fmt: skip
    made.DimensionIndexSequence = [
        _item(DimensionIndexPointer=0x00189087, FunctionalGroupPointer=0x00189117),
        _item(DimensionIndexPointer=0x00209056, FunctionalGroupPointer=0x00209111),
        _item(DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111),
    ]
    made.PixelData = np.stack(volumes).astype("<u2").tobytes()
    _without_lengths(made)
    return save(folder / "enhanced", made)


def _without_lengths(dataset: Dataset) -> None:
    """Delimits sequences as scanners do; dcm2niix loses the depth of those that give their length."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _without_lengths(item)
