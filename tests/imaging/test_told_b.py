"""What is written of b-values, beside a file, above it, in its sidecar and in its name, and what contradicts what."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.imaging.images import save, toy_head
from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.series import PatientSeries, read_series

HEAD = toy_head().data.clip(1)
DWI = HEAD / 3
ADC = np.where(HEAD > 40, 800.0, 3000.0).astype(np.float32)


def put(root: Path, name: str, *images: np.ndarray, beside: Mapping[str, str] | None = None) -> None:
    """An image of `sub-01`, and files of text by their place in the BIDS folder."""
    data = np.stack(images, axis=3) if len(images) > 1 else images[0]
    save(root / "sub-01" / "dwi" / f"sub-01_{name}.nii.gz", data)
    for place, text in (beside or {}).items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(root: Path, **b: float) -> PatientSeries:
    return read_series(find_files(root, "sub-01"), b_values=BValues(**b))


def b_json(b: float) -> str:
    return json.dumps({"DiffusionBValue": b})


@pytest.mark.parametrize(
    ("name", "beside", "b"),
    [
        ("dwi", {"sub-01/dwi/sub-01_dwi.json": b_json(800)}, 800),
        ("dwi", {"dwi.json": b_json(800)}, 800),
        ("dwi", {"dwi.json": b_json(2000), "sub-01/sub-01_dwi.json": b_json(800)}, 800),
        ("acq-b800_dwi", {}, 800),
        ("b800", {}, 800),
        ("dwi", {"dwi.bval": "800"}, 800),
        ("dwi", {"dwi.bval": "2000", "sub-01/sub-01_dwi.bval": "800"}, 800),
        ("acq-b800_dwi", {"acq-b900_dwi.json": b_json(900)}, 800),
        ("dwi", {"dwi.bval": "800", "dwi.json": '{"SeriesDescription": "br'}, 800),
        ("acq-b800_dwi", {"sub-01/dwi/sub-01_acq-b800_dwi.bval": "805"}, 805),
    ],
)
def test_what_is_told_is_taken_and_the_adc_s_exponent_is_right(
    tmp_path: Path, name: str, beside: Mapping[str, str], b: float
) -> None:
    put(tmp_path, name, HEAD * np.exp(-b * ADC * 1e-6), beside=beside)
    put(tmp_path, "adc", ADC)
    series = read(tmp_path)
    assert (series.b_s_mm2, series.assumed) == (b, ())
    np.testing.assert_allclose(series.b0.data, HEAD, rtol=1e-3)


def test_what_nothing_tells_is_assumed_and_said(tmp_path: Path) -> None:
    put(tmp_path, "dwi", DWI)
    put(tmp_path, "adc", ADC)
    assert read(tmp_path).assumed == ("sub-01_dwi.nii.gz tells no b-value; taken as b = 1000",)


@pytest.mark.parametrize("names", [("b0", "b1000"), ("b0", "DWI"), ("acq-b0_dwi", "acq-trace_dwi")])
def test_b0_and_dwi_in_files_of_their_own_need_no_bval(tmp_path: Path, names: tuple[str, str]) -> None:
    put(tmp_path, names[0], HEAD)
    put(tmp_path, names[1], DWI)
    series = read(tmp_path)
    np.testing.assert_allclose(series.b0.data, HEAD, rtol=1e-5)
    np.testing.assert_allclose(series.b1000.data, DWI, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "images", "beside", "message"),
    [
        ("acq-b2000_dwi", [DWI], {"dwi.json": b_json(1000)}, "b 1000 by DiffusionBValue in dwi.json and 2000 by its"),
        ("acq-b2000_dwi", [HEAD, DWI], {"dwi.bval": "0 1000"}, "b 2000 by its name, 0, 1000 by dwi.bval"),
        ("dwi", [HEAD, DWI], {"dwi.bval": "0 1000", "dwi.json": b_json(800)}, "b 800 by DiffusionBValue in dwi.json"),
        ("acq-b0_dwi", [DWI], {"dwi.bval": "1000"}, "b 0 by its name, 1000 by dwi.bval"),
        ("dwi", [DWI, HEAD], {"dwi.bval": "0 1000"}, "calls b0 are darker than those it calls b 1000"),
        ("dwi", [HEAD, DWI], {"sub-01/dwi/sub-01_dwi.json": "{"}, "sub-01_dwi.json: cannot be read as JSON"),
        ("acq-b2000_dwi", [DWI], {}, "b-values 2000 found; 1000 .* is needed; --b-tolerance|--b 2000"),
        ("acq-a_run-1_dwi", [HEAD, DWI], {"acq-a_dwi.bval": "0 1000", "run-1_dwi.bval": "0 900"}, "one a folder"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_with_both_values(
    tmp_path: Path, name: str, images: list[np.ndarray], beside: Mapping[str, str], message: str
) -> None:
    put(tmp_path, name, *images, beside=beside)
    put(tmp_path, "adc", ADC)
    with pytest.raises(ImageError, match=message):
        read(tmp_path)


def test_what_is_inherited_counts_among_the_patient_s_files(tmp_path: Path) -> None:
    put(
        tmp_path,
        "dwi",
        HEAD,
        DWI,
        beside={"dwi.bval": "0 1000", "dwi.json": "{}", "sub-01/sub-01_dwi.json": b_json(1000)},
    )
    names = [path.name for path in find_files(tmp_path, "sub-01").paths]
    assert names == ["sub-01_dwi.nii.gz", "dwi.bval", "sub-01_dwi.json"]
