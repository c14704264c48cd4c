"""From a BIDS folder's files to b0, b1000 and FLAIR."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import gmean

from tests.imaging.images import save, toy_head
from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.raw import find_files, list_subjects
from tissueclock.imaging.series import PatientSeries, read_series

HEAD = toy_head().data
ADC = np.where(HEAD > 40, 800.0, 3000.0).astype(np.float32)
"""In 1e-6 mm2/s."""


class Raw:
    """A raw folder with one patient, built file by file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, *images: np.ndarray, bvals: str | None = None, **header: object) -> Path:
        data = np.stack(images, axis=3) if len(images) > 1 else images[0]
        kind = "anat" if name.lower().endswith("flair") else "dwi"
        path = save(self.folder / "sub-01" / kind / f"sub-01_{name}.nii.gz", data, **header)
        if bvals is not None:
            path.with_name(f"sub-01_{name}.bval").write_text(bvals)
        return path

    def read(self, duplicates: str = "refuse", **b: float) -> PatientSeries:
        files = find_files(self.folder, "sub-01", duplicates=duplicates)  # type: ignore[arg-type]
        return read_series(files, b_values=BValues(**b), duplicates=duplicates)  # type: ignore[arg-type]


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path / "roh daten ü")


def test_b0_and_trace_in_one_file(raw: Raw) -> None:
    raw.put("dwi", HEAD, HEAD / 2, bvals="0 1000")
    raw.put("FLAIR", HEAD * 3)
    series = raw.read()
    np.testing.assert_allclose(series.b0.data, HEAD.clip(0), rtol=1e-6)
    np.testing.assert_allclose(series.b1000.data, (HEAD / 2).clip(0), rtol=1e-5)
    assert series.flair is not None
    assert series.b_s_mm2 == 1000


def test_b1000_is_the_geometric_mean_of_its_shell_and_b0_the_mean(raw: Raw) -> None:
    directions = [HEAD * factor + 20 for factor in (0.3, 0.5, 0.9)]
    raw.put("dwi", HEAD, HEAD * 1.2, *directions, HEAD / 9, bvals="0 5 995 1000 1005 2000")
    series = raw.read()
    np.testing.assert_allclose(series.b0.data, (HEAD * 1.1).clip(0), rtol=1e-5)
    np.testing.assert_allclose(series.b1000.data, gmean(np.maximum(directions, 1e-30), axis=0), rtol=1e-4)
    assert "geometric mean of 3 images" in series.notes[0]


def test_a_missing_b0_is_made_of_the_adc_map(raw: Raw) -> None:
    b1000 = HEAD.clip(1) * np.exp(-1000 * ADC * 1e-6)
    raw.put("dwi", b1000, bvals="1000")
    raw.put("ADC", ADC)
    np.testing.assert_allclose(raw.read().b0.data, HEAD.clip(1), rtol=1e-4)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6])
def test_the_adc_map_s_unit_is_told_from_its_size(raw: Raw, unit: float) -> None:
    raw.put("rec-TRACE_dwi", HEAD.clip(1) * np.exp(-1000 * ADC * 1e-6))  # named as SOOP names them, without b-values
    raw.put("rec-ADC_dwi", ADC * np.float32(unit))
    series = raw.read()
    np.testing.assert_allclose(series.b0.data, HEAD.clip(1), rtol=1e-3)
    assert "tells no b-value; taken as b = 1000" in series.assumed[0]


def test_lower_case_names_in_a_session_folder_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "sub-strokecase0001" / "ses-0001"
    for name in ("dwi", "adc", "flair"):
        save(folder / f"sub-strokecase0001_ses-0001_{name}.nii.gz", ADC if name == "adc" else HEAD)
    files = find_files(tmp_path, "sub-strokecase0001")
    assert files.adc is not None
    assert files.flair is not None
    assert len(files.dwi) == 1


def test_of_two_candidates_the_one_asked_for_is_taken(raw: Raw) -> None:
    raw.put("run-1_dwi", HEAD, HEAD / 2, bvals="0 1000")
    raw.put("run-2_dwi", HEAD * 3, HEAD / 4, bvals="0 1000")
    for which, b0, b1000 in (("first", HEAD, HEAD / 2), ("last", HEAD * 3, HEAD / 4)):
        series = raw.read(which)
        assert series.b1000.data.max() == pytest.approx(b1000.max())
        assert series.b0.data.max() == pytest.approx(b0.max()), "b0 is not a mean over runs"


FAULTS: dict[str, tuple[Callable[[Raw], object], str]] = {
    "no DWI": (lambda r: r.put("FLAIR", HEAD), r"sub-01: no \*_dwi.nii.gz below"),
    "no b1000": (
        lambda r: r.put("dwi", HEAD, HEAD / 2, bvals="0 500"),
        "sub-01: b-values 0, 500 found; 1000 +- 300 is needed; --b-tolerance 500 would take it",
    ),
    "mixed b-values, none near": (
        lambda r: r.put("dwi", HEAD, HEAD / 2, HEAD / 3, bvals="0 500 2000"),
        "b-values 0, 500, 2000 found; 1000 +- 300 is needed",
    ),
    "no b0 and no ADC": (lambda r: r.put("dwi", HEAD, bvals="1000"), "no b0 .* and no ADC map"),
    "b-values of another image": (lambda r: r.put("dwi", HEAD, HEAD, bvals="0 1000 1000"), "3 b-values found"),
    "b-values that are text": (lambda r: r.put("dwi", HEAD, HEAD, bvals="0 many"), "b-value 'many' found"),
    "many images and no b-values": (lambda r: r.put("dwi", HEAD, HEAD, HEAD), "3 images and no sub-01_dwi.bval"),
    "two candidates for b1000": (
        lambda r: (
            r.put("run-1_dwi", HEAD, HEAD / 2, bvals="0 1000"),
            r.put("run-2_dwi", HEAD, HEAD / 2, bvals="0 1000"),
        ),
        r"sub-01: 2 candidates for b1000 \(sub-01_run-1_dwi.nii.gz, sub-01_run-2_dwi.nii.gz\); keep one, or say",
    ),
    "two candidates for FLAIR": (
        lambda r: (
            r.put("dwi", HEAD, HEAD / 2, bvals="0 1000"),
            r.put("run-1_FLAIR", HEAD),
            r.put("run-2_FLAIR", HEAD),
        ),
        "sub-01: 2 candidates for FLAIR",
    ),
    "an ADC map of no known unit": (
        lambda r: (r.put("dwi", HEAD, bvals="1000"), r.put("ADC", ADC * 1e4)),
        "a brain has about 0.0008 mm2/s",
    ),
    "a FLAIR of z-scores": (
        lambda r: (r.put("dwi", HEAD, HEAD / 2, bvals="0 1000"), r.put("FLAIR", (HEAD - HEAD.mean()) / HEAD.std())),
        r"sub-01_FLAIR.nii.gz: \d+% of the values are far below 0",
    ),
    "uint16 saved as int16": (
        lambda r: (
            r.put("dwi", HEAD, HEAD / 2, bvals="0 1000"),
            r.put("FLAIR", (HEAD * 500).clip(0).astype(np.uint16).astype(np.int16)),
        ),
        "of the values are far below 0",
    ),
    "a 4D FLAIR": (
        lambda r: (r.put("dwi", HEAD, HEAD / 2, bvals="0 1000"), r.put("FLAIR", HEAD, HEAD)),
        "4D with 2 images found; a 3D image is needed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_chosen_is_one_line(raw: Raw, fault: str) -> None:
    make, message = FAULTS[fault]
    make(raw)
    with pytest.raises(ImageError, match=message.replace("+-", r"\+-")) as caught:
        raw.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["part-phase_FLAIR", "part-real_FLAIR", "desc-brainmask_FLAIR", "part-phase_dwi", "desc-lesion_mask"]
)
def test_a_name_that_says_not_this_one_is_obeyed(raw: Raw, name: str) -> None:
    raw.put("part-mag_dwi", HEAD, HEAD / 2, bvals="0 1000")
    raw.put("part-mag_FLAIR", HEAD * 3)
    raw.put(name, HEAD)
    files = find_files(raw.folder, "sub-01")
    assert [path.name for path in files.dwi] == ["sub-01_part-mag_dwi.nii.gz"]
    assert files.flair is not None
    assert files.flair.name == "sub-01_part-mag_FLAIR.nii.gz"


def test_other_words_of_a_flair_s_name_are_nothing_against_it(raw: Raw) -> None:
    raw.put("dwi", HEAD, HEAD / 2, bvals="0 1000")
    raw.put("acq-T2w_FLAIR", HEAD)
    assert find_files(raw.folder, "sub-01").flair is not None


def test_the_file_whose_values_are_no_brightness_is_the_one_named(raw: Raw) -> None:
    raw.put("b0", (HEAD - HEAD.mean()) / HEAD.std())
    raw.put("b1000", HEAD / 2)
    with pytest.raises(ImageError, match=r"sub-01_b0.nii.gz: \d+% of the values are far below 0"):
        raw.read()


def test_hidden_files_are_no_files(raw: Raw) -> None:
    raw.put("dwi", HEAD, HEAD / 2, bvals="0 1000")
    for name in ("dwi/._sub-01_dwi.nii.gz", ".trash/sub-01_run-2_dwi.nii.gz"):
        path = raw.folder / "sub-01" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert len(find_files(raw.folder, "sub-01").dwi) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sub-02_run-2_dwi.nii.gz", "its name says sub-02, its folder sub-01; they must agree"),
        ("sub-01_dwi.nii.gz", "a link to a file that is not there; fetch it"),
    ],
)
def test_another_patient_s_file_and_a_dangling_link_are_refused(raw: Raw, name: str, message: str) -> None:
    raw.put("acq-b1000_dwi", HEAD)
    (raw.folder / "sub-01" / "dwi" / name).symlink_to("/nonexistent/annex/key")
    if "sub-02" in name:
        (raw.folder / "sub-01" / "dwi" / name).unlink()
        (raw.folder / "sub-01" / "dwi" / name).write_bytes(b"x")
    with pytest.raises(ImageError, match=message):
        find_files(raw.folder, "sub-01")


def test_several_sessions_want_a_name(tmp_path: Path) -> None:
    for session in ("ses-1", "ses-2"):
        save(tmp_path / "sub-01" / session / "dwi" / f"sub-01_{session}_dwi.nii.gz", HEAD)
    with pytest.raises(ImageError, match=re.escape("sub-01: sessions ses-1, ses-2 found; name one with --session")):
        find_files(tmp_path, "sub-01")
    assert find_files(tmp_path, "sub-01", session="ses-2").dwi[0].name == "sub-01_ses-2_dwi.nii.gz"


@pytest.mark.parametrize(
    ("names", "message"), [((), "no sub-"), (("sub-a b",), "not a BIDS subject"), (None, "no such folder")]
)
def test_a_folder_that_is_not_bids_is_refused(tmp_path: Path, names: tuple[str, ...] | None, message: str) -> None:
    folder = tmp_path / "raw"
    for name in names or ():
        (folder / name).mkdir(parents=True)
    if names == ():
        folder.mkdir()
    with pytest.raises(ImageError, match=message):
        list_subjects(folder)
