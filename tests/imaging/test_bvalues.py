import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean

from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import geometric_mean, pick_b, read_bvals


@pytest.mark.parametrize(
    ("bvals", "wanted", "tolerance", "picked"),
    [
        ([0, 1000, 1000, 1000], 1000, 300, [1, 2, 3]),
        ([0, 1000], 0, 50, [0]),
        ([995, 0, 1000, 1005], 1000, 300, [0, 2, 3]),
        ([5, 700, 1000, 2000], 0, 50, [0]),
        ([0, 800, 2000], 1000, 300, [1]),
        ([0, 50, 1000], 0, 50, [0]),  # 0 and 50 are two shells
        ([50, 1000], 0, 50, [0]),
        ([0, 700, 1300], 1000, 300, [1]),  # equally near: the lower
        ([0, 1950, 2000, 2080], 2000, 0, [1, 2, 3]),  # 5 % of 2000 is 100
        ([0, 1500, 1500], 1000, 500, [1, 2]),
    ],
)
def test_picks_the_whole_shell_nearest_to_the_wanted_b_value(bvals, wanted, tolerance, picked):
    found = pick_b(np.array(bvals, dtype=np.float64), wanted=float(wanted), tolerance=float(tolerance))
    assert found.tolist() == picked


@pytest.mark.parametrize(
    ("bvals", "line"),
    [
        (
            [0, 1500, 1500],
            "b-values 0, 1500 found; 1000 +- 300 is needed; --b-tolerance 500 would take it",
        ),
        ([0, 1322], "b-values 0, 1322 found; 1000 +- 300 is needed; --b-tolerance 350 would take it"),
        ([0, 0], "b-values 0 found; 1000 +- 300 is needed"),
        ([0, 2000], "b-values 0, 2000 found; 1000 +- 300 is needed; --b 2000 would take it"),
        ([], "b-values none found; 1000 +- 300 is needed"),
        ([0, 50], "b-values 0, 50 found; 1000 +- 300 is needed"),
        ([0, 50, 2000], "b-values 0, 50, 2000 found; 1000 +- 300 is needed; --b 2000 would take it"),
        ([40, 1970], "b-values 40, 1970 found; 1000 +- 300 is needed; --b 1970 would take it"),
        ([0, 150], "b-values 0, 150 found; 1000 +- 300 is needed"),
        ([150, 1900], "b-values 150, 1900 found; 1000 +- 300 is needed; --b 1900 would take it"),
    ],
)
def test_says_which_b_values_there_are_where_none_is_near(bvals, line):
    with pytest.raises(ImageError, match=re.escape(line) + "$"):
        pick_b(np.array(bvals, dtype=np.float64), wanted=1000.0, tolerance=300.0)


@pytest.mark.parametrize("text", ["0 1000 1000\n", "0\n1000\n1000\n", "0\t1000  1e3", " 0 1000 1000.0 \r\n"])
def test_reads_b_values_in_a_row_or_in_a_column(tmp_path, text):
    (tmp_path / "a.bval").write_text(text)
    assert read_bvals(tmp_path / "a.bval", 3).tolist() == [0, 1000, 1000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 1000", "2 b-values found; the image holds 3 volumes"),
        (b"", "0 b-values found; the image holds 3 volumes"),
        (b"0 1000 nan", "b-value nan found; a finite number of s/mm2, at least 0, is needed"),
        (b"0 1000 inf", "b-value inf found; a finite number"),
        (b"0 -5 1000", "b-value -5 found; a finite number"),
        (b"0, 1000, 1000", "b-value '0,' found; a finite number"),
        (b"0 1000 \xff", "not text (byte 7)"),
        (None, "no such file"),
    ],
)
def test_names_what_is_wrong_in_a_b_value_file(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.bval").write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(message)):
        read_bvals(tmp_path / "a.bval", 3)


@given(st.lists(st.integers(1, 4000), min_size=3, max_size=3 * 24).filter(lambda values: len(values) % 3 == 0))
def test_the_geometric_mean_is_scipys(values):
    volumes = np.array(values, dtype=np.float32).reshape(3, -1, 1, 1)
    assert geometric_mean(list(volumes)) == pytest.approx(gmean(volumes.astype(np.float64), axis=0), rel=1e-6)


def test_a_voxel_that_is_zero_in_one_direction_is_zero_whatever_the_number_of_directions():
    volumes = [np.full((1, 1, 2), 900.0, dtype=np.float32) for _ in range(64)]
    volumes[7][0, 0, 1] = 0.0
    assert geometric_mean(volumes)[0, 0].tolist() == pytest.approx([900.0, 0.0])


def test_the_geometric_mean_of_nothing_is_refused():
    with pytest.raises(ImageError, match="at least one direction is needed"):
        geometric_mean([])
