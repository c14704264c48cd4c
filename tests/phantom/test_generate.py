import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from scipy.stats import spearmanr

from tests.shared_data import SHARED_DATA
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.phantom import truth
from tissueclock.phantom.describe import describe_phantom, describe_rows
from tissueclock.phantom.generate import make_phantom
from tissueclock.phantom.nuisance import draw_scan
from tissueclock.phantom.presets import PRESETS, Preset
from tissueclock.storage.files import digest_file

REAL_MASKS = SHARED_DATA / "soop_lesions" / "masks"
CHECKSUMS_0_1 = (2193.419, 2064.032, 2047.219)
SMALL = {"preset": "paper-like", "shape": (6, 16, 8)}


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_unknown_onsets_hide_what_the_table_tells_and_nothing_of_images_or_truth(tmp_path: Path) -> None:
    shown = make_phantom(tmp_path / "shown", n_patients=20, n_held_out=4, seed=3, **SMALL)
    hidden = make_phantom(tmp_path / "hidden", n_patients=20, n_held_out=4, seed=3, unknown_onset=0.25, **SMALL)
    assert {name for name, digest in digests(hidden.folder).items() if digest != digests(shown.folder)[name]} == {
        "cohort.json",
        "hemispheres.tsv",
        "participants.tsv",
    }
    pairs = list(zip(hidden.patients, shown.patients, strict=True))
    unknown = [(own, full) for own, full in pairs if not own.is_scored]
    assert len(unknown) == 5
    assert sum(own.lesion_side is None for own, _ in unknown) == 2
    assert all(float(own.extra["last_seen_well_min"]) >= (full.onset_to_mri_min or 0) - 1 for own, full in unknown)
    assert all(own.is_scored for own, _ in pairs[20:])


def test_one_seed_gives_the_same_bytes_however_many_jobs_make_them(tmp_path: Path) -> None:
    for name, seed, n_jobs in (("one", 3, 1), ("two", 3, 2), ("three", 4, 1)):
        with parallel_config(backend="threading"):  # processes take seconds to start; test_calibration has them
            make_phantom(tmp_path / name, n_patients=4, seed=seed, n_jobs=n_jobs, **SMALL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one")["hemispheres.npy"] != digests(tmp_path / "three")["hemispheres.npy"]


def test_a_phantom_is_a_packed_cohort_with_the_truth_beside_it(phantom: Path) -> None:
    cohort = Cohort.open(phantom, verify=True)
    masks = np.load(phantom / truth.FOLDER / truth.MASKS, mmap_mode="r")
    assert masks.shape == (60, 8, 24, 12)
    assert [bool(mask.any()) for mask in masks] == [hemisphere.lesion for hemisphere in cohort.table]
    assert (cohort.hemispheres[:, 0][masks] > 0).all()
    lesions = truth.read_lesions(phantom / truth.FOLDER / truth.LESIONS)
    assert [lesion.patient for lesion in lesions] == [patient.participant_id for patient in cohort.patients]
    assert [lesion.numbers["onset_to_mri_min"] for lesion in lesions] == pytest.approx(
        [patient.onset_to_mri_min for patient in cohort.patients]
    )
    assert set(cohort.patients[0].readers) == {"reader_1", "reader_2", "reader_3"}
    assert set(cohort.patients[0].extra) == {"age", "sex", "nihss", "field"}
    assert cohort.source["preset"] == "easy"


def test_hemispheres_are_normalised_to_typical_tissue_and_empty_outside(phantom: Path) -> None:
    halves = Cohort.open(phantom).hemispheres.reshape(30, 2, 3, -1).astype(np.float32)
    for patient in halves:
        for series in range(3):
            values = patient[:, series]
            assert np.median(values[values > 0]) == pytest.approx(1.0, abs=0.01)
    assert (halves == 0).any(axis=(1, 3)).all()


def test_lesions_are_bright_on_b1000_where_the_mask_says(phantom: Path) -> None:
    lesions = truth.read_lesions(phantom / truth.FOLDER / truth.LESIONS)
    visible = [lesion.numbers["ratio_b1000"] for lesion in lesions if lesion.words["dwi_visible"] == "yes"]
    assert np.median(visible) > 1.25
    clean = [lesion.numbers["clean_ratio_flair"] for lesion in lesions]
    assert spearmanr([lesion.numbers["effective_min"] for lesion in lesions], clean).statistic > 0.75


def test_permuting_moves_the_onsets_and_nothing_else(tmp_path: Path) -> None:
    made = {
        permute: make_phantom(tmp_path / str(permute), n_patients=8, seed=1, permute_onset=permute, **SMALL)
        for permute in (False, True)
    }
    onsets = {permute: [p.onset_to_mri_min for p in cohort.patients] for permute, cohort in made.items()}
    assert onsets[True] != onsets[False]
    assert sorted(map(float, onsets[True])) == sorted(map(float, onsets[False]))
    assert (made[True].hemispheres == made[False].hemispheres).all()
    assert describe_phantom(tmp_path / "True").permuted


@pytest.mark.skipif(not REAL_MASKS.is_dir(), reason="the SOOP lesion masks are not beside this checkout")
def test_real_masks_lie_within_the_brain(tmp_path: Path) -> None:
    cohort = make_phantom(tmp_path / "c", n_patients=8, shape=(8, 24, 12), seed=5, lesions=REAL_MASKS)
    masks = np.load(tmp_path / "c" / truth.FOLDER / truth.MASKS)
    assert [bool(mask.any()) for mask in masks] == [hemisphere.lesion for hemisphere in cohort.table]
    assert (np.asarray(cohort.hemispheres)[:, 0][masks] > 0).all()


def test_progress_counts_the_patients_made(tmp_path: Path) -> None:
    counts: list[int] = []
    make_phantom(tmp_path / "c", n_patients=3, seed=1, progress=counts.append, **SMALL)
    assert counts == [1, 2, 3]


def test_nuisances_do_not_know_the_time(phantom: Path) -> None:
    """What is drawn for a scan depends on the patient's stream alone; over many, nothing goes with onset."""
    lesions = truth.read_lesions(phantom / truth.FOLDER / truth.LESIONS)
    onset = [lesion.numbers["onset_to_mri_min"] for lesion in lesions]
    for name in ("mirror_b0", "csf_b0"):
        assert spearmanr(onset, [lesion.numbers[name] for lesion in lesions]).pvalue > 0.01
    early, late = (draw_scan(0.2, np.random.default_rng(7)) for _ in range(2))
    assert early == late


def test_a_description_measures_against_targets_that_widen_with_few_patients(phantom: Path) -> None:
    description = describe_phantom(phantom)
    rows = {row.name: row for row in describe_rows(description)}
    assert rows["onset_p50_min"].measured == pytest.approx(222, abs=15)
    assert rows["onset_p50_min"].ok
    assert rows["auc_observer_4h5"].target == 0.94
    assert rows["auc_observer_4h5"].tolerance == pytest.approx(0.03 * (2000 / 30) ** 0.5)
    assert rows["white_matter_share"].ok is None
    permuted = {row.name: row for row in describe_rows(describe_phantom(phantom, permute_seed=1))}
    assert permuted["auc_flair_4h5"].target == 0.5
    assert permuted["auc_flair_4h5"].measured < rows["auc_flair_4h5"].measured


def test_lesions_may_come_from_a_folder_of_masks(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((157, 189, 136), dtype=np.uint8)
    volume[105:125, 90:120, 50:80] = 1
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [78, -112, -50]
    (tmp_path / "masks").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "masks" / "drawn.nii.gz")
    cohort = make_phantom(tmp_path / "c", n_patients=6, seed=2, lesions=tmp_path / "masks", **SMALL)
    lesions = truth.read_lesions(tmp_path / "c" / truth.FOLDER / truth.LESIONS)
    assert {lesion.words["territory"] for lesion in lesions} == {"drawn"}
    assert {patient.lesion_side for patient in cohort.patients} == {"left", "right"}
    assert 8 < np.median([lesion.numbers["volume_ml"] for lesion in lesions]) <= volume.sum() / 1000


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda f: make_phantom(f / "x", n_patients=0, seed=1, **SMALL), "n_patients is 0; at least 1 is needed"),
        (
            lambda f: make_phantom(f / "x", n_patients=1, seed=1, preset="?", shape=(4, 8, 4)),
            "preset '?' found; allowed",
        ),
        (lambda f: make_phantom(f / "x", n_patients=4, seed=3, shape=(2, 2, 2)), "(2, 2, 2) found; too coarse"),
        (lambda f: describe_phantom(f), "cohort.json: no such file"),
    ],
)
def test_wrong_input_is_one_clear_line(tmp_path: Path, act: Callable[[Path], object], message: str) -> None:
    with pytest.raises(CohortError, match=re.escape(message)):
        act(tmp_path)


def test_a_cohort_without_truth_cannot_be_described(toy_cohort: Cohort) -> None:
    with pytest.raises(CohortError, match="only a cohort made by `tissueclock phantom` has one"):
        describe_phantom(toy_cohort.folder)


def test_a_preset_of_ones_own_is_told_whole(tmp_path: Path) -> None:
    own = replace(PRESETS["easy@1"], name="mine", pile_up=0.4)
    cohort = make_phantom(tmp_path / "c", preset=own, n_patients=1, shape=(6, 16, 8), seed=3)
    assert Preset(**cohort.source["parameters"]) == own


def test_the_first_version_of_a_preset_makes_the_cohort_that_0_1_made(tmp_path: Path) -> None:
    cohort = make_phantom(tmp_path / "c", preset="easy@1", n_patients=3, shape=(6, 16, 8), seed=3)
    assert cohort.source["preset"] == "easy"
    assert set(cohort.source["parameters"]) == {
        "name", "collateral_sd", "t2_offset_sd_ms", "residual_bias_sd", "csf_asymmetry_sd",
    }  # fmt: skip
    checksums = np.asarray(cohort.hemispheres, dtype=np.float64).sum(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(checksums, CHECKSUMS_0_1, rtol=1e-4)  # by series; equal bytes on one machine
