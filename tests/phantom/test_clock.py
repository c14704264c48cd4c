import math

import numpy as np
import pytest

from tissueclock.phantom.clock import (
    ADC_SHARES,
    Fate,
    TissueClock,
    draw_clock,
    draw_fates,
    mean_adc_ratio,
    onset_quantile,
    tissue_changes,
)
from tissueclock.phantom.presets import PRESETS
from tissueclock.phantom.signal import change_tissue, normal_tissue, signals


def clock(hours: float, *, visible: bool = True) -> TissueClock:
    return TissueClock(hours * 60, hours, t2_amplitude_ms=30.0, t2_offset_ms=0.0, adc_scatter=1.0, visible=visible)


@pytest.mark.parametrize(("share", "minutes"), [(0.25, 105), (0.5, 222), (0.75, 715)])
def test_onsets_have_the_papers_quartiles_even_in_a_small_cohort(share: float, minutes: float) -> None:
    onsets = np.array([fate.onset_to_mri_min for fate in draw_fates(400, np.random.default_rng(0))])
    assert np.quantile(onsets, share) == pytest.approx(minutes, rel=0.03)
    assert onset_quantile(np.array([share]))[0] == pytest.approx(minutes)


def test_onsets_stay_within_half_an_hour_and_three_days() -> None:
    onsets = np.array([fate.onset_to_mri_min for fate in draw_fates(5000, np.random.default_rng(1))])
    assert onsets.min() >= 30
    assert onsets.max() <= 4320
    assert (onsets < 270).mean() == pytest.approx(0.54, abs=0.001)


@pytest.mark.parametrize(
    ("hours", "ratio"), [(1.0, 1.03), (3.0, 1.08), (4.5, 1.11), (6.0, 1.14), (12.0, 1.21), (24.0, 1.29)]
)
def test_flair_ratio_by_hour_is_that_of_the_notes(hours: float, ratio: float) -> None:
    """At 1.5 T, half grey and half white matter."""
    change, _, _ = tissue_changes(clock(hours))
    normal = [normal_tissue(tissue, "1.5T") for tissue in ("gm", "wm")]
    after = sum(signals(change_tissue(tissue, change))["flair"] for tissue in normal)
    assert after / sum(signals(tissue)["flair"] for tissue in normal) == pytest.approx(ratio, abs=0.0075)


def test_adc_falls_within_an_hour_and_recovers_after_a_day() -> None:
    assert mean_adc_ratio(0.0) == 1.0
    assert mean_adc_ratio(2.0) == pytest.approx(1 - 0.3 * (1 - math.exp(-4)))
    assert mean_adc_ratio(24.0) == pytest.approx(0.70, abs=1e-6)
    assert mean_adc_ratio(24.0 + 160.0) == pytest.approx(1 - 0.3 / math.e)


def test_subregions_differ_in_diffusion_and_keep_its_mean() -> None:
    changes = tissue_changes(clock(6.0))
    factors = [change.adc_factor for change in changes]
    assert factors[0] < factors[1] < 1 < factors[2]
    assert np.dot(ADC_SHARES, factors) == pytest.approx(mean_adc_ratio(6.0))
    assert len({change.t2_delta_ms for change in changes}) == 1


def test_an_invisible_lesion_has_normal_diffusion() -> None:
    for change in tissue_changes(clock(6.0, visible=False)):
        assert change.adc_factor == 1.0
        assert 0 < change.t2_delta_ms < tissue_changes(clock(6.0))[0].t2_delta_ms


def test_collaterals_scatter_tissue_time_around_clock_time() -> None:
    rng = np.random.default_rng(2)
    fates = [
        Fate(240.0, fate.collateral, fate.t2_offset, fate.t2_amplitude, fate.field_rank)
        for fate in draw_fates(4000, rng)
    ]
    clocks = [draw_clock(fate, preset=PRESETS["hard"], invisible_probability=0.05, rng=rng) for fate in fates]
    log_factor = np.log([c.effective_h / 4.0 for c in clocks])
    assert log_factor.mean() == pytest.approx(0.0, abs=0.01)
    assert log_factor.std() == pytest.approx(1.0, abs=0.01)
    assert np.mean([not c.visible for c in clocks]) == pytest.approx(0.05, abs=0.015)
