"""Whether a FLAIR is the FLAIR: dark where b0's fluid is bright."""

import numpy as np
import pytest

from tests.imaging.images import SHAPE, toy_head
from tissueclock.imaging.quality import FIGURES, fluid_ratio
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
