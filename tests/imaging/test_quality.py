"""What the figures of quality tell apart: FLAIR from others, a lesion from a coil, an ADC from another."""

import numpy as np
import pytest

from tests.imaging.images import SHAPE, toy_head
from tissueclock.imaging.quality import FIGURES, adc_agreement, brighter_side, far_outside, fluid_ratio
from tissueclock.imaging.volume import Volume

BOUNDS = {figure.name: figure for figure in FIGURES}
INSIDE = toy_head().data > 60
B0 = toy_head().like(np.where(INSIDE, 100.0, 5.0))
FLUID = np.zeros(SHAPE, dtype=bool)
FLUID[18:22, 20:24, 6:10] = True
B0.data[FLUID] = 300.0
MASK = INSIDE | FLUID


def as_flair(fluid: float) -> Volume:
    return B0.like(np.where(FLUID, fluid, np.where(MASK, 100.0, 5.0)))


@pytest.mark.parametrize(("fluid", "is_flair"), [(20.0, True), (50.0, True), (100.0, False), (300.0, False)])
def test_a_flair_is_dark_where_b0_is_brightest(fluid: float, is_flair: bool) -> None:
    ratio = fluid_ratio(B0, as_flair(fluid), mask=MASK)
    assert ratio == pytest.approx(fluid / 100.0)
    assert (BOUNDS["flair_fluid_ratio"].badness(ratio) == 0) is is_flair


def test_what_was_not_scanned_is_no_fluid() -> None:
    nothing = as_flair(20.0).like(np.where(FLUID, 0.0, 100.0))
    assert fluid_ratio(B0, nothing, mask=MASK) == np.inf


def test_the_lesion_s_side_is_where_diffusion_is_lower_not_where_a_coil_is_near() -> None:
    plain = B0.like(np.where(MASK, 1.0, 0.0))
    left = np.zeros(SHAPE, dtype=bool)
    left[10:15, 20:26, 6:10] = True
    near_coil = np.where(MASK, 1.0 + np.linspace(0.5, 0.0, SHAPE[0])[:, None, None], 0.0)
    symmetric = MASK & MASK[::-1]
    assert brighter_side(plain, plain.like(plain.data + 0.6 * left), mask=symmetric) == "left"
    assert brighter_side(plain, plain.like((plain.data + 0.6 * left)[::-1]), mask=symmetric) == "right"
    assert brighter_side(plain.like(near_coil), plain.like(near_coil), mask=symmetric) is None


@pytest.mark.parametrize(
    ("b_of_map", "moved", "flags"),
    [
        (1000.0, 0, []),
        (800.0, 0, ["adc_ratio"]),
        (1000.0, 6, ["adc_correlation"]),
    ],
    ids=["sound", "another b-value", "another place"],
)
def test_an_adc_that_is_not_of_this_scan_is_flagged(b_of_map: float, moved: int, flags: list[str]) -> None:
    true = np.random.default_rng(0).uniform(6e-4, 9e-4, SHAPE)
    b1000 = B0.like(B0.data * np.exp(-1000.0 * true))
    adc = B0.like(np.roll(np.log(B0.data / b1000.data) / b_of_map, moved, axis=1))
    ratio, correlation = adc_agreement(B0, b1000, adc, mask=MASK, b_s_mm2=1000.0)
    found = {"adc_ratio": ratio, "adc_correlation": correlation}
    assert [name for name, value in found.items() if BOUNDS[name].badness(value) > 0] == flags


def test_figures_far_outside_those_of_others_are_told_and_what_others_lack_is_not():
    name = "brain_ml"
    ranges = {name: (1000.0, 1400.0)}
    assert far_outside({name: 1590.0, "other": 9e9}, ranges) == []
    (line,) = far_outside({name: 1610.0}, ranges)
    assert "1610" in line
    assert "1000 to 1400" in line
    assert far_outside({name: None}, ranges) == far_outside({name: 1610.0}, {}) == []
