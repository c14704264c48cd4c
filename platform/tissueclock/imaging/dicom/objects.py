"""One DICOM file, plain or gzipped, classic or enhanced multi-frame, and the series that files make up."""

import gzip
import io
import logging
import warnings
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from tissueclock.imaging.dicom.headers import (
    TAGS,
    Identity,
    first_number,
    first_text,
    missing_geometry,
    read_acquired,
    read_facts,
    read_identity,
    read_slice_mm,
)
from tissueclock.imaging.dicom.recognition import Facts

_GZIP = b"\x1f\x8b"
_PREAMBLE_BYTES = 132
_DELIMITER = b"\xfe\xff\xdd\xe0"
_NOT_DICOM = "not DICOM"

_FETCH = "fetch it (git-annex: git annex get) or remove it"
_POINTERS = {
    b"/annex/objects/": f"a pointer of git-annex to a file that is not there; {_FETCH}",
    b"version https://git-lfs": "a pointer of Git LFS to a file that is not there; fetch (git lfs pull) or remove it",
}
"""What stands in place of a file that was not fetched, by its first bytes."""

_NO_IMAGES = {
    ".bval",
    ".bvec",
    ".csv",
    ".doc",
    ".docx",
    ".html",
    ".jpg",
    ".json",
    ".log",
    ".md",
    ".nii",
    ".pdf",
    ".png",
    ".py",
    ".rst",
    ".tsv",
    ".txt",
    ".xls",
    ".xlsx",
    ".xml",
    ".yaml",
    ".yml",
}
"""Endings of names that no DICOM file has: the one thing that is known of a file that is not there."""


@dataclass(frozen=True, slots=True)
class File:
    """One DICOM file that holds images.

    Attributes:
        path: Where it lies, gzipped or not.
        instance_uid: SOPInstanceUID: names the file's images; empty where there is none.
        series_uid: SeriesInstanceUID; empty where there is none.
        number: The series' number, or None.
        time: Of the acquisition, or else of the series, HHMMSS.
        identity: Whose it is.
        facts: What it shows.
        acquired: When, if both day and time are told; private.
        n_frames: Images in it.
        slice_mm: Where its slice lies along the normal, if it is one slice.
        without: What of its place and size the header does not tell, by keyword; empty if nothing is missing.
        damage: Why it cannot be used; empty if it can.
        absent: Whether that is because it was not fetched: a link or a pointer stands in its place.
        legible: Whether the header is whole; what is not, may be missing from all of the above but the path.
    """

    path: Path
    instance_uid: str
    series_uid: str
    number: int | None
    time: str
    identity: Identity
    facts: Facts
    acquired: datetime | None = None
    n_frames: int = 1
    slice_mm: float | None = None
    without: str = ""
    damage: str = ""
    absent: bool = False
    legible: bool = True


@dataclass(frozen=True, slots=True)
class DicomSeries:
    """The files of one series of one patient, in the order of their paths.

    Attributes:
        files: At least one, each instance once.
        facts: What they show together.
    """

    files: tuple[File, ...]
    facts: Facts

    @property
    def order(self) -> tuple[str, int, str, str]:
        """To sort by: study date, number, time; the UID makes it whole."""
        first = self.files[0]
        number = first.number if first.number is not None else 1 << 31
        return first.identity.study_date, number, min(file.time for file in self.files), first.series_uid

    @property
    def name(self) -> str:
        """How a message names it, without any text of the header."""
        number = self.files[0].number
        return f"series {number}" if number is not None else "series without a number"

    @property
    def acquired(self) -> datetime | None:
        """When its first image was acquired; None where no header tells."""
        return min((file.acquired for file in self.files if file.acquired is not None), default=None)

    @property
    def n_frames(self) -> int:
        """Images in all its files."""
        return sum(file.n_frames for file in self.files)

    @property
    def damage(self) -> str:
        """Why its first damaged file cannot be used; empty if all can."""
        return next((f"{file.path}: {file.damage}" for file in self.files if file.damage), "")

    @property
    def legible(self) -> bool:
        """Whether the header of any file is whole: else what the series is, is not known."""
        return any(file.legible for file in self.files)


class LeftError(Exception):
    """A file that is not ours; its text is the reason."""


class _DamagedError(Exception):
    """A file that is ours and cannot be read; its text is the damage."""


def read_file(path: Path) -> File:
    """Reads the header of one DICOM image; of a damaged one, what is left of it.

    Raises:
        LeftError: It is no DICOM image, or this user may not read it.
    """
    if reason := _absent(path):
        return _describe(path, Dataset(), damage=reason, absent=True, legible=False)
    try:
        with opened(path) as stream:
            header = _read_header(stream)
            if _ends_early(header):
                return _remains(path, header)
            return _describe(path, header, damage=_damage(header, stream))
    except LeftError:
        raise
    except PermissionError:
        raise LeftError("not readable (permission denied)") from None
    except _DamagedError as error:
        return _describe(path, Dataset(), damage=str(error), legible=False)
    except Exception as error:  # pydicom raises whatever its parsers meet in damaged bytes
        what = (str(error).splitlines() or [""])[0] or type(error).__name__
        return _describe(path, Dataset(), damage=f"damaged DICOM ({what})", legible=False)


def _absent(path: Path) -> str:
    """Why a file's content is not there; empty if it is. Raises LeftError where its name says that it is no image."""
    try:
        if path.is_symlink() and not path.exists():
            reason = f"a link to a file that is not there; {_FETCH}"
        else:
            with path.open("rb") as stream:
                head = stream.read(_PREAMBLE_BYTES)
            reason = next((why for mark, why in _POINTERS.items() if head.startswith(mark)), "")
    except OSError:
        return ""  # whoever reads it says what is wrong
    if reason and {suffix.lower() for suffix in path.suffixes} & _NO_IMAGES:
        raise LeftError("no DICOM by its name, and not there")
    return reason


def _describe(path: Path, header: Dataset, *, damage: str, absent: bool = False, legible: bool = True) -> File:
    return File(
        path=path,
        instance_uid=first_text(header, "SOPInstanceUID"),
        series_uid=first_text(header, "SeriesInstanceUID"),
        number=None if (number := first_number(header, "SeriesNumber")) is None else int(number),
        time=first_text(header, "AcquisitionTime") or first_text(header, "SeriesTime"),
        identity=read_identity(header),
        facts=read_facts(header),
        acquired=read_acquired(header),
        n_frames=int(first_number(header, "NumberOfFrames") or 1),
        slice_mm=read_slice_mm(header),
        without=missing_geometry(header),
        damage=damage,
        absent=absent,
        legible=legible,
    )


def _remains(path: Path, header: Dataset) -> File:
    """What a header says up to its end; its last element may have been cut in the middle, and is not believed."""
    if len(header):
        del header[max(header.keys())]
    damage = "truncated DICOM (the header ends before the size of the image)"
    return _describe(path, header, damage=damage, legible=False)


def same_picture(one: File, other: File) -> bool:
    """Whether two files of one SOPInstanceUID hold one image: scanners and anonymisers give one number twice."""
    if one.damage or other.damage:
        return True
    if (one.slice_mm, one.facts, one.n_frames) != (other.slice_mm, other.facts, other.n_frames):
        return False
    with opened(one.path) as first, opened(other.path) as second:
        if first.read() == second.read():
            return True
        try:
            return _pixels(first) == _pixels(second)
        except Exception:  # pydicom raises whatever its parsers meet: what cannot be compared is not thrown away
            return False


def _pixels(stream: io.BufferedIOBase) -> bytes:
    stream.seek(0)
    return bytes(pydicom.dcmread(stream, force=True).PixelData)


def copy_plain(path: Path, target: Path) -> None:
    """Puts a DICOM file at `target`, unpacked if it is gzipped, or else as a link to it.

    Raises:
        OSError: It cannot be read or written.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    if not packed:
        target.symlink_to(path.resolve())
        return
    with gzip.open(path) as stream, target.open("wb") as plain:
        while chunk := stream.read(1 << 20):
            plain.write(chunk)


def opened(path: Path) -> io.BufferedIOBase:
    """The file's plain bytes, after a look whether they may be DICOM: a NIfTI of gigabytes is not unpacked."""
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    if not packed:
        return path.open("rb")
    try:
        with gzip.open(path) as stream:
            if not _may_be_dicom(stream.read(_PREAMBLE_BYTES)):
                raise LeftError(_NOT_DICOM)
            stream.seek(0)
            return io.BytesIO(stream.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _DamagedError(f"truncated or damaged gzip ({error})") from error


def _may_be_dicom(head: bytes) -> bool:
    # Old archives lack the preamble and begin with group 2 or 8.
    return head[128:132] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00")


def _read_header(stream: io.BufferedIOBase) -> Dataset:
    head = stream.read(_PREAMBLE_BYTES)
    if not _may_be_dicom(head):
        raise LeftError(_NOT_DICOM)
    stream.seek(0)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # what it would say, we say with the file's name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=head[128:132] != b"DICM", specific_tags=TAGS)
        header.decode()
    return header


def _ends_early(header: Dataset) -> bool:
    """Whether a header of an image ends before the image's size; raises LeftError where it is of none."""
    media = header.file_meta.get("MediaStorageSOPClassUID", "")
    if media == MediaStorageDirectoryStorage:
        raise LeftError("DICOMDIR")
    if "Rows" in header and "Columns" in header:
        return False
    kind = UID(media or first_text(header, "SOPClassUID"))
    if "Image Storage" in kind.name or (first_text(header, "Modality") == "MR" and not kind):
        return True
    raise LeftError("DICOM, but no image" if kind or first_text(header, "Modality") else _NOT_DICOM)


def _damage(header: Dataset, stream: io.BufferedIOBase) -> str:
    """What is wrong with the pixels, to where the stream was read; empty if they are all there."""
    here = stream.tell()
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    if syntax == DeflatedExplicitVRLittleEndian:
        return ""
    rest = stream.seek(0, io.SEEK_END) - here
    if rest < 8:
        return "truncated (no pixel data)"
    if syntax is not None and syntax.is_encapsulated:
        stream.seek(here)
        return "" if _DELIMITER in stream.read() else "truncated (the compressed pixel data have no end)"
    numbers = [first_number(header, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    frames, samples = first_number(header, "NumberOfFrames"), first_number(header, "SamplesPerPixel")
    size = int((numbers[0] or 0) * (numbers[1] or 0) * (numbers[2] or 8) / 8 * (frames or 1) * (samples or 1))
    found = rest - (8 if syntax is None or syntax.is_implicit_VR else 12)  # the element's own header
    return "" if found >= size else f"truncated ({max(0, found)} bytes of pixel data found; {size} are needed)"
