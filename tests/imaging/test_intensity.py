import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imaging.images import toy_head
from tissueclock.imaging.intensity import match_histogram, quantiles, scale_to_median

HEAD = toy_head()
MASK = HEAD.data > 40


def test_the_median_of_the_brain_becomes_one_and_the_outside_zero() -> None:
    scaled = scale_to_median(HEAD, mask=MASK)
    assert np.median(scaled.data[MASK]) == pytest.approx(1.0)
    assert (scaled.data[~MASK] == 0).all()


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.1, 50), gamma=st.floats(0.6, 1.7))
def test_matching_undoes_a_scanner_s_own_scale(gain: float, gamma: float) -> None:
    reference = scale_to_median(HEAD, mask=MASK)
    other = scale_to_median(HEAD.like(gain * HEAD.data**gamma), mask=MASK)
    matched = match_histogram(other, mask=MASK, reference=quantiles(reference, mask=MASK))
    wanted, found = (np.quantile(v.data[MASK], np.linspace(0.08, 0.72, 17)) for v in (reference, matched))
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert (matched.data[~MASK] == 0).all()


@pytest.mark.parametrize(("share", "contrast"), [(0.002, 1.3), (0.05, 1.6), (0.15, 2.5)])
def test_a_lesion_keeps_its_contrast_whatever_the_reference_s_is(share: float, contrast: float) -> None:
    """SimpleITK's matching of whole histograms makes the brightest voxel as bright as the reference's brightest."""
    rng = np.random.default_rng(0)
    tissue = rng.normal(1.0, 0.08, MASK.sum()).astype(np.float32)
    lesion = np.arange(len(tissue)) < share * len(tissue)
    healthy, ill = np.zeros((2, *MASK.shape), dtype=np.float32)
    healthy[MASK], ill[MASK] = tissue, np.where(lesion, contrast * tissue, tissue)
    reference = quantiles(HEAD.like(healthy), mask=MASK)

    matched = match_histogram(scale_to_median(HEAD.like(ill), mask=MASK), mask=MASK, reference=reference).data[MASK]

    kept = matched[lesion].mean() / matched[~lesion].mean()
    assert kept == pytest.approx(contrast, rel=0.10)  # a large lesion is part of its own bulk


def test_order_is_kept_so_a_lesion_stays_the_brightest() -> None:
    scaled = scale_to_median(HEAD, mask=MASK)
    flat = scale_to_median(toy_head(seed=3).like(np.sqrt(toy_head(seed=3).data.clip(0))), mask=MASK)
    matched = match_histogram(scaled, mask=MASK, reference=quantiles(flat, mask=MASK))
    order = np.argsort(scaled.data[MASK], kind="stable")
    assert (np.diff(matched.data[MASK][order]) > -1e-5).all()


def test_a_brain_matched_to_itself_stays_as_it_was() -> None:
    scaled = scale_to_median(HEAD, mask=MASK)
    matched = match_histogram(scaled, mask=MASK, reference=quantiles(scaled, mask=MASK))
    assert np.abs(matched.data - scaled.data)[MASK].mean() < 0.01
