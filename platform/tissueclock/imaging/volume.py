"""One 3D image with its place in the scanner, read strictly from NIfTI and written so that equal input is equal bytes.

Knows headers, not anatomy.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from tissueclock.errors import ImageError
from tissueclock.storage.files import write_gzip

MIN_VOXEL_MM, MAX_VOXEL_MM = 0.2, 20.0
"""Edges of a voxel of a head scan; beyond them the unit is wrong."""

MIN_SLICES = 8
"""Fewer slices are a localiser or a broken export."""

MIN_EXTENT_MM, MAX_EXTENT_MM = 50.0, 600.0
MAX_FORMS_APART_MM = 3.0
"""How far sform and qform may differ at a corner where both claim the same space."""

_NOT_SCANNER_CODES = (3, 4)
"""Codes of a form that places an image in an atlas: Talairach's, MNI's."""

_GZIP_MAGIC, _CHUNK_BYTES = b"\x1f\x8b", 1 << 20

_UNITS = {1: "metre", 3: "micron"}


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One 3D image and its place.

    Attributes:
        data: Values at voxel x, y, z; float32.
        affine: From voxel to scanner (or MNI) mm: right, anterior, superior.
    """

    data: Float[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel along its own axes."""
        x, y, z = (float(edge) for edge in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def like(self, data: npt.NDArray[Any]) -> "Volume":
        """Other values in the same place."""
        return Volume(np.asarray(data, dtype=np.float32), self.affine)


def read_volumes(path: Path) -> tuple[Volume, ...]:
    """Reads a NIfTI file of one image or of several along a fourth axis, and checks all that a header can get wrong.

    Returns:
        Its images, at least one, each with at least 8 slices and finite values.

    Raises:
        ImageError: The file is missing, truncated or no NIfTI; its shape, unit, affine or a value cannot be of a head.
    """
    image = _load(path)
    if len(image.shape) not in (3, 4) or 0 in image.shape:
        raise ImageError(f"{path}: shape {image.shape} found; a 3D or 4D image is needed")
    affine = _affine(path, image)
    if min(image.shape[:3]) < MIN_SLICES:
        raise ImageError(f"{path}: shape {image.shape} found; at least {MIN_SLICES} voxels along each axis are needed")
    _check_size(path, image, affine)
    data = _data(path, image)
    if not np.isfinite(data).all():
        n_bad = int((~np.isfinite(data)).sum())
        raise ImageError(f"{path}: {n_bad} non-finite values (NaN or infinite) found; none is allowed")
    stacked = data[..., None] if data.ndim == 3 else data
    flat = [i for i in range(stacked.shape[3]) if stacked[..., i].min() == stacked[..., i].max()]
    if flat:
        raise ImageError(f"{path}: image {flat[0]} of {stacked.shape[3]} has one value everywhere; a scan has many")
    return tuple(Volume(np.ascontiguousarray(stacked[..., i]), affine) for i in range(stacked.shape[3]))


def read_volume(path: Path) -> Volume:
    """Reads a NIfTI file that must hold one image.

    Raises:
        ImageError: As `read_volumes`, or there are several.
    """
    volumes = read_volumes(path)
    if len(volumes) > 1:
        raise ImageError(f"{path}: 4D with {len(volumes)} images found; a 3D image is needed")
    return volumes[0]


def write_volume(path: Path, volume: Volume, *, dtype: npt.DTypeLike = np.float32) -> None:
    """Writes an image as `.nii.gz`, whole or not at all; the same image gives the same bytes.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    write_nifti(path, volume.data, affine=volume.affine, dtype=dtype)


def write_nifti(
    path: Path, data: npt.NDArray[Any], *, affine: Float[np.ndarray, "4 4"], dtype: npt.DTypeLike = np.float32
) -> None:
    """Writes an array of three or four axes as `.nii.gz`: millimetres, sform and qform alike, no free text.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    image = nibabel.Nifti1Image(np.asarray(data, dtype=dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    write_gzip(path, image.to_bytes())


def _load(path: Path) -> Any:
    try:
        _check_gzip(path)
        return nibabel.load(path)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except zlib.error as error:
        raise ImageError(f"{path}: truncated or damaged ({_first_line(error)})") from error
    except (OSError, EOFError, ImageFileError, HeaderDataError, ValueError) as error:
        raise ImageError(f"{path}: not a readable NIfTI file ({_first_line(error)})") from error


def _check_gzip(path: Path) -> None:
    """Raises zlib.error where a member's checksum or length is not that of its bytes; nibabel stops before them.

    Several members are one file, and what follows the last is nobody's.
    """
    if not path.name.lower().endswith(".gz"):
        return
    with path.open("rb") as stream:
        chunk = stream.read(_CHUNK_BYTES)
        while chunk.startswith(_GZIP_MAGIC):
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                if not chunk:
                    raise zlib.error("the file ends before its data does")
                member.decompress(chunk)
                chunk = member.unused_data if member.eof else stream.read(_CHUNK_BYTES)
            if len(chunk) < len(_GZIP_MAGIC):
                chunk += stream.read(_CHUNK_BYTES)


def _data(path: Path, image: Any) -> Float[np.ndarray, "..."]:
    try:
        data = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({_first_line(error)})") from error
    if data.dtype.kind not in "iuf" or data.dtype.names:
        raise ImageError(f"{path}: values of type {data.dtype} found; real numbers are needed")
    return np.asarray(data, dtype=np.float32)


def _affine(path: Path, image: Any) -> Float[np.ndarray, "4 4"]:
    """The voxel-to-mm map, sform before qform, where the header's two agree."""
    header = image.header
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise ImageError(f"{path}: the affine holds NaN or infinity; where the voxels lie is not known")
    if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise ImageError(f"{path}: the affine is singular; where the voxels lie is not known")
    if "sform_code" not in header:
        return affine
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code == qform_code == 0:
        raise ImageError(
            f"{path}: sform and qform codes are both 0, so left and right are not known; "
            "who knows them sets one (fslorient -setqformcode 1)"
        )
    if sform_code == 0 or qform_code == 0:
        return affine
    try:
        qform = np.asarray(image.get_qform(), dtype=np.float64)
    except (ValueError, HeaderDataError):
        return affine
    if np.linalg.det(qform[:3, :3]) * np.linalg.det(affine[:3, :3]) < 0:
        raise ImageError(f"{path}: sform and qform disagree on left and right (one is flipped); they must say the same")
    corner = np.array([*image.shape[:3], 1.0])
    apart = max(float(np.linalg.norm(((qform - affine) @ at)[:3])) for at in (np.eye(4)[3], corner))
    if sform_code in _NOT_SCANNER_CODES and qform_code not in _NOT_SCANNER_CODES and apart > MAX_FORMS_APART_MM:
        raise ImageError(
            f"{path}: sform (code {sform_code}, an atlas) and qform (code {qform_code}, the scanner) lie "
            f"{apart:.0f} mm apart; in which of them the patient's images lie together is not known: set one code to 0"
        )
    if qform_code == sform_code and apart > MAX_FORMS_APART_MM:
        raise ImageError(
            f"{path}: sform and qform, said to be of one space, lie {apart:.0f} mm apart; "
            f"at most {MAX_FORMS_APART_MM:g} is allowed"
        )
    return affine


def _check_size(path: Path, image: Any, affine: Float[np.ndarray, "4 4"]) -> None:
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    shown = "x".join(f"{edge:.3g}" for edge in edges)
    unit = _UNITS.get(int(image.header.get("xyzt_units", 0)) & 7)
    if unit is not None or edges.min() < MIN_VOXEL_MM or edges.max() > MAX_VOXEL_MM:
        said = f" and the header's unit is {unit}" if unit else ""
        raise ImageError(
            f"{path}: voxels of {shown}{said}; millimetres from {MIN_VOXEL_MM:g} to {MAX_VOXEL_MM:g} are needed"
        )
    extent = edges * image.shape[:3]
    if extent.min() < MIN_EXTENT_MM or extent.max() > MAX_EXTENT_MM:
        found = " x ".join(f"{edge:.0f}" for edge in extent)
        raise ImageError(
            f"{path}: {found} mm covered; a head scan covers {MIN_EXTENT_MM:.0f} to {MAX_EXTENT_MM:.0f} along each axis"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
