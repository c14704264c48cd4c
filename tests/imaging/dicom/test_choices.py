"""Duplicates are chosen by patient: a row of a table, and what is wrong with one."""

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.cli.app import app
from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.dicom.choices import read_duplicates
from tissueclock.imaging.dicom.ingest import ingest


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


class Lab:
    """One patient with two diffusion series of one study, 3 and 13, seeds 0 and 5; ingest with a table of rows."""

    def __init__(self, folder):
        self.folder, self.scans, self.bids = folder, folder / "scans", folder / "bids"
        scanner.siemens_trace(self.scans, 3, seed=0)
        scanner.siemens_trace(self.scans, 13, seed=5)

    def table(self, *rows, header="participant_id\trole\ttake"):
        path = self.folder / "choices.tsv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    def ingest(self, *rows):
        table = read_duplicates(self.table(*rows)) if rows else "refuse"
        return ingest(self.scans, self.bids, key_file=self.folder / "bids_key.tsv", duplicates=table).patients

    def taken(self):
        data = np.asarray(nibabel.load(self.bids / "sub-0001/dwi/sub-0001_dwi.nii.gz").dataobj)
        volumes = {seed: scanner.pixels(seed).transpose(2, 1, 0)[:, ::-1, :] for seed in (0, 5)}
        return next(seed for seed, volume in volumes.items() if np.array_equal(data[..., 0], volume))


@pytest.mark.parametrize(
    ("row", "seed"),
    [
        ("sub-0001\tdwi\tfirst", 0),
        ("sub-0001\tdwi\tlast", 5),
        ("sub-0001\tdwi\t3", 0),
        ("sub-0001\tn/a\t13", 5),
        ("sub-0001\tDWI\t1.2.826.0.1.1.13", 5),
    ],
)
def test_a_row_takes_the_series_it_asks_for(lab, row, seed):
    assert lab.ingest()[0].outcome == "refused"  # tells the name
    assert lab.ingest(row)[0].outcome == "written"
    assert lab.taken() == seed


def test_a_patient_without_a_row_is_refused_as_before(lab):
    for number in (3, 13):
        scanner.siemens_trace(lab.scans / "B", number, PatientID="B", StudyInstanceUID="1.2.2")
    lab.ingest()
    lines = lab.ingest("sub-0002\tdwi\tlast")
    assert [(line.subject, line.outcome) for line in lines] == [("sub-0001", "refused"), ("sub-0002", "written")]


def test_each_role_has_a_row_of_its_own(lab):
    for number in (8, 9):
        scanner.flair(lab.scans, number, seed=30 + number)
    lab.ingest()
    (patient,) = lab.ingest("sub-0001\tdwi\t13", "sub-0001\tflair\t8")
    assert [(line.number, line.taken_as) for line in patient.series if line.taken_as] == [(8, "flair"), (13, "dwi")]


def test_b0_and_b1000_that_lie_apart_are_chosen_each(lab):
    for number, b in ((20, 0), (21, 0), (22, 1500), (23, 1500)):
        scanner.siemens_trace(lab.scans / "B", number, b=(b,), PatientID="B", StudyInstanceUID="1.2.2", seed=number)
    lab.ingest()
    subject = next(line.subject for line in lab.ingest() if line.series[0].number == 20)
    table = read_duplicates(lab.table(f"{subject}\tb0\tlast", f"{subject}\tb1000\t22"))
    report = ingest(
        lab.scans, lab.bids, key_file=lab.folder / "bids_key.tsv", duplicates=table, b_values=BValues(1500.0)
    )
    (patient,) = [line for line in report.patients if line.subject == subject]
    assert [(line.number, line.taken_as) for line in patient.series if line.taken_as] == [(21, "b0"), (22, "b1000")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["sub-0001\tdwi\tbest"], "row 2: take 'best' found; first, last, a SeriesNumber"),
        (["sub-0001\tt2\tlast"], "row 2: role 't2' found; dwi, b1000, b0, adc, flair or nothing are allowed"),
        (["sub-0001\tdwi\t3", "sub-0001\tb1000\t4"], r"row 3: sub-0001 b1000 stands in .*row 2, too; once is allowed"),
        (["sub-0007\tdwi\t3"], "row 2: participant sub-0007 is not known"),
        (["sub-0001\tdwi\t99"], "row 2: sub-0001 has no series 99; it has 3, 13"),
    ],
)
def test_a_wrong_row_is_one_line_with_file_and_row_and_nothing_is_written(lab, rows, message):
    lab.ingest()
    with pytest.raises(ImageError, match=rf"choices\.tsv, {message}"):
        lab.ingest(*rows)
    assert not (lab.bids / "sub-0001").exists()


def test_a_series_that_is_no_candidate_is_not_replaced_by_another(lab):
    scanner.flair(lab.scans, 8)
    lab.ingest()
    (patient,) = lab.ingest("sub-0001\tdwi\t8")
    assert patient.reason.endswith("choices.tsv, row 2: series 8 is no candidate for dwi (series 3, series 13)")


def test_a_named_series_that_cannot_be_converted_is_not_replaced_by_another(lab):
    scanner.flair(lab.scans, 8)[4].unlink()
    lab.ingest()
    (patient,) = lab.ingest("sub-0001\tdwi\t3", "sub-0001\tflair\t8")
    assert patient.outcome == "refused"
    assert "row 3: series 8 cannot be taken (a gap of 10.0 mm found" in patient.reason
    assert [line.taken_as for line in patient.series] == ["", "", ""]


def test_one_number_in_two_studies_is_told_apart_by_its_uid(lab):
    scanner.siemens_trace(lab.scans / "again", 3, seed=5, StudyInstanceUID="1.2.99", StudyDate="20240207")
    assert lab.ingest()[0].reason.endswith("; the list of every series has their SeriesInstanceUID")
    assert "2 series have number 3; give a SeriesInstanceUID" in lab.ingest("sub-0001\tdwi\t3")[0].reason
    uids = [line.split("\t")[-1] for line in (lab.folder / "bids_key.tsv.series.tsv").read_text().splitlines()]
    assert "1.2.99.3" in uids
    lab.ingest("sub-0001\tdwi\t1.2.99.3")
    assert lab.taken() == 5


def test_a_row_for_a_patient_who_is_there_already_is_said_to_have_no_effect(lab):
    lab.ingest()
    lab.ingest("sub-0001\tdwi\t3")
    (patient,) = lab.ingest("sub-0001\tdwi\t13")
    assert (patient.outcome, len(patient.remarks)) == ("kept", 1)
    assert lab.taken() == 0


def test_the_command_takes_a_word_or_a_table_and_says_so_of_anything_else(lab):
    def run(value):
        return CliRunner().invoke(app, ["ingest", str(lab.scans), str(lab.bids), "--duplicates", value])

    assert "is 'missing.tsv', and no such file is there; allowed: refuse, first, last" in str(
        run("missing.tsv").exception
    )
    run("refuse")
    assert run(str(lab.table("sub-0001\tdwi\tlast"))).exit_code == 0
    assert lab.taken() == 5
