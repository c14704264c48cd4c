"""Texture figures against those of MIRP, which follows the image biomarker standardisation initiative."""

import json
from pathlib import Path

import numpy as np
import pytest

from tissueclock.radiomics.texture import binary_patterns, cooccurrence_figures, run_length_figures

ORACLE = json.loads((Path(__file__).parent / "mirp.json").read_text())
LEVELS = np.where(np.array(ORACLE["mask"], dtype=bool), np.array(ORACLE["levels"]), 0)


def test_cooccurrence_is_that_of_mirp() -> None:
    assert cooccurrence_figures(LEVELS, n_levels=8) == pytest.approx(ORACLE["cooccurrence"], rel=1e-9)


def test_run_lengths_are_those_of_mirp() -> None:
    assert run_length_figures(LEVELS, n_levels=8) == pytest.approx(ORACLE["runs"], rel=1e-9)


def test_patterns_do_not_change_when_the_image_is_turned() -> None:
    image = np.random.default_rng(2).permutation(3 * 9 * 9).reshape(3, 9, 9)  # no ties: those are broken by rounding
    inside = np.zeros(image.shape, dtype=bool)
    inside[:, 1:-1, 1:-1] = True
    turned = binary_patterns(np.rot90(image, axes=(1, 2)), np.rot90(inside, axes=(1, 2)))
    np.testing.assert_allclose(np.sort(turned), np.sort(binary_patterns(image, inside)))


def test_a_region_of_single_pixels_has_figures() -> None:
    lonely = np.zeros((1, 5, 5), dtype=int)
    lonely[0, 0, 0] = lonely[0, 4, 4] = 3
    found = cooccurrence_figures(lonely, n_levels=8) | run_length_figures(lonely, n_levels=8)
    assert np.isfinite(list(found.values())).all()
    assert found["run_percentage"] == 1.0
