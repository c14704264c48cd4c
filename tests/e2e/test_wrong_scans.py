"""A raw folder in which every patient but one is wrong in his own way: a line each, and the one comes through."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.e2e.in_process import Answer, call
from tests.imaging.dicom import dicom_files as scanner
from tests.imaging.images import save, toy_head
from tissueclock.errors import TissueclockError
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.preprocessing import PatientJob
from tissueclock.phantom.raw.make_raw import make_raw_phantom
from tissueclock.storage.tsv import read_rows

pytestmark = pytest.mark.e2e

GRID = ("--grid", "8x24x12")


def in_this_process(
    function: Callable[[PatientJob], None], jobs: Sequence[PatientJob], *, memory_mb: int, head: Any
) -> Iterator[tuple[int, TissueclockError | None]]:
    """Stands for Ray: one after the other, here."""
    for i, job in enumerate(jobs):
        try:
            function(job)
            yield i, None
        except TissueclockError as error:
            yield i, error


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissueclock.sweeping.tasks.run_tasks", in_this_process)
    monkeypatch.setattr("tissueclock.sweeping.cluster.connect", lambda **_: "its head")
    monkeypatch.setattr("tissueclock.sweeping.cluster.disconnect", lambda: None)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One raw phantom, sound."""
    folder = tmp_path_factory.mktemp("phantom") / "raw"
    make_raw_phantom(folder, n_patients=1, seed=3, anatomy="affine")
    return folder / "sub-phantom0001"


class Patient:
    """A copy of the sound patient, to be spoiled."""

    def __init__(self, sound: Path, raw: Path, name: str) -> None:
        self.folder = raw / f"sub-{name}"
        shutil.copytree(sound, self.folder)
        for path in [path for path in self.folder.rglob("sub-*") if path.is_file()]:
            path.rename(path.with_name(path.name.replace(sound.name, f"sub-{name}")))

    def file(self, kind: str) -> Path:
        (found,) = self.folder.rglob(f"*_{kind}.nii.gz")
        return found

    def change(self, kind: str, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        image = nibabel.load(self.file(kind))
        data, affine = change(np.asarray(image.dataobj, dtype=np.float32), image.affine.copy())
        nibabel.save(nibabel.Nifti1Image(data, affine), self.file(kind))


def with_nan(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    data[10, 10, 10] = np.nan
    return data, affine


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def upside_down(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return data[:, :, ::-1], affine


FAULTS: dict[str, tuple[Callable[[Patient], object], str]] = {
    "nodwi": (lambda p: shutil.rmtree(p.folder / "dwi"), r"sub-nodwi: no \*_dwi\.nii\.gz below"),
    "twoflair": (
        lambda p: shutil.copy(p.file("FLAIR"), p.file("FLAIR").with_name("sub-twoflair_run-2_FLAIR.nii.gz")),
        r"sub-twoflair: 2 candidates for FLAIR .*; keep one, or say --duplicates last",
    ),
    "cut": (lambda p: halve(p.file("dwi")), r"sub-cut_dwi\.nii\.gz: truncated or damaged"),
    "nan": (lambda p: p.change("dwi", with_nan), r"sub-nan_dwi\.nii\.gz: \d+ non-finite values"),
    "flair4d": (
        lambda p: p.change("FLAIR", lambda d, a: (np.stack([d, d], axis=3), a)),
        r"sub-flair4d_FLAIR\.nii\.gz: 4D with 2 images found; a 3D image is needed",
    ),
    "oneslice": (lambda p: p.change("FLAIR", lambda d, a: (d[:, :, :1], a)), r"at least 8 voxels along each axis"),
    "metres": (
        lambda p: p.change("FLAIR", lambda d, a: (d, np.diag([1e-3, 1e-3, 1e-3, 1]) @ a)),
        r"sub-metres_FLAIR\.nii\.gz: voxels of .*; millimetres from 0\.2 to 20 are needed",
    ),
    "microns": (
        lambda p: p.change("dwi", lambda d, a: (d, np.diag([1e3, 1e3, 1e3, 1]) @ a)),
        r"sub-microns_dwi\.nii\.gz: voxels of .*; millimetres",
    ),
    "flipped": (lambda p: flip_qform(p.file("dwi")), r"sub-flipped_dwi\.nii\.gz: sform and qform disagree on left and"),
    "upsidedown": (
        lambda p: p.change("dwi", upside_down),
        r"sub-upsidedown: the head fits the atlas better upside down .* the header's slice axis is flipped",
    ),
    "bvalues": (
        lambda p: next(p.folder.rglob("*.bval")).write_text("0 400"),
        r"sub-bvalues: b-values 0, 400 found; 1000 \+- 300 is needed; --b-tolerance 600 would take it",
    ),
    "nohead": (
        lambda p: save(p.file("dwi"), np.stack([toy_noise(0), toy_noise(1)], axis=3)),
        r"sub-nohead: (no brain found in b0|the head fits)",
    ),
}


def flip_qform(path: Path) -> None:
    image = nibabel.load(path)
    image.set_sform(image.affine, code="scanner")
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ image.affine, code="scanner")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)


def toy_noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 100, toy_head().data.shape).astype(np.float32)


@pytest.mark.usefixtures("here")
def test_each_wrong_patient_is_one_line_and_the_others_go_on(
    scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, target = tmp_path / "roh daten (März)", tmp_path / "préparé"
    raw.mkdir()
    for name, (spoil, _) in FAULTS.items():
        spoil(Patient(scanned, raw, name))
    Patient(scanned, raw, "sound")
    twin = Patient(scanned, raw, "twin")
    shutil.rmtree(Patient(scanned, raw, "xnoflair").folder / "anat")

    answer = call(capsys, "preprocess", raw, target, *GRID)

    folder = Derivatives(target)
    assert answer.code == 2
    assert answer.lines == [f"error: {len(FAULTS)} patients refused (above); the others are done"]
    told = column(folder.failures, "reason")
    assert set(told) == {f"sub-{name}" for name in FAULTS}
    for name, (_, message) in FAULTS.items():
        assert_matches(told[f"sub-{name}"], message)
        assert f"failed: sub-{name}: " in answer.out
    assert [patient.subject for patient in folder.done()] == ["sub-sound", "sub-twin", "sub-xnoflair"]
    assert {path.name for path in target.glob("sub-*")} == {"sub-sound", "sub-twin", "sub-xnoflair"}
    assert not list(target.rglob("*.part"))
    flags = column(folder.quality_table, "flags")
    assert "no FLAIR" in flags["sub-xnoflair"]
    assert "same DWI file as sub-sound: one patient twice?" in flags[twin.folder.name]


def column(table: Path, name: str) -> dict[str, str]:
    return {row.cells["participant_id"]: row.cells[name] for row in read_rows(table, required=(name,))}


def assert_matches(text: str, pattern: str) -> None:
    assert re.search(pattern, text), f"{text}\ndoes not match {pattern}"


def assert_one_line(answer: Answer, pattern: str) -> None:
    assert answer.code == 2, answer
    assert len(answer.lines) == 1, answer.err
    assert_matches(answer.lines[0], pattern)


def test_a_series_lost_to_damaged_files_is_told_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scanner.siemens_trace(tmp_path / "scans")
    damaged = scanner.flair(tmp_path / "scans")
    for path in damaged:
        path.write_bytes(path.read_bytes()[:900])

    answer = call(capsys, "ingest", tmp_path / "scans", tmp_path / "bids")

    lost = "1 series lost to damaged files (above); restore the files, remove the subjects that lack them and run again"
    assert_one_line(answer, re.escape(f"error: {lost}"))
    assert f"  sub-0001: series without a number lost: 8 files, {damaged[0]}: truncated DICOM" in answer.out
    assert "1 patients written" in answer.out


OPTIONS: dict[str, tuple[tuple[object, ...], str]] = {
    "no such folder": (("preprocess", "none", "out"), "none: no such folder; a BIDS folder with sub-"),
    "registration": (
        ("preprocess", "raw", "out", "--registration", "rigid"),
        "--registration is 'rigid'; allowed: affine, syn",
    ),
    "backend": (("preprocess", "raw", "out", "--backend", "spm"), "--backend is 'spm'; allowed: ants, fsl"),
    "grid": (("preprocess", "raw", "out", "--grid", "24x224"), "--grid is '24x224'; allowed: slices x rows x columns"),
    "atlas": (("preprocess", "raw", "out", "--atlas", "no.nii"), r"no\.nii: no such file"),
    "mask without atlas": (("preprocess", "raw", "out", "--atlas-mask", "m.nii"), "a mask without an atlas"),
    "reference": (
        ("preprocess", "raw", "out", "--reference", "sub-9"),
        "--reference is sub-9; raw has sub-01 to",
    ),
    "lesions": (("preprocess", "raw", "out", "--lesions", "none"), "none: no such folder; derivatives with"),
    "below a file": (("preprocess", "raw", "raw/file/out"), "raw/file/out: cannot be written"),
    "b": (("preprocess", "raw", "out", "--b", "5"), "Invalid value for '--b'"),
    "raw phantom": (
        ("phantom", "out", "--raw", "--anatomy", "square"),
        "--anatomy is 'square'; allowed: affine, n",
    ),
    "raw phantom described": (("phantom", "out", "--raw", "--describe"), "--raw has no --describe"),
    "pack nothing": (("pack", "none", "out"), "none: no such folder; `tissueclock preprocess` writes it"),
    "ingest nothing": (("ingest", "none", "out"), "none: no such folder"),
    "ingest what is no DICOM": (("ingest", "raw", "out"), "no DICOM"),
    "a key among what is shared": (("ingest", "raw", "out", "--key", "out/key.tsv"), "key"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", OPTIONS)
def test_wrong_options_are_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = OPTIONS[case]
    save(tmp_path / "raw" / "sub-01" / "dwi" / "sub-01_dwi.nii.gz", toy_head().data)
    (tmp_path / "raw" / "file").write_text("a file")
    monkeypatch.chdir(tmp_path)
    assert_one_line(call(capsys, *arguments), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
def test_a_disk_that_fills_up_stops_the_run_and_leaves_no_half_patient(
    scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    Patient(scanned, tmp_path / "raw", "sound")
    real = os.fsync

    def full(descriptor: int) -> None:
        if os.path.realpath(f"/proc/self/fd/{descriptor}").endswith(".nii.gz") or "mask" in os.path.realpath(
            f"/proc/self/fd/{descriptor}"
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    answer = call(capsys, "preprocess", tmp_path / "raw", tmp_path / "out", *GRID)

    assert answer.code == 1
    assert "cannot be written; make room" in answer.out
    assert not list((tmp_path / "out").glob("sub-*"))
    assert not list((tmp_path / "out").rglob("*.part"))
