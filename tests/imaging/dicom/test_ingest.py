import gzip
import json
import os
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from scipy.stats import gmean

from tests.imaging.dicom import dicom_files as scanner
from tests.shared_data import SHARED_DATA
from tissueclock.errors import BusyError, ImageError, StorageError
from tissueclock.imaging.bvalues import BValues, geometric_mean, pick_b
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.imaging.volume import read_volumes
from tissueclock.storage.locks import hold
from tissueclock.storage.tsv import read_rows, write_rows

real_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA}: no real scans here")


@pytest.fixture
def lab(tmp_path):
    """A folder that scanners write to, and what ingest makes of it."""
    return Lab(tmp_path)


class Lab:
    def __init__(self, folder: Path) -> None:
        self.scans, self.bids, self.key = folder / "scäns & co", folder / "bids", folder / "private" / "key.tsv"

    def ingest(self, **options):
        return ingest(self.scans, self.bids, key_file=self.key, **options)

    def image(self, name: str):
        return nibabel.load(self.bids / name)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.bids)) for path in self.bids.rglob("*") if path.is_file())

    def bvals(self, name: str = "sub-0001/dwi/sub-0001_dwi.bval") -> list[float]:
        return [float(word) for word in (self.bids / name).read_text().split()]


def as_nifti(volume: np.ndarray) -> np.ndarray:
    """Slices, rows, columns of DICOM as columns, rows from the feet of the image, slices: dcm2niix's order."""
    return volume.transpose(2, 1, 0)[:, ::-1, :]


@pytest.mark.parametrize(
    ("write", "seeds", "bvals"),
    [
        (scanner.siemens_trace, [0, 1], [0, 1000]),
        (scanner.siemens_directions, [10, 11, 12, 13], [0, 1000, 1000, 1000]),
        (scanner.ge_dwi, [40, 41], [0, 1000]),  # dcm2niix takes it apart and gives one half no b-value
        (scanner.philips_dwi, [50, 51, 52, 53], [0, 1000, 1000, 1000]),
        (lambda path: scanner.philips_dwi(path, private_only=True), [50, 51, 52, 53], [0, 1000, 1000, 1000]),
        (scanner.canon_dwi, [60, 61], [0, 1000]),
        (scanner.enhanced_dwi, [70, 71], [0, 1000]),
        (lambda path: scanner.enhanced_dwi(path, Manufacturer="Philips"), [70, 71], [0, 1000]),  # dcm2niix: 0, 2000
    ],
    ids=[
        "siemens-trace",
        "siemens-directions",
        "ge",
        "philips",
        "philips-private",
        "canon",
        "enhanced",
        "enhanced-philips",
    ],
)
def test_every_vendors_voxels_arrive_with_their_b_values(lab, write, seeds, bvals):
    write(lab.scans)
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "no FLAIR")
    data = np.asarray(lab.image("sub-0001/dwi/sub-0001_dwi.nii.gz").dataobj)
    assert lab.bvals() == bvals
    for i, seed in enumerate(seeds):
        assert np.array_equal(data[..., i], as_nifti(scanner.pixels(seed)))


def test_volumes_that_the_converter_mixes_up_are_refused(lab):
    scanner.enhanced_dwi(lab.scans, Manufacturer="SIEMENS")  # as syngo, but without its XA software version
    (patient,) = lab.ingest().patients
    assert patient.reason == (
        "no diffusion series can be used (series 12: "
        "dcm2niix mixed slices of b 0, 1000 into one volume; export it as classic DICOM)"
    )


def test_an_enhanced_object_for_each_volume_is_one_series(lab):
    for i, b in enumerate((0.0, 1000.0)):
        path = scanner.enhanced_dwi(lab.scans, b=(b,), Manufacturer="SIEMENS", SoftwareVersions="syngo MR XA30")
        volume = dcmread(path)
        volume.SOPInstanceUID = volume.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.7.{i}"
        volume.InstanceNumber = volume.AcquisitionNumber = i + 1
        volume.PixelData = scanner.pixels(70 + i).astype("<u2").tobytes()
        volume.save_as(lab.scans / f"volume {i}")
        path.unlink()
    (patient,) = lab.ingest().patients
    assert patient.outcome == "written", patient.reason
    assert lab.bvals() == [0, 1000]
    data = np.asarray(lab.image("sub-0001/dwi/sub-0001_dwi.nii.gz").dataobj)
    assert np.array_equal(data[..., 1], as_nifti(scanner.pixels(71)))


def test_a_whole_stroke_protocol_becomes_a_bids_folder(lab):
    scanner.siemens_directions(lab.scans)
    scanner.siemens_trace(lab.scans)
    scanner.siemens_adc(lab.scans)
    scanner.flair(lab.scans)
    for number, word in ((1, "LOCALIZER"), (9, "FA")):
        tags = scanner.SIEMENS | {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", word]}
        scanner.write_series(lab.scans, number, [(scanner.pixels(number), [])], **tags)
    (patient,) = lab.ingest().patients
    assert lab.files() == [
        "README",
        "dataset_description.json",
        "participants.json",
        "participants.tsv",
        "sub-0001/anat/sub-0001_FLAIR.json",
        "sub-0001/anat/sub-0001_FLAIR.nii.gz",
        "sub-0001/dwi/sub-0001_ADC.json",
        "sub-0001/dwi/sub-0001_ADC.nii.gz",
        "sub-0001/dwi/sub-0001_dwi.bval",
        "sub-0001/dwi/sub-0001_dwi.bvec",
        "sub-0001/dwi/sub-0001_dwi.json",
        "sub-0001/dwi/sub-0001_dwi.nii.gz",
    ]
    assert [(line.number, line.taken_as, line.reason) for line in patient.series] == [
        (1, "", "a localiser (ImageType LOCALIZER)"),
        (2, "", "b 0, 1000; another series was taken as dwi"),
        (3, "dwi", "b 0, 1000 (by private tags)"),
        (4, "adc", "ImageType ADC (by standard tags)"),
        (8, "flair", "TI 2500, TE 93 ms (by standard tags)"),
        (9, "", "a tensor map (ImageType FA)"),
    ]
    (row,) = read_rows(lab.bids / "participants.tsv", required=["participant_id"])
    assert row.cells == {"participant_id": "sub-0001", "onset_to_mri_min": "n/a", "lesion_side": "n/a"}
    facts = json.loads((lab.bids / "sub-0001/dwi/sub-0001_dwi.json").read_text())
    assert (facts["EchoTime"], facts["Manufacturer"], facts["ManufacturersModelName"]) == (0.089, "Siemens", "Skyra")
    assert np.array_equal(
        np.asarray(lab.image("sub-0001/anat/sub-0001_FLAIR.nii.gz").dataobj), as_nifti(scanner.pixels(30))
    )


def test_b0_and_trace_of_two_series_are_kept_apart(lab):
    scanner.siemens_trace(lab.scans, 2, b=(0,), ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"])
    scanner.siemens_trace(lab.scans, 3, b=(1000,), seed=5)
    (patient,) = lab.ingest().patients
    assert [line.taken_as for line in patient.series] == ["b0", "b1000"]
    assert lab.bvals("sub-0001/dwi/sub-0001_acq-b0_dwi.bval") == [0]
    assert lab.bvals("sub-0001/dwi/sub-0001_acq-trace_dwi.bval") == [1000]
    assert lab.image("sub-0001/dwi/sub-0001_acq-trace_dwi.nii.gz").shape == (20, 24, 8)


def test_one_series_that_holds_all_comes_before_a_trace_without_b0(lab):
    scanner.siemens_directions(lab.scans, 2)
    scanner.siemens_trace(lab.scans, 3, b=(1000,))
    (patient,) = lab.ingest().patients
    assert [line.taken_as for line in patient.series] == ["dwi", ""]


@pytest.mark.parametrize(
    ("b", "line"),
    [
        ((0, 1500), "b-values 0, 1500 found; 1000 +- 300 is needed; --b-tolerance 500 would take it"),
        ((0,), "b-values 0 found; 1000 +- 300 is needed"),
        ((1000,), "b-values 1000 found; b0 of one day with 1000 +- 300 is needed"),
    ],
)
def test_a_missing_b_value_refuses_the_patient(lab, b, line):
    scanner.siemens_trace(lab.scans, b=b)
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("refused", line)
    assert lab.files() == ["dataset_description.json"]


def test_a_wider_tolerance_takes_what_it_reaches(lab):
    scanner.siemens_trace(lab.scans, b=(0, 1500))
    (patient,) = lab.ingest(b_values=BValues(tolerance_s_mm2=500.0)).patients
    assert patient.outcome == "written"
    assert lab.bvals() == [0, 1500]


def test_a_patient_without_diffusion_is_refused_and_the_others_go_on(lab):
    scanner.flair(lab.scans / "a", PatientID="A", StudyInstanceUID="1.2.1")
    scanner.siemens_trace(lab.scans / "b", PatientID="B", StudyInstanceUID="1.2.2")
    outcomes = {line.outcome: line.reason for line in lab.ingest().patients}
    assert outcomes["refused"] == "no diffusion series found among 1; b0 and b1000 are needed"
    assert outcomes["written"] == "no FLAIR"


@pytest.mark.parametrize(("duplicates", "seed"), [("first", 0), ("last", 5)])
def test_of_two_equal_series_the_one_asked_for_is_taken(lab, duplicates, seed):
    scanner.siemens_trace(lab.scans, 13, seed=5)
    scanner.siemens_trace(lab.scans, 3, seed=0)
    lab.ingest(duplicates=duplicates)
    data = np.asarray(lab.image("sub-0001/dwi/sub-0001_dwi.nii.gz").dataobj)
    assert np.array_equal(data[..., 0], as_nifti(scanner.pixels(seed)))


@pytest.mark.parametrize(
    ("write", "role"), [(scanner.siemens_trace, "dwi"), (scanner.flair, "flair")], ids=["dwi", "flair"]
)
def test_two_equal_series_refuse_the_patient_with_both_numbers(lab, write, role):
    scanner.siemens_trace(lab.scans, 2)
    write(lab.scans, 3)
    write(lab.scans, 13, StudyInstanceUID="1.2.99")
    if role == "dwi":
        shutil.rmtree(lab.scans / "002 Zykérman")
    (patient,) = lab.ingest().patients
    expected = (
        f"series 3 and series 13 would each do as {role}; one is needed; --duplicates first or last takes one of every "
        "patient's, --duplicates FILE.tsv (participant_id, role, take) this patient's"
    )
    assert (patient.outcome, patient.reason) == ("refused", expected)


def test_two_series_of_one_shell_are_equal_whatever_the_rounding(lab):
    scanner.siemens_trace(lab.scans, 3, b=(0, 928))
    scanner.siemens_trace(lab.scans, 4, b=(0, 930))
    (patient,) = lab.ingest().patients
    assert patient.reason.startswith("series 3 and series 4 would each do as dwi")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", None),
        ("ImagePositionPatient", None),
        ("PixelSpacing", None),
        ("PixelSpacing", [0, 0]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_series_whose_place_or_size_no_header_tells_is_refused(lab, keyword, value):
    for path in scanner.siemens_trace(lab.scans):
        image = dcmread(path)
        delattr(image, keyword)
        if value is not None:
            setattr(image, keyword, value)
        image.save_as(path)
    (patient,) = lab.ingest().patients
    assert patient.outcome == "refused"
    assert f"files without {keyword} (or 0); where their voxels lie is not known" in patient.reason


def test_a_lab_s_own_words_on_its_folder_stay(lab):
    lab.bids.mkdir()
    for name in ("README.md", "participants.json"):
        (lab.bids / name).write_text("{}")
    scanner.siemens_trace(lab.scans)
    lab.ingest()
    assert (lab.bids / "participants.json").read_text() == "{}"
    assert not (lab.bids / "README").exists()


def test_a_flair_of_several_images_is_left(lab):
    scanner.siemens_trace(lab.scans)
    one, other = scanner.flair(lab.scans, 8), scanner.flair(lab.scans, 9, seed=31)
    for i, path in enumerate(other):
        image = dcmread(path)
        image.SeriesInstanceUID = dcmread(one[0]).SeriesInstanceUID
        image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = 8, 2, len(one) + i + 1
        image.save_as(path)
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "no FLAIR")
    assert patient.series[1].reason == "FLAIR of 2 images; one is needed"


def test_a_flair_of_another_day_is_left(lab):
    scanner.siemens_trace(lab.scans)
    scanner.flair(lab.scans, 13, StudyInstanceUID="1.2.99", StudyDate="20240207")
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "no FLAIR")
    assert patient.series[1].reason.startswith("TI 2500, TE 93 ms; of another day than the diffusion series")


def test_two_studies_of_one_patient_are_two_candidates(lab):
    scanner.siemens_trace(lab.scans, 3)
    scanner.siemens_trace(lab.scans, 4, StudyInstanceUID="1.2.99", StudyDate="20240207")
    (patient,) = lab.ingest().patients
    assert patient.reason.startswith("series 3 and series 4 would each do as dwi")


def test_a_truncated_file_leaves_its_series_and_is_named(lab):
    path = scanner.siemens_trace(lab.scans)[4]
    path.write_bytes(path.read_bytes()[:-200])
    scanner.flair(lab.scans)
    scanner.siemens_trace(lab.scans / "b", PatientID="B", StudyInstanceUID="1.2.2")
    report = lab.ingest()
    (refused,) = [line for line in report.patients if line.outcome == "refused"]
    assert refused.reason.startswith(f"no diffusion series can be used (series 3: {path}: truncated (")
    assert [line.outcome for line in report.patients if line is not refused] == ["written"]


def cut(path: Path, n_bytes: int) -> Path:
    """Ends a file within its header: at 400 before the patient's ID, at 900 after it, at 1200 after the series' UID."""
    path.write_bytes(path.read_bytes()[:n_bytes])
    return path


@pytest.mark.parametrize(("n_bytes", "name"), [(400, "series without a number"), (900, "series without a number"),
                                               (1200, "series 8")])  # fmt: skip
def test_a_flair_of_damaged_files_is_told_where_the_patient_is_written_without_it(lab, n_bytes, name):
    scanner.siemens_trace(lab.scans)
    first, *_ = [cut(path, n_bytes) for path in scanner.flair(lab.scans)]
    report = lab.ingest()
    (patient,) = report.patients
    damage = f"{first}: truncated DICOM (the header ends before the size of the image)"
    assert (patient.outcome, patient.reason) == ("written", f"no FLAIR; {name} lost: {damage}")
    lost = patient.series[-1]
    assert (lost.name, lost.lost, lost.n_files, lost.taken_as, lost.reason) == (name, True, 8, "", damage)
    assert damage in [row.cells["because"] for row in read_rows(report.log_file, required=[])]


def test_diffusion_of_damaged_files_refuses_the_patient_and_names_them(lab):
    first, *_ = [cut(path, 900) for path in scanner.siemens_trace(lab.scans)]
    scanner.flair(lab.scans)
    (patient,) = lab.ingest().patients
    assert patient.outcome == "refused"
    assert patient.reason.startswith(f"no diffusion series can be used (series without a number: {first}: truncated")


def test_one_file_that_ends_in_its_header_leaves_its_series(lab):
    scanner.siemens_trace(lab.scans)
    cut(scanner.flair(lab.scans)[-1], 1200)
    (patient,) = lab.ingest().patients
    assert [(line.taken_as, line.lost) for line in patient.series] == [("dwi", False), ("", True)]


def test_a_localiser_of_damaged_pixels_is_no_loss(lab):
    scanner.siemens_trace(lab.scans)
    tags = scanner.SIEMENS | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    path = scanner.write_series(lab.scans, 1, [(scanner.pixels(1), [])], **tags)[0]
    path.write_bytes(path.read_bytes()[:-200])
    (patient,) = lab.ingest().patients
    assert (patient.reason, [line.lost for line in patient.series]) == ("no FLAIR", [False, False])


def test_damaged_files_of_nobody_known_make_no_patient_and_stand_in_the_log(lab):
    scanner.siemens_trace(lab.scans / "a", PatientID="A", StudyInstanceUID="1.2.1")
    stranger = [cut(path, 900) for path in scanner.flair(lab.scans / "b", PatientID="B", StudyInstanceUID="1.2.2")]
    report = lab.ingest()
    assert [line.subject for line in report.patients] == ["sub-0001"]
    assert [line.split(": ")[0] for line in report.damaged_files] == sorted(map(str, stranger))
    logged = [row.cells for row in read_rows(lab.ingest().log_file, required=[])]
    assert [row["because"] for row in logged if row["participant_id"] == "n/a"] == list(report.damaged_files)


def test_a_missing_slice_refuses_the_volume(lab):
    scanner.siemens_trace(lab.scans)[4].unlink()
    (patient,) = lab.ingest().patients
    assert patient.reason == (
        "no diffusion series can be used (series 3: 1 of 8 slices have 1 images, the others 2; a volume is incomplete)"
    )


def test_a_flair_with_a_gap_is_left_and_the_patient_written(lab):
    scanner.siemens_trace(lab.scans)
    scanner.flair(lab.scans)[4].unlink()
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "no FLAIR")
    assert patient.series[1].reason == "a gap of 10.0 mm found where slices lie 5.0 mm apart; a slice is missing"


def test_a_sagittal_flair_in_3d_keeps_its_slices(lab):
    scanner.siemens_trace(lab.scans)
    scanner.flair(lab.scans, MRAcquisitionType="3D", ImageOrientationPatient=[0, 1, 0, 0, 0, -1], along=(1, 0, 0))
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "")
    data = np.asarray(lab.image("sub-0001/anat/sub-0001_FLAIR.nii.gz").dataobj)
    assert sorted(data.ravel()) == sorted(scanner.pixels(30).ravel())


def test_what_the_converter_takes_for_computed_images_is_left_out_and_said(lab):
    axes = [[0.0, 0.0, 0.0], *np.eye(3).tolist(), [0.0, 0.0, 0.0]]
    volumes = [
        (
            scanner.pixels(50 + i),
            [*scanner.philips_b(b, "NPRSI"[i]), *scanner.standard_b(b), (0x0018, 0x9089, "FD", axes[i])],
        )
        for i, b in enumerate((0, 1000, 1000, 1000, 1000))
    ]
    types = ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]
    scanner.write_series(lab.scans, 601, volumes, **(scanner.PHILIPS | {"ImageType": types}))
    (patient,) = lab.ingest().patients
    assert lab.bvals() == [0, 1000, 1000, 1000]
    assert patient.series[0].reason.endswith("left out: images that dcm2niix takes for computed ones")


def test_where_the_best_series_cannot_be_converted_the_next_best_is_taken(lab):
    scanner.siemens_directions(lab.scans, 2)
    scanner.siemens_trace(lab.scans, 3)[4].unlink()
    (patient,) = lab.ingest().patients
    assert [line.taken_as for line in patient.series] == ["dwi", ""]


def test_two_names_under_one_patient_id_are_refused(lab):
    scanner.siemens_trace(lab.scans, 3)
    scanner.flair(lab.scans, 8, PatientName="Somebody^Else")
    (patient,) = lab.ingest().patients
    assert (
        patient.reason == "series 3 and series 8 have one patient ID but two names or birth dates; one person is needed"
    )


def test_a_middle_name_more_is_the_same_person(lab):
    scanner.siemens_trace(lab.scans, 3)
    scanner.flair(lab.scans, 8, PatientName="ZYKERMAN^OTTILIE^Ida")
    (patient,) = lab.ingest().patients
    assert (patient.outcome, patient.reason) == ("written", "")


def test_text_decides_last_and_the_report_says_so(lab):
    own = {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "ScanningSequence": "RM"}
    for number, b in ((3, 0), (4, 1000)):
        text = {"SeriesDescription": f"DWI Zykerman b{b}"}
        scanner.write_series(lab.scans, number, [(scanner.pixels(number), [])], **(scanner.CANON | own | text))
    (patient,) = lab.ingest().patients
    assert [(line.taken_as, line.reason) for line in patient.series] == [
        ("b0", "no b-value in the tags; the free text says 'DWI' (by free text); b-value by the free text"),
        ("b1000", "no b-value in the tags; the free text says 'DWI' (by free text); b-value by the free text"),
    ]


def test_nothing_of_the_patient_reaches_the_output(lab):
    secret = {
        "SeriesDescription": "Zykerman Ottilie KLINIK-777123",
        "ProtocolName": "Ottilie Weitblick",
        "ManufacturerModelName": "Weitblick 3T",
        "SequenceName": "Zykerman",
        "ImageComments": "Quastenberg Brambach",
        "PatientBirthName": "Quendolin",
        "ReceiveCoilName": "Zykerman",
    }
    scanner.siemens_trace(lab.scans, **(secret | {"SequenceName": "Ottilie"}))
    scanner.siemens_adc(lab.scans, **secret)
    scanner.flair(lab.scans, **secret)
    lab.ingest()
    names = (
        "Zykerman Ottilie 777123 Weitblick Quellgasse Brambach Xaver Quastenberg ACC5512987 WBMR03 SN448812 Quendolin"
    )
    words = [*names.split(), "19430217", "1943-02-17", "20240131", "2024-01-31", "102000", "10:20", "1.2.826"]
    assert len(lab.files()) == 12
    for name in lab.files():
        content = (lab.bids / name).read_bytes()
        content += name.encode() + (gzip.decompress(content) if name.endswith(".gz") else b"")
        found = [word for word in words if word.lower().encode() in content.lower()]
        assert not found, name
    header = lab.image("sub-0001/dwi/sub-0001_dwi.nii.gz").header
    assert all(header[field].item() == b"" for field in ("descrip", "aux_file", "db_name", "intent_name", "data_type"))
    assert not header.extensions
    assert (lab.bids / "sub-0001/dwi/sub-0001_dwi.nii.gz").read_bytes()[3:8] == bytes(5)  # no name, no time


def test_the_key_and_its_log_are_private_whatever_the_umask(lab):
    scanner.siemens_trace(lab.scans)
    before = os.umask(0)
    try:
        report = lab.ingest()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (report.key_file, report.log_file)] == [0o600, 0o600]
    (row,) = read_rows(report.key_file, required=["participant_id"])
    assert row.cells["patient_id"] == "KLINIK-777123"
    assert row.cells["patient_name"] == "Zykerman^Ottilie"
    (logged,) = read_rows(report.log_file, required=["participant_id"])
    assert logged.cells["description"] == "*ep_b1000t | Ottilie ep2d | Zykerman ep2d"


def test_running_again_keeps_numbers_subjects_and_what_the_lab_filled_in(lab):
    for name in "AC":
        scanner.siemens_trace(lab.scans / name, PatientID=name, StudyInstanceUID=f"1.2.{ord(name)}")
    lab.ingest()
    numbers = {row.cells["patient_id"]: row.cells["participant_id"] for row in read_rows(lab.key, required=[])}
    rows = [{**row.cells, "lesion_side": "left"} for row in read_rows(lab.bids / "participants.tsv", required=[])]
    write_rows(lab.bids / "participants.tsv", columns=list(rows[0]), rows=rows)
    before = (lab.bids / "sub-0001/dwi/sub-0001_dwi.nii.gz").stat().st_mtime_ns
    scanner.siemens_trace(lab.scans / "B", PatientID="B", StudyInstanceUID="1.2.66")
    report = lab.ingest()
    assert [line.outcome for line in report.patients] == ["kept", "kept", "written"]
    again = {row.cells["patient_id"]: row.cells["participant_id"] for row in read_rows(lab.key, required=[])}
    assert again == {**numbers, "B": "sub-0003"}
    sides = [row.cells["lesion_side"] for row in read_rows(lab.bids / "participants.tsv", required=[])]
    assert sides == ["left", "left", "n/a"]
    assert (lab.bids / "sub-0001/dwi/sub-0001_dwi.nii.gz").stat().st_mtime_ns == before
    assert len(read_rows(report.log_file, required=[])) == 3


def test_the_same_scans_give_the_same_bytes(lab, tmp_path):
    scanner.siemens_trace(lab.scans)
    lab.ingest()
    ingest(lab.scans, tmp_path / "again", key_file=tmp_path / "again.tsv")
    for name in lab.files():
        assert (lab.bids / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_key_file_inside_the_output_is_refused(lab):
    with pytest.raises(ImageError, match=r"the key file lies inside .*; put it elsewhere"):
        ingest(lab.scans, lab.bids, key_file=lab.bids / "key.tsv")


def test_subjects_of_another_key_are_not_added_to(lab, tmp_path):
    scanner.siemens_trace(lab.scans)
    lab.ingest()
    with pytest.raises(ImageError, match=r"holds sub-0001, which .*other\.tsv does not know"):
        ingest(lab.scans, lab.bids, key_file=tmp_path / "other.tsv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("Zykerman", "A")], "row 2: participant_id 'Zykerman' found; sub-0001 is the form"),
        ([("sub-0001", "A"), ("sub-0001", "B")], "row 3: sub-0001 or its patient is in it twice; once is allowed"),
    ],
)
def test_a_wrong_key_file_is_refused(lab, rows, message):
    columns = ["participant_id", "patient_id", "issuer", "study_uid", "patient_name", "birth_date", "study_dates"]
    write_rows(lab.key, columns=columns, rows=[{"participant_id": one, "patient_id": two} for one, two in rows])
    with pytest.raises(ImageError, match=re.escape(message)):
        lab.ingest()


def test_an_output_that_cannot_be_written_is_one_line(lab, tmp_path):
    scanner.siemens_trace(lab.scans)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written \(.*\)$"):
        ingest(lab.scans, tmp_path / "file" / "bids", key_file=lab.key)


def test_a_full_disk_leaves_nothing_half_written(lab, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    scanner.siemens_trace(lab.scans)
    monkeypatch.setattr("tissueclock.imaging.dicom.conversion.write_text", full)
    with pytest.raises(StorageError, match=r"disk full: \S+sub-0001 cannot be written; make room"):
        lab.ingest()
    assert lab.files() == ["dataset_description.json"]
    monkeypatch.undo()
    assert [line.outcome for line in lab.ingest().patients] == ["written"]


def test_what_a_killed_run_was_writing_is_cleared_away(lab):
    scanner.siemens_trace(lab.scans)
    (lab.bids / ".sub-0001.0a1b2c3d.part" / "dwi").mkdir(parents=True)
    half_key = lab.key.with_name(".key.tsv.0a1b2c3d.part")
    half_key.parent.mkdir()
    half_key.write_text("sub-0001\tZykerman")
    lab.ingest()
    assert not half_key.exists()
    assert sorted(path.name for path in lab.bids.iterdir()) == [
        "README",
        "dataset_description.json",
        "participants.json",
        "participants.tsv",
        "sub-0001",
    ]


def test_two_runs_do_not_give_numbers_at_once(lab):
    scanner.siemens_trace(lab.scans)
    with (
        hold(lab.key.with_name("key.tsv.lock"), what="test"),
        pytest.raises(BusyError, match=r"private: process \d+ is at work on this folder's key\.tsv"),
    ):
        lab.ingest()
    assert not lab.bids.exists()


def test_progress_counts_up_to_the_end(lab):
    scanner.siemens_trace(lab.scans)
    seen = []
    lab.ingest(progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (32, 32)


def test_dcm2niix_that_fails_is_one_line(lab, monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'Error: out of luck'\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr("dcm2niix.bin", str(broken))
    scanner.siemens_trace(lab.scans)
    (patient,) = lab.ingest().patients
    assert patient.reason == (
        "no diffusion series can be used (series 3: dcm2niix failed with exit code 3 (Error: out of luck))"
    )


@real_data
def test_philips_scans_arrive_voxel_for_voxel_in_their_place(tmp_path):
    folder = SHARED_DATA / "philips_dwi"
    ingest(folder / "dicom", tmp_path / "bids", key_file=tmp_path / "key.tsv")
    volumes = read_volumes(tmp_path / "bids/sub-0001/dwi/sub-0001_dwi.nii.gz")
    bvals = np.array((tmp_path / "bids/sub-0001/dwi/sub-0001_dwi.bval").read_text().split(), dtype=np.float64)
    assert bvals.tolist() == [0, 1000, 1000, 1000]
    reference = nibabel.load(folder / "b0.nii.gz")
    to_reference = np.linalg.inv(reference.affine) @ volumes[0].affine
    assert np.allclose(to_reference, [[1, 0, 0, 0], [0, -1, 0, 111], [0, 0, 1, 0], [0, 0, 0, 1]], atol=2e-3)
    expected = np.asarray(reference.dataobj)[:, ::-1, :]
    assert np.allclose(volumes[0].data, expected, rtol=1e-6, atol=0)

    by_direction: dict[str, dict[float, np.ndarray]] = {}
    for path in sorted((folder / "dicom").glob("b1000*")):
        with gzip.open(path) as stream:
            image = dcmread(stream)
        scaled = image.pixel_array * float(image.RescaleSlope)
        by_direction.setdefault(path.name[:11], {})[float(image.ImagePositionPatient[2])] = scaled
    stacks = [np.stack([slices[k] for k in sorted(slices)]) for slices in by_direction.values()]
    trace = geometric_mean([volumes[i].data for i in pick_b(bvals, wanted=1000.0, tolerance=300.0)])
    with np.errstate(divide="ignore"):
        expected = as_nifti(gmean(np.stack(stacks), axis=0))
    assert np.allclose(trace, expected, rtol=1e-5, atol=0)


@real_data
def test_an_enhanced_canon_scan_arrives_voxel_for_voxel_in_its_place(tmp_path):
    folder = SHARED_DATA / "canon_dwi"
    (tmp_path / "scans").mkdir()
    shutil.copy(folder / "dicom_enhanced" / "3000.dcm.gz", tmp_path / "scans")
    where = {"key_file": tmp_path / "key.tsv"}
    (patient,) = ingest(tmp_path / "scans", tmp_path / "bids", **where).patients
    assert patient.reason == "b-values 0, 1500 found; 1000 +- 300 is needed; --b-tolerance 500 would take it"
    (patient,) = ingest(
        tmp_path / "scans", tmp_path / "bids", b_values=BValues(tolerance_s_mm2=500.0), **where
    ).patients
    assert patient.outcome == "written"
    stem = "3000_DTI_PA-ortho_cl"
    made = nibabel.load(tmp_path / "bids/sub-0001/dwi/sub-0001_dwi.nii.gz")
    reference = nibabel.load(folder / f"{stem}.nii.gz")
    assert np.array_equal(np.asarray(made.dataobj), np.asarray(reference.dataobj))
    assert made.get_data_dtype() == reference.get_data_dtype()
    assert np.allclose(made.affine, reference.affine, atol=1e-5)
    bval = (tmp_path / "bids/sub-0001/dwi/sub-0001_dwi.bval").read_text().split()
    assert bval == (folder / f"{stem}.bval").read_text().split()
    bvec = np.loadtxt(tmp_path / "bids/sub-0001/dwi/sub-0001_dwi.bvec")
    assert np.allclose(bvec, np.loadtxt(folder / f"{stem}.bvec"), atol=1e-5)
    content = b"".join(path.read_bytes() for path in (tmp_path / "bids").rglob("*") if path.is_file())
    assert b"cd211006a" not in content
    assert b"GHU" not in content
