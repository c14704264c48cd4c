"""What `preprocess` says at its end of those who will not be packed."""

from pathlib import Path

import pytest

from tests.imaging.preprocessed import write_patient
from tissueclock.cli import scans
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.quality_table import write_quality


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(scans, "say", lambda text, **_: lines.append(text))
    return lines


def test_series_that_are_missing_are_named_and_counted(tmp_path: Path, said: list[str]) -> None:
    folder = Derivatives(tmp_path)
    write_patient(folder, "sub-01")
    write_patient(folder, "sub-02", without=("flair",))
    scans._say_incomplete(write_quality(folder, failed={}))
    assert said == [
        "sub-02: FLAIR is missing",
        "  registered, but pack will leave out: 1 (FLAIR is missing: 1)",
        "  pack --allow-missing flair keeps them, for networks that are trained to do without FLAIR",
    ]


def test_who_is_excluded_by_default_is_said_with_the_reason_and_that_all_have_his_histogram(
    tmp_path: Path, said: list[str]
) -> None:
    folder = Derivatives(tmp_path)
    write_patient(folder, "sub-01", figures={"brain_atlas_dice": 0.5})
    write_patient(folder, "sub-02")
    scans._say_excluded(write_quality(folder, failed={}), reference="sub-01")
    assert said == [
        "excluded by default: sub-01: brain and atlas overlap 0.500 (at least 0.85)",
        "  excluded by default: 1; a no of yours in the exclude column of qc.tsv is kept",
        "everybody has the histogram of sub-01, who is excluded: give --reference another",
    ]
