import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from tissueclock.cohort.arrayfile import ArrayFile
from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.errors import CohortError, StorageError

SHAPE = (2, 4, 3)


def patient(name: str) -> Patient:
    return Patient(name, 200.0, "left", readers={}, extra={})


def half(value: float, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.full((3, *shape), value, dtype=np.float32)


def writer(folder: Path, patients: list[Patient]) -> CohortWriter:
    return CohortWriter(folder, name="x", patients=patients, shape=SHAPE, spacing_mm=(6.0, 2.0, 2.0), seed=0, source={})


def test_a_packed_cohort_opens_with_what_was_put_in(packed: Path, patients: list[Patient]) -> None:
    cohort = Cohort.open(packed, verify=True)
    assert cohort.patients == tuple(patients)
    assert (cohort.name, cohort.shape, cohort.spacing_mm) == ("small", SHAPE, (6.0, 2.0, 2.0))
    assert cohort.hemispheres[:, 2, 1, 3, 2].tolist() == list(range(40))
    assert sorted(path.name for path in packed.iterdir()) == [
        "cohort.json", "hemispheres.npy", "hemispheres.tsv", "participants.tsv",
    ]  # fmt: skip


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writer(tmp_path / "cohort", [patient("a")]):
        raise KeyError("a")
    assert list(tmp_path.iterdir()) == []


def test_a_patient_left_out_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(CohortError, match=r"1 of 2 patients were not added \(first b\)"),
        writer(tmp_path / "cohort", [patient("a"), patient("b")]) as it,
    ):
        it.add("a", half(1), half(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("z", half(1), "patient z is not in the manifest"),
        ("a", half(1, (2, 4, 4)), r"patient a: shape \(3, 2, 4, 4\) found; \(3, 2, 4, 3\) expected"),
        ("a", half(np.nan), "patient a: NaN or a value beyond"),
        ("a", half(1e6), "patient a: NaN or a value beyond"),
    ],
)
def test_a_wrong_patient_or_array_is_named(tmp_path: Path, name: str, left: np.ndarray, message: str) -> None:
    with pytest.raises(CohortError, match=message), writer(tmp_path / "cohort", [patient("a")]) as it:
        it.add(name, left, left)


def test_a_patient_added_twice_is_refused(tmp_path: Path) -> None:
    with writer(tmp_path / "cohort", [patient("a")]) as it:
        it.add("a", half(1), half(1))
        with pytest.raises(CohortError, match="patient a was added before"):
            it.add("a", half(2), half(2))
    assert Cohort.open(tmp_path / "cohort").hemispheres.max() == 1


def test_nobody_and_a_used_folder_are_refused(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(CohortError, match="cohort without a patient"):
        writer(tmp_path / "empty", [])
    with pytest.raises(CohortError, match="exists already"):
        writer(packed, [patient("a")])


def test_a_small_disk_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(StorageError, match="0 MB free on its disk"), writer(tmp_path / "cohort", [patient("a")]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ArrayFile, "write", full)
    with (
        pytest.raises(StorageError, match=r"disk full: \S+cohort cannot be written; make room"),
        writer(tmp_path / "cohort", [patient("a")]) as it,
    ):
        it.add("a", half(1), half(1))
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="file is a file, not a folder"),
        writer(tmp_path / "file" / "cohort", [patient("a")]),
    ):
        pass
