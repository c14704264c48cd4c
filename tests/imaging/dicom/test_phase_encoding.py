"""A series of reversed phase encoding is there to correct another's distortion, not to be taken for it."""

import struct

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.imaging.dicom.headers import read_facts
from tissueclock.imaging.dicom.ingest import ingest


@pytest.fixture
def lab(tmp_path):
    """Runs ingest on what scanners wrote to `scans`: the one patient."""

    def run(**options):
        (patient,) = ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv", **options).patients
        return patient

    return run


@pytest.fixture
def scans(tmp_path):
    return tmp_path / "scans"


def csa(positive):
    """A CSA image header with one element before the wanted one."""

    def element(name, value):
        head = struct.pack("<64si4siii", name, 1, b"IS\0\0", 6, 1, 77)
        return head + struct.pack("<4i", 4, 4, 77, 4) + value.ljust(4, b"\0")

    return (
        b"SV10\4\3\2\1"
        + struct.pack("<II", 2, 77)
        + element(b"First", b"7")
        + element(b"PhaseEncodingDirectionPositive", positive)
    )


def with_private(group, creator, element, vr, value, **tags):
    made = scanner.header(**tags)
    made.add_new((group, 0x0010), "LO", creator)
    made.add_new((group, 0x1000 | element), vr, value)
    return made


@pytest.mark.parametrize(
    ("header", "direction"),
    [
        (with_private(0x29, "SIEMENS CSA HEADER", 0x10, "OB", csa(b"1"), InPlanePhaseEncodingDirection="COL"), "AP"),
        (with_private(0x29, "SIEMENS CSA HEADER", 0x10, "OB", csa(b"0"), InPlanePhaseEncodingDirection="ROW"), "LR"),
        (with_private(0x21, "SIEMENS MR SDI 02", 0x1C, "IS", "0", InPlanePhaseEncodingDirection="COL"), "PA"),
        (
            scanner.header(
                Manufacturer="GE MEDICAL SYSTEMS",
                InPlanePhaseEncodingDirection="COL",
                RectilinearPhaseEncodeReordering="REVERSE_LINEAR",
            ),
            "col reverse linear",
        ),
        (scanner.header(SeriesDescription="dwi_PA", InPlanePhaseEncodingDirection="COL"), "PA"),
    ],
    ids=["siemens col", "siemens row", "siemens XA", "ge", "text"],
)
def test_each_maker_tells_its_direction(header, direction):
    assert read_facts(header).phase_encodings == {direction}


def test_a_refusal_of_two_series_says_which_direction_each_has(lab, scans):
    scanner.siemens_trace(scans, 3, SeriesDescription="dwi_AP")
    scanner.siemens_trace(scans, 4, SeriesDescription="dwi_PA")
    expected = "series 3 (phase encoding AP) and series 4 (phase encoding PA) would each do as dwi; one is needed"
    assert lab().reason.startswith(expected)


@pytest.mark.parametrize("texts", [("dwi_AP", "dwi_PA"), ("dwi", "dwi rev"), ("dwi blip up", "dwi blip down")])
def test_a_reversed_b0_is_not_the_b0_of_the_diffusion(lab, scans, texts):
    main, reverse = texts
    scanner.siemens_trace(scans, 2, b=(0,), SeriesDescription=reverse)
    scanner.siemens_trace(scans, 3, b=(0,), SeriesDescription=main)
    scanner.siemens_trace(scans, 4, b=(1000,), SeriesDescription=main)
    assert [line.taken_as for line in lab().series] == ["", "b0", "b1000"]


def test_where_the_only_b0_is_reversed_the_refusal_says_so(lab, scans):
    scanner.siemens_trace(scans, 2, b=(0,), SeriesDescription="dwi_PA")
    scanner.siemens_trace(scans, 3, b=(1000,), SeriesDescription="dwi_AP")
    assert lab().reason.endswith("; series 2 (PA) and series 3 (AP) are of opposite phase encoding")


def test_of_two_directions_the_one_with_a_calibration_scan_is_taken(lab, scans):
    scanner.siemens_trace(scans, 2, SeriesDescription="dwi_PA")
    scanner.siemens_trace(scans, 3, SeriesDescription="dwi_AP")
    scanner.siemens_trace(scans, 4, b=(0,), SeriesDescription="dwi_PA")
    assert [line.taken_as for line in lab().series] == ["", "dwi", ""]
