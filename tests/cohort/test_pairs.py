import numpy as np
import pytest
import torch

from tests.toy import write_toy_cohort
from tissueclock.cohort.augmentation import augment
from tissueclock.cohort.pairs import BothHalves, other_halves
from tissueclock.errors import CohortError, HoldoutLeakError


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_toy_cohort(tmp_path_factory.mktemp("toy") / "cohort", n_patients=20)


def test_the_other_half_is_the_same_patients_other_side(cohort):
    other = other_halves(cohort.table)
    assert all(
        (cohort.table[i].patient, cohort.table[i].side) == (each.patient, "right" if each.side == "left" else "left")
        for i, each in zip(other, cohort.table, strict=True)
    )


def test_it_lies_behind_the_own_series(cohort):
    view = cohort.sweep_view()
    rows = view.rows("train")[[3, 0]]
    both = BothHalves(view, other_halves(cohort.table)).read(rows)
    assert torch.equal(both, torch.from_numpy(np.concatenate([view.read(rows), view.read(rows ^ 1)], axis=1)))


def test_it_can_be_read_under_autocast_to_bf16(cohort):
    both = BothHalves(cohort.sweep_view(), other_halves(cohort.table))
    rows = cohort.sweep_view().rows("train")[:2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(both.read(rows), both.read(rows.copy()))


def test_no_holdout_patient_is_reached_by_it(cohort):
    both = BothHalves(cohort.sweep_view(), other_halves(cohort.table))
    with pytest.raises(HoldoutLeakError):
        both.read(cohort.split_rows("holdout")[:1])


def test_a_patient_with_one_half_is_named(cohort):
    with pytest.raises(CohortError, match="has no right half"):
        other_halves(cohort.table[:1])


def test_both_halves_of_a_head_are_augmented_alike():
    half = 0.5 + torch.rand(2, 3, 2, 12, 8, generator=torch.Generator().manual_seed(1))
    both = torch.cat([half, half], dim=1)
    changed = augment(both, strength=1.0, generator=torch.Generator().manual_seed(2), n_halves=2)
    noise = (changed[:, :3] - changed[:, 3:]).abs().max()
    assert noise < 6 * 2**0.5 * 0.02 * 1.5  # noise alone is each half's own
    assert (changed - both).abs().max() > noise
