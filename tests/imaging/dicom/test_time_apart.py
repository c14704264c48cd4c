"""Onset is a matter of hours: FLAIR of another hour than the diffusion series is said to be."""

import json
from datetime import datetime

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.imaging.dicom.headers import read_acquired
from tissueclock.imaging.dicom.ingest import ingest


@pytest.fixture
def lab(tmp_path):
    """A patient whose diffusion is of 10:20; what ingest says, and FLAIR's sidecar."""

    def run(**tags):
        scanner.siemens_trace(tmp_path / "scans")
        scanner.flair(tmp_path / "scans", **tags)
        (patient,) = ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv").patients
        sidecar = tmp_path / "bids/sub-0001/anat/sub-0001_FLAIR.json"
        return patient, json.loads(sidecar.read_text()) if sidecar.exists() else None

    return run


@pytest.mark.parametrize(
    ("tags", "said", "minutes"),
    [
        ({"AcquisitionTime": "115500"}, "1 h 35 min after", 95),
        ({"AcquisitionTime": "072000.5"}, "3 h 0 min before", -180),
        ({"AcquisitionDate": "20240201", "AcquisitionTime": "002000"}, "14 h 0 min after", 840),
        ({"AcquisitionDate": "", "AcquisitionTime": "", "SeriesTime": "132000"}, "3 h 0 min after", 180),
    ],
)
def test_flair_of_another_hour_is_said_in_minutes_and_no_date(lab, tags, said, minutes):
    patient, sidecar = lab(**tags)
    assert patient.outcome == "written"
    assert patient.remarks == (
        f"FLAIR was acquired {said} the diffusion series; it may show another age of the lesion",
    )
    assert sidecar["MinutesAfterDiffusion"] == minutes


def test_flair_of_the_same_hour_is_nothing_to_say(lab):
    patient, sidecar = lab(AcquisitionTime="112000")
    assert patient.remarks == ()
    assert "MinutesAfterDiffusion" not in sidecar


def test_flair_that_is_left_for_its_day_is_said_to_lie_how_far(lab):
    tags = {"StudyInstanceUID": "1.2.99", "StudyDate": "20240207", "AcquisitionDate": "20240207"}
    patient, _ = lab(**tags)
    assert patient.series[1].reason.endswith("; of another day than the diffusion series (168 h 0 min after)")


@pytest.mark.parametrize(
    ("tags", "moment"),
    [
        ({"AcquisitionDateTime": "20240131102005.25+0100"}, datetime(2024, 1, 31, 10, 20, 5)),
        ({"AcquisitionTime": "", "SeriesTime": "1020"}, datetime(2024, 1, 31, 10, 20)),
    ],
)
def test_the_first_tag_that_tells_a_moment_is_believed(tags, moment):
    assert read_acquired(scanner.header(**tags)) == moment
