"""b-values are asked of each image: some makers leave them out of b0, and what others tell is not said of it."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.imaging.dicom import dicom_files as scanner
from tests.shared_data import SHARED_DATA
from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.dicom import conversion
from tissueclock.imaging.dicom.conversion import convert
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.imaging.dicom.objects import DicomSeries
from tissueclock.imaging.dicom.survey import survey

real_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA}: no real scans here")


def only_series(folder: Path) -> DicomSeries:
    ((series,),) = survey(folder).patients.values()
    return series


def alter(paths: list[Path], b: float, **tags: float | None) -> None:
    """Writes other b-values into the images of this one; None takes them out."""
    for path in paths:
        image = dcmread(path)
        if float(image.get("DiffusionBValue", -1.0)) != b:
            continue
        for keyword, value in tags.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)
        image.save_as(path)


@real_data
def test_ge_tells_b0_by_its_private_field_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "MIN_SLICES", 2)  # the excerpt has two
    made = convert(only_series(SHARED_DATA / "ge_tensor_excerpt" / "dicom"), tmp_path)
    assert made.bvals is not None
    assert made.bvals.tolist() == [0, *[1000] * 6]


@real_data
def test_toshiba_tells_nothing_of_b0(tmp_path: Path) -> None:
    folder, bids = SHARED_DATA / "toshiba_galan_excerpt" / "dicom", tmp_path / "bids"
    (patient,) = ingest(folder, bids, key_file=tmp_path / "key.tsv", b_values=BValues(1500.0)).patients
    assert (patient.outcome, patient.reason) == ("written", "no FLAIR")
    assert (bids / "sub-0001/dwi/sub-0001_dwi.bval").read_text().split() == ["0", "1500", "1500", "1500"]


def test_a_silent_image_does_not_get_the_others_b_value(tmp_path: Path) -> None:
    alter(scanner.canon_dwi(tmp_path / "scans"), 0.0, DiffusionBValue=None)
    series = only_series(tmp_path / "scans")
    assert (series.facts.b_values, series.facts.some_b_untold) == ({1000.0}, True)
    made = convert(series, tmp_path / "work")
    assert made.bvals is not None
    assert made.bvals.tolist() == [0, 1000]
    assert np.array_equal(made.data[..., 0], scanner.pixels(60).transpose(2, 1, 0)[:, ::-1, :])


def test_what_only_some_images_tell_and_the_converter_contradicts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = scanner.canon_dwi(tmp_path / "scans")
    alter(paths, 0.0, DiffusionBValue=None)
    series = only_series(tmp_path / "scans")
    monkeypatch.setattr(conversion, "read_bvals", lambda path, n: np.array([1000.0, 0.0]))  # the other way round
    with pytest.raises(ImageError, match="b-values 1000 in the header of some images and none of others, 0, 1000 by"):
        convert(series, tmp_path / "work")


def test_two_tags_of_one_image_that_contradict_each_other_are_refused_with_both(tmp_path: Path) -> None:
    alter(scanner.philips_dwi(tmp_path / "scans"), 1000.0, DiffusionBValue=700.0)
    bids = tmp_path / "bids"
    (patient,) = ingest(tmp_path / "scans", bids, key_file=tmp_path / "key.tsv").patients
    assert patient.outcome == "refused"
    assert "b 700 by the standard tag and 1000 by the maker's, of one image" in patient.reason
