"""Files that git-annex or Git LFS did not fetch are missing, and not nothing."""

import re

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.ingest import ingest

LINK = "a link to a file that is not there; fetch it (git-annex: git annex get) or remove it"


@pytest.fixture
def lab(tmp_path):
    """Runs ingest on what scanners wrote to `scans`."""

    def run():
        return ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv")

    return run


@pytest.fixture
def scans(tmp_path):
    return tmp_path / "scans"


def drop(paths):
    """What `git annex drop` leaves of files."""
    for path in paths:
        path.unlink()
        path.symlink_to(f"../.git/annex/objects/{path.name}")
    return paths


def test_a_flair_that_was_not_fetched_is_told_once_with_its_patient(lab, scans):
    scanner.siemens_trace(scans)
    first, *_ = drop(scanner.flair(scans))
    (patient,) = lab().patients
    assert (patient.outcome, patient.reason) == (
        "written",
        f"no FLAIR; series without a number lost: {first}: {LINK}",
    )
    assert [(line.lost, line.n_files) for line in patient.series] == [(False, 16), (True, 8)]


def test_diffusion_that_was_not_fetched_refuses_its_patient_and_the_others_go_on(lab, scans):
    scanner.flair(scans / "A", PatientID="A", StudyInstanceUID="1.2.1")
    first, *_ = drop(scanner.siemens_trace(scans / "A"))
    scanner.siemens_trace(scans / "B", PatientID="B", StudyInstanceUID="1.2.2")
    lines = {line.outcome: line.reason for line in lab().patients}
    assert lines == {
        "refused": f"no diffusion series can be used (series without a number: {first}: {LINK})",
        "written": "no FLAIR",
    }


def test_a_folder_of_which_nothing_was_fetched_is_one_line(lab, scans):
    for name in "AB":
        scanner.siemens_trace(scans / name, PatientID=name, StudyInstanceUID=f"1.2.{ord(name)}")
    folder = drop(scanner.siemens_trace(scans / "C"))[0].parent
    report = lab()
    assert report.damaged_files == (f"{folder}: 16 files, each {LINK}",)
    assert [line.outcome for line in report.patients] == ["written", "written"]


def test_where_nothing_at_all_was_fetched_the_one_line_says_what_to_do(lab, scans):
    drop(scanner.siemens_trace(scans))
    with pytest.raises(ImageError, match=rf"no DICOM image found \(no file, 16 damaged; .*{re.escape(LINK)}\)"):
        lab()


@pytest.mark.parametrize(
    ("pointer", "command"),
    [
        ("/annex/objects/MD5E-s33000--0123", "git annex get"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_pointer_in_place_of_a_file_is_no_other_file(lab, scans, pointer, command):
    scanner.siemens_trace(scans)
    for path in scanner.flair(scans):
        path.write_text(pointer)
    (patient,) = lab().patients
    assert command in patient.reason


def test_a_text_that_was_not_fetched_is_no_scan(lab, scans):
    scanner.siemens_trace(scans)
    (scans / "README.md").symlink_to("nowhere")
    report = lab()
    assert [line.reason for line in report.patients] == ["no FLAIR"]
    assert report.left_files == {"no DICOM by its name, and not there": 1}
