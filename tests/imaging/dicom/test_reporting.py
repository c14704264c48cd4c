"""An answer as DICOM: it belongs to the patient's study, says the same, and is read by others' tools."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.errors import InputError
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.imaging.dicom.reporting import PICTURE, REPORT, Finding, need_highdicom, taken_files, write_answer

FINDINGS = (Finding(180.0, 0.123456, "no"), Finding(270.0, 0.75, "cannot tell"))


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, ...]:
    """The files of the series that ingest took."""
    scanner.siemens_trace(tmp_path / "scans")
    scanner.flair(tmp_path / "scans")
    scanner.siemens_adc(tmp_path / "scans")
    ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv")
    return taken_files(tmp_path / "scans", tmp_path / "key.tsv")["sub-0001"]


def write(folder: Path, sources: tuple[Path, ...], *, told: tuple[Finding, ...] = FINDINGS) -> dict[str, Dataset]:
    stream = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 128, np.uint8)).save(stream, format="png")
    write_answer(
        folder, sources, hemisphere="right", findings=told, remarks=["uncertain"], model="arm chain", error_rate=0.1,
        picture=stream.getvalue(),
    )  # fmt: skip
    return {name: dcmread(folder / name) for name in (REPORT, PICTURE)}


def test_report_and_picture_belong_to_the_study_and_say_what_was_told(
    tmp_path: Path, sources: tuple[Path, ...]
) -> None:
    made = write(tmp_path / "out", sources)

    for dataset in made.values():
        assert (dataset.StudyInstanceUID, dataset.PatientID) == ("1.2.826.0.1.1", scanner.SECRETS["PatientID"])
        assert "research only" in dataset.SeriesDescription
    report = made[REPORT]
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    group = [item for item in walk(report) if item.get("ValueType") in ("NUM", "CODE")]
    numbers = [float(i.MeasuredValueSequence[0].NumericValue) for i in group if i.ValueType == "NUM"]
    codes = [i.ConceptCodeSequence[0].CodeMeaning for i in group if i.ValueType == "CODE"]
    assert numbers == [0.1235, 0.75]
    assert [code for code in codes if code in ("Yes", "No", "Undetermined")] == ["No", "Undetermined"]
    assert "Right" in codes
    referenced = {i.ReferencedSOPInstanceUID for i in walk(report) if "ReferencedSOPInstanceUID" in i}
    assert {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in sources} == referenced
    assert made[PICTURE].pixel_array.shape == (40, 60, 3)


def test_the_same_answer_is_the_same_instance_and_another_is_another(tmp_path: Path, sources: tuple[Path, ...]) -> None:
    once, again = write(tmp_path / "1", sources), write(tmp_path / "2", sources)
    other = write(tmp_path / "3", sources, told=(Finding(270.0, 0.5, "no"),))
    for name in (REPORT, PICTURE):
        assert once[name].SOPInstanceUID == again[name].SOPInstanceUID != other[name].SOPInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="apt-get install dicom3tools")
def test_dciodvfy_finds_no_error(tmp_path: Path, sources: tuple[Path, ...]) -> None:
    write(tmp_path / "out", sources)
    for name in (REPORT, PICTURE):
        done = subprocess.run(["dciodvfy", tmp_path / "out" / name], capture_output=True, text=True, check=False)
        assert "Error" not in done.stderr, done.stderr


def test_without_highdicom_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r'pip install "tissueclock\[dicom\]"'):
        need_highdicom()


def walk(item: Dataset) -> list[Dataset]:
    """A dataset and all items in it."""
    inner = [each for element in item if element.VR == "SQ" for part in element.value for each in walk(part)]
    return [item, *inner]
