import gzip
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.imaging.images import SHAPE, centred_affine, save, toy_head
from tissueclock.errors import ImageError
from tissueclock.imaging.volume import Volume, read_volume, read_volumes, write_volume


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 10, shape or SHAPE).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    data = noise()
    data[3, 4, 5] = value
    return data


def truncated(path: Path) -> Path:
    save(path, noise())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def flipped_qform(path: Path) -> Path:
    image = nibabel.Nifti1Image(noise(), centred_affine())
    image.set_sform(centred_affine(), code="scanner")
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ centred_affine(), code="scanner")
    nibabel.save(image, path)
    return path


def in_an_atlas_by_its_sform_only(path: Path) -> Path:
    image = nibabel.Nifti1Image(noise(), centred_affine())
    moved = centred_affine()
    moved[:3, 3] += 20.0
    image.set_sform(moved, code="mni")
    image.set_qform(centred_affine(), code="scanner")
    nibabel.save(image, path)
    return path


def nowhere(path: Path) -> Path:
    image = nibabel.Nifti1Image(noise(), centred_affine())
    image.set_sform(centred_affine(), code="unknown")
    image.set_qform(centred_affine(), code="unknown")
    nibabel.save(image, path)
    return path


def bit_flipped(path: Path) -> Path:
    """Level 0 stores what it is given: the voxel differs, and nothing but the checksum tells."""
    whole = bytearray(gzip.compress(nibabel.Nifti1Image(noise(), centred_affine()).to_bytes(), compresslevel=0))
    whole[-1000] ^= 1
    path.write_bytes(bytes(whole))
    return path


def text(path: Path) -> Path:
    path.write_text("no image")
    return path


def bad_affine(value: float) -> Callable[[Path], Path]:
    """nibabel itself writes no such header: its bytes are changed (srow_x is at byte 280, sform_code at 254)."""

    def make(path: Path) -> Path:
        image = nibabel.Nifti1Image(noise(), centred_affine())
        raw = bytearray(image.to_bytes())
        raw[254:256] = np.int16(1).tobytes()
        raw[280:296] = np.full(4, value, dtype=np.float32).tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
        return path

    return make


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "truncated or damaged (the file ends before its data does)"),
    "a voxel's bit flipped": (bit_flipped, "incorrect data check"),
    "left and right unknown": (nowhere, "sform and qform codes are both 0, so left and right are not known"),
    "sform in an atlas, qform in the scanner": (in_an_atlas_by_its_sform_only, "lie 35 mm apart; in which of them"),
    "no NIfTI": (text, "not a readable NIfTI file"),
    "NaN in the image": (lambda p: save(p, with_value(np.nan)), "1 non-finite values (NaN or infinite) found"),
    "infinity in the image": (lambda p: save(p, with_value(np.inf)), "1 non-finite values"),
    "NaN in the affine": (bad_affine(np.nan), "affine holds NaN"),
    "singular affine": (bad_affine(0.0), "affine is singular"),
    "one slice": (lambda p: save(p, noise(40, 44, 1)), "at least 8 voxels along each axis"),
    "2D": (lambda p: save(p, noise(40, 44), np.eye(4)), "a 3D or 4D image is needed"),
    "metres": (
        lambda p: save(p, noise(), np.diag([0.004, 0.004, 0.007, 1])),
        "voxels of 0.004x0.004x0.007; millimetres from 0.2 to 20 are needed",
    ),
    "microns": (lambda p: save(p, noise(), np.diag([4000.0, 4000, 7000, 1])), "millimetres from 0.2 to 20 are needed"),
    "unit says metres": (lambda p: save(p, noise(), xyzt_units=1), "the header's unit is metre"),
    "unit says microns": (lambda p: save(p, noise(), xyzt_units=3), "the header's unit is micron"),
    "flipped between sform and qform": (flipped_qform, "sform and qform disagree on left and right"),
    "a constant image": (lambda p: save(p, np.full(SHAPE, 7.0, np.float32)), "has one value everywhere"),
    "far too small": (lambda p: save(p, noise(), np.diag([0.5, 0.5, 0.5, 1])), "a head scan covers 50 to 600"),
    "complex values": (lambda p: save(p, noise().astype(np.complex64)), "real numbers are needed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_one_line_that_names_it(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    path = tmp_path / "bild ü.nii.gz"
    make(path)

    with pytest.raises(ImageError, match=re.escape(message)) as caught:
        read_volumes(path)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_volumes(tmp_path / "none.nii.gz")


def test_4d_where_3d_is_due_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.stack([noise(), noise()], axis=3))

    assert len(read_volumes(path)) == 2
    with pytest.raises(ImageError, match="4D with 2 images found; a 3D image is needed"):
        read_volume(path)


def test_what_is_written_reads_back_equal_and_equal_images_are_equal_bytes(tmp_path: Path) -> None:
    head = toy_head()
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nii.gz", Volume(head.data.copy(), head.affine.copy()))
    back = read_volume(tmp_path / "a.nii.gz")

    assert (back.data == head.data).all()
    np.testing.assert_allclose(back.affine, head.affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_scaled_integers_are_read_as_what_they_mean(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), centred_affine())
    image.header.set_slope_inter(2.0, -5.0)
    nibabel.save(image, tmp_path / "x.nii.gz")
    assert read_volume(tmp_path / "x.nii.gz").data[0, 0, 1] == pytest.approx(-3.0)


def test_several_members_and_trailing_bytes_are_read(tmp_path: Path) -> None:
    raw = nibabel.Nifti1Image(noise(), centred_affine()).to_bytes()
    path = tmp_path / "x.nii.gz"
    for tail in (b"", b"\0" * 512, b"\x1f", b"rubbish"):
        path.write_bytes(gzip.compress(raw[:5000]) + gzip.compress(raw[5000:]) + tail)
        assert (read_volume(path).data == noise()).all()
