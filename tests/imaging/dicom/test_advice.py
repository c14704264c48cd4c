"""What ingest advises, a user can follow."""

import pytest
from typer.testing import CliRunner

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.cli.app import app
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.dicom.ingest import ingest


@pytest.fixture
def lab(tmp_path):
    """Runs ingest on what scanners wrote to `scans`."""

    def run(**options):
        return ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv", **options).patients

    return run


@pytest.fixture
def command(tmp_path):
    """Runs the command as a user does: exit code and what it said, without line breaks."""

    def run(*options):
        result = CliRunner().invoke(app, ["ingest", str(tmp_path / "scans"), str(tmp_path / "bids"), *options])
        return result, " ".join(result.output.split())

    return run


def test_a_tolerance_that_would_not_do_is_told_with_what_is_missing_beside_it(lab, tmp_path):
    scanner.siemens_trace(tmp_path / "scans", b=(1500,))
    (patient,) = lab()
    remaining = "b-values 1500 found; b0 of one day with 1000 +- 500 is needed"
    assert patient.reason == (
        f"b-values 1500 found; 1000 +- 300 is needed; with --b-tolerance 500 there would remain: {remaining}"
    )
    (patient,) = lab(b_values=BValues(tolerance_s_mm2=500.0))
    assert patient.reason == remaining


def test_a_tolerance_for_a_series_that_cannot_be_converted_is_not_said_to_do(lab, tmp_path):
    scanner.siemens_trace(tmp_path / "scans", b=(0, 1500))[4].unlink()
    (patient,) = lab()
    assert "would take it" not in patient.reason
    assert "with --b-tolerance 500 there would remain: no diffusion series can be used" in patient.reason


def test_the_next_command_asks_for_the_b_value_that_was_taken(command, tmp_path):
    scanner.siemens_trace(tmp_path / "scans", b=(0, 1500))
    result, said = command("--b-tolerance", "500")
    assert result.exit_code == 0, said
    assert said.endswith("bids-preprocessed --b-tolerance 500")


def test_where_nothing_was_written_nothing_is_to_be_filled_in(command, tmp_path):
    scanner.siemens_trace(tmp_path / "scans", b=(0,))
    result, said = command()
    assert "next:" not in said
    assert "1 of 1 patients refused (above); nothing was written" in f"{said} {result.exception}"


def test_patients_of_an_earlier_run_are_not_said_to_be_written_by_this_one(command, tmp_path):
    scanner.siemens_trace(tmp_path / "scans" / "A", PatientID="A", StudyInstanceUID="1.2.1")
    command()
    scanner.siemens_trace(tmp_path / "scans" / "B", PatientID="B", StudyInstanceUID="1.2.2", b=(0,))
    result, said = command()
    assert "1 of 2 patients refused (above); the others were there already" in f"{said} {result.exception}"
