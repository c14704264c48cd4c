"""Finds DICOM images under a folder, whatever the files' names, and groups them to series.

Plain or gzipped files, classic or enhanced multi-frame. Refuses to judge what a series is (`recognition`).
"""

import gzip
import io
import logging
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.headers import (
    TAGS,
    Identity,
    first_number,
    first_text,
    read_facts,
    read_identity,
    read_slice_mm,
)
from tissueclock.imaging.dicom.recognition import Facts, merge

_GZIP = b"\x1f\x8b"
_PREAMBLE_BYTES = 132
_DELIMITER = b"\xfe\xff\xdd\xe0"
_NOT_DICOM = "not DICOM"


@dataclass(frozen=True, slots=True)
class File:
    """One file with pictures.

    Attributes:
        path: Where it lies, gzipped or not.
        instance_uid: Its own.
        series_uid: Its series'.
        number: Its series', or None.
        time: Its series' or its acquisition's, HHMMSS.
        identity: Whose it is.
        facts: What it shows.
        n_frames: Pictures in it.
        slice_mm: Where its slice lies along the normal, if it is one slice.
        damage: Why it cannot be used; empty if it can.
    """

    path: Path
    instance_uid: str
    series_uid: str
    number: int | None
    time: str
    identity: Identity
    facts: Facts
    n_frames: int = 1
    slice_mm: float | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Series:
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
    def n_frames(self) -> int:
        """Pictures in all its files."""
        return sum(file.n_frames for file in self.files)

    @property
    def damage(self) -> str:
        """Why its first damaged file cannot be used; empty if all can."""
        return next((f"{file.path}: {file.damage}" for file in self.files if file.damage), "")


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies under a folder.

    Attributes:
        patients: Series of each patient in the order of acquisition, by `(patient ID, issuer)` or `("", study UID)`.
        left: How many files were left, by reason.
        damaged: One line for each file whose header cannot be read.
    """

    patients: Mapping[tuple[str, str], tuple[Series, ...]]
    left: Mapping[str, int]
    damaged: tuple[str, ...]


class _LeftError(Exception):
    """A file that is not ours; its text is the reason."""


def survey(source: Path, *, ignored: Sequence[Path] = (), progress: Callable[[int, int], None] | None = None) -> Survey:
    """Reads the headers of all files under a folder.

    Args:
        source: Any depth, any names.
        ignored: Folders and files that are no input.
        progress: Called with files read and files in all.

    Returns:
        Patients with their series, and what was left.

    Raises:
        ImageError: There is no such folder, or no DICOM image in it.
    """
    paths = list(_walk(source, ignored={path.resolve() for path in ignored}))
    files: list[File] = []
    left: Counter[str] = Counter()
    damaged: list[str] = []
    for done, path in enumerate(paths, start=1):
        try:
            files.append(read_file(path))
        except _LeftError as reason:
            left[str(reason)] += 1
        except ImageError as error:
            damaged.append(str(error))
        if progress is not None:
            progress(done, len(paths))
    if not files:
        found = ", ".join(f"{n} {reason}" for reason, n in left.most_common()) or "no file"
        first = f"; {damaged[0]}" if damaged else ""
        raise ImageError(
            f"{source}: no DICOM image found ({found}, {len(damaged)} damaged{first}); a folder of MR is needed"
        )
    return Survey(_by_patient(files, left), dict(left), tuple(damaged))


def read_file(path: Path) -> File:
    """Reads the header of one DICOM image.

    Raises:
        ImageError: It is DICOM, but its header is damaged.
    """
    try:
        with _opened(path) as stream:
            header = _read_header(stream, path)
            return File(
                path=path,
                instance_uid=first_text(header, "SOPInstanceUID"),
                series_uid=first_text(header, "SeriesInstanceUID"),
                number=None if (number := first_number(header, "SeriesNumber")) is None else int(number),
                time=first_text(header, "AcquisitionTime") or first_text(header, "SeriesTime"),
                identity=read_identity(header),
                facts=read_facts(header),
                n_frames=int(first_number(header, "NumberOfFrames") or 1),
                slice_mm=read_slice_mm(header),
                damage=_damage(header, stream),
            )
    except (_LeftError, ImageError):
        raise
    except PermissionError:
        raise _LeftError("not readable (permission denied)") from None
    except Exception as error:  # pydicom raises whatever its parsers meet in damaged bytes
        what = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ImageError(f"{path}: damaged DICOM ({what})") from error


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


def _walk(source: Path, *, ignored: set[Path]) -> Iterator[Path]:
    if not source.is_dir():
        raise ImageError(f"{source}: no such folder; a folder of DICOM is needed")
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if (here / name).resolve() not in ignored)
        yield from (path for name in sorted(names) if (path := here / name).resolve() not in ignored and path.is_file())


def _opened(path: Path) -> io.BufferedIOBase:
    """The file's plain bytes, after a look whether they may be DICOM: a NIfTI of gigabytes is not unpacked."""
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    if not packed:
        return path.open("rb")
    try:
        with gzip.open(path) as stream:
            if not _may_be_dicom(stream.read(_PREAMBLE_BYTES)):
                raise _LeftError(_NOT_DICOM)
            stream.seek(0)
            return io.BytesIO(stream.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageError(f"{path}: truncated or damaged gzip ({error})") from error


def _may_be_dicom(head: bytes) -> bool:
    # Old archives lack the preamble and begin with group 2 or 8.
    return head[128:132] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00")


def _read_header(stream: io.BufferedIOBase, path: Path) -> Dataset:
    head = stream.read(_PREAMBLE_BYTES)
    if not _may_be_dicom(head):
        raise _LeftError(_NOT_DICOM)
    stream.seek(0)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # what it would say, we say with the file's name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=head[128:132] != b"DICM", specific_tags=TAGS)
        header.decode()
    media = header.file_meta.get("MediaStorageSOPClassUID", "")
    if media == MediaStorageDirectoryStorage:
        raise _LeftError("DICOMDIR")
    if "Rows" not in header or "Columns" not in header:
        kind = UID(media or first_text(header, "SOPClassUID"))
        if "Image Storage" in kind.name or (first_text(header, "Modality") == "MR" and not kind):
            raise ImageError(f"{path}: truncated DICOM (the header ends before the size of the image)")
        raise _LeftError("DICOM, but no image" if kind or first_text(header, "Modality") else _NOT_DICOM)
    return header


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


def _by_patient(files: Sequence[File], left: Counter[str]) -> dict[tuple[str, str], tuple[Series, ...]]:
    """Series of each patient; an instance that was exported twice counts once."""
    groups: dict[tuple[str, str], dict[str, dict[str, File]]] = {}
    for file in files:
        who = file.identity
        patient = (who.patient_id, who.issuer) if who.patient_id else ("", who.study_uid)
        series = groups.setdefault(patient, {}).setdefault(file.series_uid, {})
        name = file.instance_uid or str(file.path)
        if name in series:
            left["a second copy of an image"] += 1
        if name not in series or series[name].damage:
            series[name] = file
    return {
        patient: tuple(
            sorted(
                (Series(tuple(f.values()), merge([file.facts for file in f.values()])) for f in all_series.values()),
                key=lambda series: series.order,
            )
        )
        for patient, all_series in sorted(groups.items())
    }
