"""DICOM out, patient by patient: one who cannot be written stops nobody, and nothing of an earlier run is left."""

from pathlib import Path

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.answering.answers import Answer
from tissueclock.answering.incoming import key_file
from tissueclock.cli import answers
from tissueclock.errors import InputError
from tissueclock.imaging.dicom.ingest import ingest


def test_each_patient_s_dicom_is_written_or_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scanner.siemens_trace(scans)
    scanner.flair(scans)
    out.joinpath(answers.WORK).mkdir(parents=True)
    ingest(scans, tmp_path / "bids", key_file=key_file(out / answers.WORK))
    stale = out / "dicom" / "sub-0002"
    stale.mkdir(parents=True)
    (stale / "report.dcm").write_bytes(b"of an earlier run")
    told = [
        Answer("sub-0001", hemisphere="left"),
        Answer("sub-0002", "a reason"),
        Answer("sub-0003", hemisphere="right"),
    ]

    with pytest.raises(InputError, match="no DICOM could be written of 1 patients"):
        answers._write_dicom(scans, out, told, {}, {}, model="m", error_rate=0.1)

    assert [path.relative_to(out).as_posix() for path in out.rglob("*.dcm")] == ["dicom/sub-0001/report.dcm"]
    assert "no DICOM of sub-0003" in " ".join(capsys.readouterr().out.split())
