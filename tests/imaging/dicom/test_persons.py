"""A placeholder is no evidence of who somebody is."""

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.storage.tsv import read_rows, write_rows

NOBODY = {"PatientID": "ANONYMOUS", "PatientName": "ANON^PATIENT", "PatientBirthDate": "19000101"}


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


class Lab:
    """Runs ingest on what scanners wrote."""

    def __init__(self, folder):
        self.scans, self.bids, self.key = folder / "scans", folder / "bids", folder / "key.tsv"

    def ingest(self):
        return ingest(self.scans, self.bids, key_file=self.key).patients

    def keyed(self):
        return [row.cells for row in read_rows(self.key, required=[])]

    def study(self, name, write=scanner.siemens_trace, **tags):
        write(self.scans / name, **(NOBODY | {"StudyInstanceUID": f"1.2.{name}", "FrameOfReferenceUID": name} | tags))


def outcomes(patients):
    return [(line.outcome, line.reason) for line in patients]


@pytest.mark.parametrize("name", ["ANONYMOUS", "Anon", "UNKNOWN", "none", "PATIENT", "0", "0000", "XXXX", " "])
def test_studies_under_a_placeholder_are_patients_of_their_own(lab, name):
    lab.study("1", PatientID=name)
    lab.study("2", PatientID=name, StudyDate="20240207")
    patients = lab.ingest()
    assert outcomes(patients) == [("written", "no FLAIR")] * 2
    assert patients[0].remarks == (
        "the patient ID is missing or a placeholder; a study is taken for a patient by StudyInstanceUID",
    )


def test_studies_of_one_frame_of_reference_are_one_patient_and_the_key_says_so(lab):
    lab.study("1")
    lab.study("2", scanner.flair, FrameOfReferenceUID="1")
    (patient,) = lab.ingest()
    assert (patient.outcome, patient.reason) == ("written", "")
    assert patient.remarks[0].endswith("2 studies are taken for one patient's by FrameOfReferenceUID")
    (row,) = lab.keyed()
    assert (row["study_uid"], row["joined_studies"], row["joined_by"]) == (
        "1.2.1",
        "1.2.1 1.2.2",
        "FrameOfReferenceUID",
    )


@pytest.mark.parametrize(
    "tags", [{"StudyDate": "20240207"}, {"PatientName": "Somebody"}], ids=["another week", "another name"]
)
def test_a_frame_of_reference_does_not_join_what_time_or_name_contradict(lab, tags):
    lab.study("1", PatientName="Zykerman")
    lab.study("2", FrameOfReferenceUID="1", **tags)
    assert len(lab.ingest()) == 2


def test_a_study_that_was_joined_keeps_its_patient_when_it_comes_alone(lab):
    lab.study("1")
    lab.study("2", scanner.flair, FrameOfReferenceUID="1")
    lab.ingest()
    for path in (lab.scans / "1").rglob("IM*"):
        path.unlink()
    assert [(line.subject, line.outcome) for line in lab.ingest()] == [("sub-0001", "kept")]


def test_a_placeholder_beside_a_real_name_is_no_second_person(lab):
    lab.study("1", PatientID="A", PatientName="Zykerman", PatientBirthDate="19430217")
    lab.study("2", scanner.flair, PatientID="A", StudyInstanceUID="1.2.1")
    assert outcomes(lab.ingest()) == [("written", "")]


def test_a_placeholder_between_two_names_does_not_make_them_one_person(lab):
    scanner.siemens_trace(lab.scans, 3, PatientName="Zykerman")
    scanner.siemens_adc(lab.scans, 4, PatientName="ANONYMOUS")
    scanner.flair(lab.scans, 8, PatientName="Somebody")
    assert lab.ingest()[0].reason.startswith("series 3 and series 8 have one patient ID but two names")


def test_a_key_in_which_a_placeholder_is_a_patient_is_not_added_to(lab):
    columns = ["participant_id", "patient_id", "issuer", "study_uid", "patient_name", "birth_date", "study_dates"]
    old = {"participant_id": "sub-0001", "patient_id": "ANONYMOUS", "study_dates": "20240131"}
    write_rows(lab.key, columns=columns, rows=[old])
    lab.study("1")
    with pytest.raises(ImageError, match=r"key\.tsv: sub-0001 stands for all patients that are called 'ANONYMOUS'"):
        lab.ingest()
