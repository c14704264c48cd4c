import math

import pytest

from tissueclock.phantom.signal import (
    FieldStrength,
    TissueChange,
    TissueParameters,
    change_tissue,
    flair,
    normal_tissue,
    signals,
    spin_echo,
)


def test_a_spin_echo_worked_by_hand() -> None:
    # PD 1, TR/T1 = ln 2, TE/T2 = ln 4, b ADC = ln 2: (1 - 1/2) * 1/4 * 1/2 = 1/16.
    tissue = TissueParameters(1.0, 6000.0 / math.log(2), 90.0 / math.log(4), 1e3 * math.log(2) / 1e3)
    assert spin_echo(tissue, b_s_mm2=0.0) == pytest.approx(1 / 8)
    assert spin_echo(tissue, b_s_mm2=1000.0) == pytest.approx(1 / 16)


def test_a_flair_worked_by_hand() -> None:
    # TI/T1 = ln 4 gives 1 - 2/4 + 4**-3.6 for TR/TI = 3.6; TE/T2 = ln 2 halves it.
    tissue = TissueParameters(0.8, 2500.0 / math.log(4), 120.0 / math.log(2), 1.0)
    assert flair(tissue) == pytest.approx(0.8 * 0.5 * (0.5 + 4**-3.6))


def test_flair_nulls_csf_and_b0_shows_it_brightest() -> None:
    csf, gm = (signals(normal_tissue(tissue, "1.5T")) for tissue in ("csf", "gm"))
    assert csf["flair"] < 0.1 * gm["flair"]
    assert csf["b0"] > 2 * gm["b0"]
    assert csf["b1000"] < gm["b1000"]


@pytest.mark.parametrize("field", ["1.5T", "3T"])
def test_a_stroke_is_bright_on_b1000_before_flair_shows_it(field: FieldStrength) -> None:
    normal = normal_tissue("gm", field)
    fresh = signals(change_tissue(normal, TissueChange(adc_factor=0.7)))
    assert fresh["b1000"] / signals(normal)["b1000"] == pytest.approx(math.exp(0.3 * 0.88))
    assert fresh["flair"] == signals(normal)["flair"]


def test_changing_nothing_changes_nothing() -> None:
    normal = normal_tissue("wm", "3T")
    assert change_tissue(normal, TissueChange()) == normal
