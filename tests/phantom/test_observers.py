import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tissueclock.errors import CohortError
from tissueclock.phantom.clock import draw_clock, draw_fates, tissue_changes
from tissueclock.phantom.features import FEATURES, measure_lesion
from tissueclock.phantom.observer import score_patients
from tissueclock.phantom.presets import PRESETS, find_preset
from tissueclock.phantom.readers import READERS, read_mismatch
from tissueclock.phantom.signal import change_tissue, normal_tissue, signals


def test_features_of_a_lesion_worked_by_hand() -> None:
    halves = np.ones((2, 3, 1, 2, 2), dtype=np.float32)
    halves[0, :, 0, 0, :] = [[1.2, 1.2], [1.5, 1.5], [1.0, 1.4]]
    halves[1, 0, 0, 0, :] = 0.8
    masks = np.zeros((2, 1, 2, 2), dtype=bool)
    masks[0, 0, 0, :] = True
    features = measure_lesion(halves, masks, voxel_ml=0.5)
    assert tuple(features) == FEATURES
    assert features["ratio_b0"] == pytest.approx(1.5)
    assert features["ratio_b1000"] == pytest.approx(1.5)
    assert features["ratio_flair"] == pytest.approx(1.2)
    assert features["log_adc_ratio"] == pytest.approx(0.0, abs=1e-6)
    assert features["difference_b0"] == pytest.approx(0.4)
    assert features["sd_flair"] == pytest.approx(0.2)
    assert features["log_volume_ml"] == pytest.approx(0.0)


def test_a_lesion_is_not_compared_with_lesion() -> None:
    halves = np.ones((2, 3, 1, 1, 2), dtype=np.float32)
    halves[:, :, 0, 0, 0] = 2.0
    halves[0, :, 0, 0, 1] = 2.0
    masks = np.zeros((2, 1, 1, 2), dtype=bool)
    masks[:, 0, 0, 0] = True
    masks[0, 0, 0, 1] = True
    assert measure_lesion(halves, masks, voxel_ml=1.0)["ratio_flair"] == pytest.approx(2.0)


def simulate(n_patients: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of paper-like lesions without images: noise-free grey matter ratios, scattered by 0.03."""
    rng = np.random.default_rng(seed)
    fates, rows = draw_fates(n_patients, rng), []
    normal = normal_tissue("gm", "1.5T")
    for fate in fates:
        clock = draw_clock(fate, preset=PRESETS["paper-like"], invisible_probability=0.05, rng=rng)
        after = signals(change_tissue(normal, tissue_changes(clock)[0]))
        rows.append([after[s] / signals(normal)[s] * math.exp(0.03 * rng.normal()) for s in ("b0", "b1000", "flair")])
    return np.array([fate.onset_to_mri_min for fate in fates]), np.array(rows)


def test_the_observer_tells_the_time_and_no_longer_once_it_is_permuted() -> None:
    onsets, features = simulate(1500, seed=0)
    early = onsets < 270
    assert roc_auc_score(early, score_patients(features, early, seed=1)) == pytest.approx(0.83, abs=0.04)
    permuted = np.random.default_rng(5).permutation(early)
    assert roc_auc_score(permuted, score_patients(features, permuted, seed=1)) == pytest.approx(0.5, abs=0.04)


def test_a_class_of_one_gives_no_scores() -> None:
    scores = score_patients(np.ones((5, 2)), np.array([True, False, False, False, False]), seed=0)
    assert np.isnan(scores).all()


def test_readers_call_a_mismatch_where_dwi_is_bright_and_flair_is_not() -> None:
    def share(flair: float, b1000: float = 1.5) -> float:
        rng, features = np.random.default_rng(0), {"ratio_flair": flair, "ratio_b1000": b1000}
        return float(np.mean([list(read_mismatch(features, rng).values()) for _ in range(500)]))

    assert share(1.0) > 0.85 > 0.15 > share(1.35)
    assert share(1.0, b1000=1.02) == 0.0
    assert [reader.name for reader in READERS] == ["reader_1", "reader_2", "reader_3"]


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(CohortError, match="preset 'hardest' found; allowed: easy, paper-like, hard"):
        find_preset("hardest")
    assert find_preset(PRESETS["easy"]) is PRESETS["easy"]
