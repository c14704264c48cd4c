import gzip
import re
import shutil

import numpy as np
import pytest
from pydicom import dcmread

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.objects import read_file
from tissueclock.imaging.dicom.survey import survey


@pytest.mark.parametrize(
    ("write", "standard_b", "private_b"),
    [
        (scanner.siemens_trace, set(), {0, 1000}),
        (scanner.ge_dwi, set(), {0, 1000}),
        (scanner.philips_dwi, {0, 1000}, {0, 1000}),
        (scanner.canon_dwi, {0, 1000}, set()),
    ],
)
def test_finds_b_values_where_each_vendor_writes_them(tmp_path, write, standard_b, private_b):
    write(tmp_path)
    ((series,),) = survey(tmp_path).patients.values()
    assert (series.facts.standard_b, series.facts.private_b) == (standard_b, private_b)


def test_finds_the_b_values_of_an_enhanced_object_frame_by_frame(tmp_path):
    facts = read_file(scanner.enhanced_dwi(tmp_path)).facts
    assert facts.standard_b == {0.0, 1000.0}
    assert facts.directionality == {"NONE", "ISOTROPIC"}
    assert facts.echo_times_ms == {89.0}


def test_a_private_value_without_its_creator_is_read_where_the_maker_is_known(tmp_path):
    path = scanner.siemens_trace(tmp_path, b=(1000,))[0]
    dataset = dcmread(path)
    del dataset[0x0019, 0x0010]
    dataset.save_as(path)
    assert read_file(path).facts.private_b == {1000.0}


def test_reads_gzipped_files_and_counts_what_is_no_image(tmp_path):
    paths = scanner.flair(tmp_path / "päckchen mit leerzeichen")
    packed = tmp_path / "a.dcm.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    paths[0].unlink()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").touch()
    (tmp_path / "volume.nii.gz").write_bytes(gzip.compress(bytes(400)))
    report = scanner.header(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", SOPInstanceUID="1.2.3")
    del report.Rows, report.Columns
    scanner.save(tmp_path / "report", report)
    directory = scanner.header(SOPClassUID="1.2.840.10008.1.3.10", SOPInstanceUID="1.2.4")
    scanner.save(tmp_path / "DICOMDIR", directory)
    (tmp_path / "copy").write_bytes(paths[1].read_bytes())
    found = survey(tmp_path)
    ((series,),) = found.patients.values()
    assert len(series.files) == scanner.SHAPE[2]
    assert found.left == {"not DICOM": 3, "DICOM, but no image": 1, "DICOMDIR": 1, "a second copy of an image": 1}


def test_two_images_under_one_number_are_two_images(tmp_path):
    paths = scanner.canon_dwi(tmp_path)
    for path in paths:
        image = dcmread(path)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.826.7.1"
        image.save_as(path)
    (tmp_path / "copy").write_bytes(paths[1].read_bytes())
    found = survey(tmp_path)
    ((series,),) = found.patients.values()
    assert len(series.files) == len(paths)
    assert found.left == {"a second copy of an image": 1}


def test_groups_patients_by_id_and_issuer_and_by_study_where_there_is_none(tmp_path):
    scanner.flair(tmp_path / "1", PatientID="A")
    scanner.flair(tmp_path / "2", PatientID="A", IssuerOfPatientID="elsewhere", StudyInstanceUID="1.2.1")
    scanner.flair(tmp_path / "3", PatientID="", StudyInstanceUID="1.2.2")
    scanner.flair(tmp_path / "4", PatientID="", StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.9")
    assert sorted(survey(tmp_path).patients) == [("", "1.2.2"), ("", "1.2.3"), ("A", ""), ("A", "elsewhere")]


def test_series_come_in_the_order_of_their_numbers(tmp_path):
    for number in (12, 3, 101):
        scanner.flair(tmp_path, number)
    ((first, second, third),) = survey(tmp_path).patients.values()
    assert [first.name, second.name, third.name] == ["series 3", "series 12", "series 101"]


@pytest.mark.parametrize("n_bytes", [1, 100, 950])
def test_a_file_without_the_end_of_its_pixels_is_damaged(tmp_path, n_bytes):
    path = scanner.flair(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-n_bytes])
    ((series,),) = survey(tmp_path).patients.values()
    assert re.search(r"IM0001: truncated \(\d+ bytes of pixel data found; 960 are needed\)", series.damage)


def test_a_file_that_ends_in_its_header_is_named(tmp_path):
    paths = scanner.flair(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes()[:500])
    (*_, without_uid) = next(iter(survey(tmp_path).patients.values()))
    assert without_uid.damage == f"{paths[0]}: truncated DICOM (the header ends before the size of the image)"


def test_a_gzip_file_that_ends_early_is_named(tmp_path):
    paths = scanner.flair(tmp_path)
    packed = gzip.compress(paths[0].read_bytes())
    paths[0].write_bytes(packed[: len(packed) // 2])
    (*_, without_uid) = next(iter(survey(tmp_path).patients.values()))
    assert without_uid.damage.startswith(f"{paths[0]}: truncated or damaged gzip")


def test_a_damaged_copy_of_a_whole_file_is_no_damage(tmp_path):
    paths = scanner.flair(tmp_path)
    (tmp_path / "copy").write_bytes(paths[0].read_bytes()[:1200])
    ((series,),) = survey(tmp_path).patients.values()
    assert series.damage == ""


def test_a_damaged_file_whose_header_tells_nobody_is_of_the_only_patient_of_its_folder(tmp_path):
    for name in "AB":
        scanner.flair(tmp_path / name, PatientID=name, StudyInstanceUID=f"1.2.{ord(name)}")
        (tmp_path / name / "cut").write_bytes(scanner.flair(tmp_path / "x")[0].read_bytes()[:300])
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "cut").write_bytes((tmp_path / "A" / "cut").read_bytes())
    found = survey(tmp_path)
    assert [one[-1].damage.split(": ")[0] for one in found.patients.values()] == [
        str(tmp_path / "A" / "cut"),
        str(tmp_path / "B" / "cut"),
    ]
    assert [line.split(": ")[0] for line in found.damaged] == [str(tmp_path / "cut")]


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_never_ends_the_walk(tmp_path, seed):
    paths = scanner.siemens_trace(tmp_path, b=(0,))
    generator = np.random.default_rng(seed)
    content = bytearray(paths[0].read_bytes())
    for place in generator.integers(132, len(content) - 960, size=30):
        content[place] = generator.integers(0, 256)
    paths[0].write_bytes(content)
    found = survey(tmp_path)
    assert sum(len(one.files) for series in found.patients.values() for one in series) >= scanner.SHAPE[2] - 1


def test_a_folder_without_dicom_is_refused_with_what_was_found(tmp_path):
    with pytest.raises(ImageError, match=r"no DICOM image found \(no file, 0 damaged\); a folder of MR is needed"):
        survey(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ImageError, match=r"no DICOM image found \(1 not DICOM, 0 damaged\)"):
        survey(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        survey(tmp_path / "elsewhere")
