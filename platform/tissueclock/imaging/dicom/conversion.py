"""One series of DICOM to one NIfTI image with its b-values, by dcm2niix, and without a word of the header's.

What the series is, `recognition` judges; which are converted, `patient_images`.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel
import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from tissueclock.errors import ImageError, StorageError
from tissueclock.imaging.bvalues import SHELL_S_MM2, read_bvals, same_shell
from tissueclock.imaging.dicom.frames import b_by_pixels
from tissueclock.imaging.dicom.objects import DicomSeries, copy_plain
from tissueclock.imaging.dicom.sidecar import clean_sidecar
from tissueclock.imaging.dicom.stack import check_slices
from tissueclock.imaging.volume import MIN_SLICES
from tissueclock.storage.files import write_gzip, write_json, write_text

_TIMEOUT_S = 900
_NAME = "s"

_LEFT_SUFFIXES = {
    "_ph": "a phase image",
    "_real": "the real part of a complex image",
    "_imaginary": "the imaginary part of a complex image",
    "_Eq": "resampled by dcm2niix, since slices are missing or lie unevenly",
    "_Tilt": "resampled by dcm2niix for the gantry's tilt",
    "_ADC": "images that dcm2niix takes for computed ones",
    "_ROI": "regions of interest",
}


_GUESSES = ("Unable to determine slice direction", "Bogus spatial matrix")
"""What dcm2niix says, with exit code 0, where it goes on with a guess."""


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """An image as dcm2niix made it.

    Attributes:
        header: NIfTI-1 header of 348 bytes, all its free text emptied.
        data: Stored values, in the header's data type and scale.
        bvals: One a volume, s/mm2; None where nothing tells them.
        bvecs: Unit vectors, or None.
        facts: The allowed part of the sidecar.
        note: How b-values were found, if not by dcm2niix, and what was left out; or empty.
    """

    header: bytes
    data: npt.NDArray[Any]
    bvals: Float[np.ndarray, " n"] | None
    bvecs: Float[np.ndarray, "3 n"] | None
    facts: Mapping[str, Any]
    note: str = ""

    def write(self, stem: Path) -> None:
        """Writes `<stem>.nii.gz`, `.json`, and `.bval` and `.bvec` where there are any.

        Raises:
            StorageError: The folder cannot be written, or the disk is full.
        """
        write_gzip(stem.with_name(f"{stem.name}.nii.gz"), self.header + bytes(4) + self.data.tobytes(order="F"))
        write_json(stem.with_name(f"{stem.name}.json"), self.facts)
        if self.bvals is not None:
            write_text(stem.with_name(f"{stem.name}.bval"), _row(self.bvals))
        if self.bvecs is not None:
            write_text(stem.with_name(f"{stem.name}.bvec"), "".join(_row(axis) for axis in self.bvecs))


def convert(series: DicomSeries, work: Path) -> Converted:
    """Converts a series to one image.

    Args:
        series: Its files must be undamaged.
        work: An empty folder of ours with an ASCII path; links or unpacked copies of the files are put there.

    Returns:
        The one image that it holds, in dcm2niix's own voxel order and scale.

    Raises:
        ImageError: dcm2niix fails, makes several images that do not fit each other, or leaves slices out.
        StorageError: The work folder cannot be written.
    """
    check_slices(series)
    given, made = work / "in", work / "out"
    try:
        given.mkdir(parents=True)
        made.mkdir()
        for i, file in enumerate(series.files):
            copy_plain(file.path, given / f"{i:06d}.dcm")
    except OSError as error:
        raise StorageError(f"{work}: cannot be written ({error.strerror or error})") from error
    _run(series, given, made)
    parts, left = _parts(series, made)
    image = _joined(series, parts, given)
    return replace(image, note="; ".join(note for note in (image.note, left) if note))


def _run(series: DicomSeries, given: Path, made: Path) -> None:
    # -g i: a defaults file in somebody's home must not decide. -ba y alone is no de-identification: the sidecar keeps
    # institution, serial number and free text, the NIfTI header the time. -x i: slices stay slices, to be counted.
    options = "-g i -z n -b y -ba y -d 0 -w 2 -l o -m 2 -i n -x i"
    command = [str(dcm2niix.bin), *options.split(), "-f", _NAME, "-o", str(made), str(given)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"{series.name}: dcm2niix did not end within {_TIMEOUT_S} s") from None
    except OSError as error:
        raise StorageError(f"dcm2niix cannot be started ({error.strerror})") from error
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    if guessed := next((line for line in lines if any(words in line for words in _GUESSES)), None):
        raise ImageError(f"{series.name}: dcm2niix does not know where its voxels lie ({guessed})")
    if done.returncode:
        said = [line for word in ("Error", "Warning") for line in lines if word in line]
        reason = (said or ["no message"])[0].replace(str(given), "…").replace(str(made), "…")
        raise ImageError(f"{series.name}: dcm2niix failed with exit code {done.returncode} ({reason})")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One NIfTI file of those that dcm2niix made of a series."""

    image: Any
    data: npt.NDArray[Any]
    bvals: Float[np.ndarray, " n"] | None
    bvecs: Float[np.ndarray, "3 n"] | None
    facts: Mapping[str, Any]

    @property
    def place(self) -> tuple[Any, ...]:
        """What parts must share to be volumes of one image."""
        proxy = self.image.dataobj
        affine = tuple(np.round(self.image.affine, 3).ravel().tolist())
        return self.data.shape[:3], self.data.dtype.str, float(proxy.slope), float(proxy.inter), affine


def _parts(series: DicomSeries, made: Path) -> tuple[list[_Part], str]:
    """What dcm2niix made, and a note on what of it is left out."""
    parts, left, n_slices = [], [], 0
    for path in sorted(made.glob("*.nii")):
        image: Any = nibabel.load(path)
        suffix = path.stem.removeprefix(_NAME)
        data = np.asarray(image.dataobj.get_unscaled())
        n_slices += int(np.prod(data.shape[2:]))
        if why := next((why for mark, why in _LEFT_SUFFIXES.items() if mark.lower() in suffix.lower()), None):
            left.append(why)
            continue
        data = data if data.ndim == 4 else data.reshape(*data.shape[:3], -1)
        parts.append(_Part(image, data, *_gradients(path, data.shape[3]), _read_json(path.with_suffix(".json"))))
    if not parts:
        raise ImageError(f"{series.name}: dcm2niix made no image of it" + (f" but {', '.join(left)}" if left else ""))
    if "MOSAIC" not in series.facts.words and n_slices < series.n_frames:
        raise ImageError(
            f"{series.name}: {series.n_frames} slices found, of which dcm2niix used {n_slices}; a volume is incomplete"
        )
    return parts, f"left out: {', '.join(sorted(set(left)))}" if left else ""


def _joined(series: DicomSeries, parts: Sequence[_Part], given: Path) -> Converted:
    """One image of all parts: dcm2niix takes apart what differs in ImageType, as GE's b0 and combined image do."""
    first = parts[0]
    if any(part.place != first.place for part in parts):
        shapes = ", ".join("x".join(str(n) for n in part.data.shape) for part in parts)
        raise ImageError(f"{series.name}: dcm2niix made images that do not fit each other ({shapes}); one is needed")
    data = np.concatenate([part.data for part in parts], axis=3) if len(parts) > 1 else first.data
    if min(data.shape[:3]) < MIN_SLICES:
        raise ImageError(f"{series.name}: {data.shape[2]} slices found; at least {MIN_SLICES} are needed")
    bvals, note = _b_values(series, parts, data, given)
    directions = [part.bvecs for part in parts if part.bvecs is not None]
    bvecs = np.concatenate(directions, axis=1) if len(directions) == len(parts) else None
    if len(parts) > 1:
        if bvals is None:
            raise ImageError(f"{series.name}: dcm2niix made {len(parts)} images of it, and no b-value tells them apart")
        order = np.argsort(bvals, kind="stable")
        data, bvals = data[..., order], bvals[order]
        bvecs = None if bvecs is None else bvecs[:, order]
    unspoken = frozenset().union(*(file.identity.words for file in series.files))
    data = data[..., 0] if data.shape[3] == 1 else data
    return Converted(
        _header(first.image, data), data, bvals, bvecs, clean_sidecar(first.facts, unspoken=unspoken), note
    )


def _b_values(
    series: DicomSeries, parts: Sequence[_Part], data: npt.NDArray[Any], given: Path
) -> tuple[Float[np.ndarray, " n"] | None, str]:
    """One a volume, asked of header, pixels and dcm2niix, which must not contradict each other.

    Checked always: of enhanced objects dcm2niix can mix up the volumes, or write another b-value, without a word; of
    classic ones an image without the tag is b0 for some makers, so that what others tell must not be said of it.
    """
    facts = series.facts
    if facts.torn_b is not None:
        standard, private = (f"{value:g}" for value in facts.torn_b)
        raise ImageError(
            f"{series.name}: b {standard} by the standard tag and {private} by the maker's, of one image; which is "
            "right is not known"
        )
    known = sorted(facts.b_values)
    found = [part.bvals for part in parts if part.bvals is not None]
    bvals = np.concatenate(found) if len(found) == len(parts) else None
    if not known:
        named = facts.text_b
        if bvals is None and len(named) == data.shape[3] == 1:
            return np.array(named), "b-value by the free text"
        return bvals, ""
    if len(known) == 1 and not facts.some_b_untold:
        return np.full(data.shape[3], known[0]), ""
    by_pixels = b_by_pixels([given / f"{i:06d}.dcm" for i in range(len(series.files))], data, whose=series.name)
    if bvals is not None and _agree(bvals, known, by_pixels, some_untold=facts.some_b_untold):
        return bvals, "b-values by dcm2niix, since some images tell none" if facts.some_b_untold else ""
    if by_pixels is None or np.isnan(by_pixels).any():
        said = "none" if bvals is None else ", ".join(f"{value:g}" for value in sorted(set(bvals.tolist())))
        listed = ", ".join(f"{value:g}" for value in known)
        untold = " of some images and none of others" if facts.some_b_untold else ""
        raise ImageError(
            f"{series.name}: b-values {listed} in the header{untold}, {said} by dcm2niix; which volume has which is "
            "not known"
        )
    return by_pixels, "b-values by pixels, since dcm2niix gave none or others"


def _agree(
    bvals: Float[np.ndarray, " n"],
    known: Sequence[float],
    by_pixels: Float[np.ndarray, " n"] | None,
    *,
    some_untold: bool,
) -> bool:
    """Whether dcm2niix's b-values are those of the header, and of each volume those of its pixels."""

    def near(value: float, others: Sequence[float]) -> bool:
        return any(same_shell(value, other) for other in others)

    found = bvals.tolist()
    if not all(near(value, found) for value in known):
        return False
    if not some_untold and not all(near(value, known) for value in found):
        return False
    if by_pixels is None:
        return True
    told = ~np.isnan(by_pixels)
    return bool((np.abs(bvals - by_pixels)[told] <= SHELL_S_MM2).all())


def _gradients(path: Path, n: int) -> tuple[Float[np.ndarray, " n"] | None, Float[np.ndarray, "3 n"] | None]:
    bval, bvec = path.with_suffix(".bval"), path.with_suffix(".bvec")
    if not bval.exists():
        return None, None
    bvals = read_bvals(bval, n)
    try:
        bvecs = np.loadtxt(bvec, dtype=np.float64, ndmin=2) if bvec.exists() else None
    except ValueError as error:
        raise ImageError(f"dcm2niix wrote directions that cannot be read ({error})") from error
    return bvals, bvecs if bvecs is not None and bvecs.shape == (3, n) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8", errors="replace"), strict=False)
    except (OSError, ValueError):
        return {}  # free text of the header can break it: physics is then not told
    return facts if isinstance(facts, dict) else {}


def _header(image: Any, data: npt.NDArray[Any]) -> bytes:
    header = image.header.copy()
    header.set_data_shape(data.shape)
    for name in ("data_type", "db_name", "descrip", "aux_file", "intent_name"):
        header[name] = b""
    # nibabel empties the scale on loading: voxels must keep the value that dcm2niix meant.
    header["scl_slope"], header["scl_inter"] = image.dataobj.slope, image.dataobj.inter
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return bytes(header.binaryblock)


def _row(values: npt.NDArray[np.floating[Any]]) -> str:
    return " ".join(f"{value:.6g}" for value in values.tolist()) + "\n"
