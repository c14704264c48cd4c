import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from joblib import parallel_config
from scipy.ndimage import binary_erosion, map_coordinates

from tissueclock.cohort.manifest import read_manifest
from tissueclock.errors import CohortError
from tissueclock.imaging.bvalues import read_bvals
from tissueclock.imaging.volume import Volume, read_volume, read_volumes
from tissueclock.phantom import truth as phantom_truth
from tissueclock.phantom.anatomy import template
from tissueclock.phantom.generate import make_phantom
from tissueclock.phantom.patient import PatientPlan
from tissueclock.phantom.raw.head import FINE_GRID
from tissueclock.phantom.raw.make_raw import make_raw_phantom, variant_of
from tissueclock.storage.files import digest_file, write_text
from tissueclock.storage.tsv import read_rows

N_PATIENTS, SEED = 4, 1
SUBJECTS = [f"sub-phantom{i + 1:04d}" for i in range(N_PATIENTS)]
TRUTH = Path("derivatives") / "truth"


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "bent"
    make_raw_phantom(folder, n_patients=N_PATIENTS, seed=SEED)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "straight"
    make_raw_phantom(folder, n_patients=2, seed=7, anatomy="affine")
    return folder


def facts(folder: Path, subject: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / TRUTH / subject / "truth.json").read_text())
    return found


def dwi(folder: Path, subject: str) -> tuple[Volume, ...]:
    return read_volumes(folder / subject / "dwi" / f"{subject}_dwi.nii.gz")


def flair(folder: Path, subject: str) -> Volume:
    return read_volume(folder / subject / "anat" / f"{subject}_FLAIR.nii.gz")


def true_volume(folder: Path, subject: str, name: str) -> Volume:
    """Read without the checks of a scan: a mask may be of one value, a bias has no air."""
    image = nibabel.load(folder / TRUTH / subject / f"{name}.nii.gz")
    return Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64))


def mapped(affine: Any, points: np.ndarray) -> np.ndarray:
    matrix = np.asarray(affine)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def at(volume: Volume, scanner_mm: np.ndarray, *, order: int = 1) -> np.ndarray:
    voxels = mapped(np.linalg.inv(volume.affine), scanner_mm)
    return map_coordinates(volume.data, voxels.T, order=order, mode="nearest")


def covered(volume: Volume, scanner_mm: np.ndarray) -> np.ndarray:
    voxels = mapped(np.linalg.inv(volume.affine), scanner_mm)
    return ((voxels >= 0) & (voxels <= np.array(volume.data.shape) - 1)).all(axis=1)


def places_mm(mask: Volume) -> np.ndarray:
    return mapped(mask.affine, np.argwhere(mask.data > 0).astype(np.float64))


def landmarks(folder: Path, subject: str) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    rows = read_rows(folder / TRUTH / subject / "landmarks.tsv", required=("name", "region", "covered"))
    scanner, mni = (
        np.array([[float(row.cells[f"{space}_{axis}_mm"]) for axis in "xyz"] for row in rows])
        for space in ("scanner", "mni")
    )
    return scanner, mni, Counter(row.cells["region"] for row in rows)


def test_the_patients_are_those_of_the_packed_phantom(bent: Path, tmp_path: Path) -> None:
    raw = read_manifest(bent / "participants.tsv")
    packed = make_phantom(tmp_path / "c", n_patients=N_PATIENTS, shape=(6, 16, 8), seed=SEED).patients
    assert [p.participant_id for p in raw] == SUBJECTS
    for name in ("onset_to_mri_min", "lesion_side"):
        assert [getattr(p, name) for p in raw] == [getattr(p, name) for p in packed]
    for name in ("age", "sex", "field"):
        assert [p.extra[name] for p in raw] == [p.extra[name] for p in packed]
    assert set(raw[0].readers) == {"reader_1", "reader_2", "reader_3"}
    lesions = phantom_truth.read_lesions(bent / TRUTH / "lesions.tsv")
    twins = phantom_truth.read_lesions(tmp_path / "c" / "truth" / "lesions.tsv")
    assert [lesion.patient for lesion in lesions] == SUBJECTS
    assert [lesion.words for lesion in lesions] == [lesion.words for lesion in twins]
    volumes = [[lesion.numbers["volume_ml"] for lesion in those] for those in (lesions, twins)]
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.35)  # of the packed one, a voxel holds 3 ml
    assert (bent / TRUTH / "observer.tsv").is_file()


def test_every_kind_of_dwi_comes_with_its_b_values(bent: Path) -> None:
    assert Counter(variant_of(i) for i in range(30)) == {"trace": 18, "directions": 9, "adc": 3}
    expected = {"trace": [0, 1000], "directions": [0, 1000, 1000, 1000], "adc": [1000]}
    for i, subject in enumerate(SUBJECTS):
        assert facts(bent, subject)["dwi_variant"] == variant_of(i)
        images = dwi(bent, subject)
        bvals = read_bvals(bent / subject / "dwi" / f"{subject}_dwi.bval", len(images))
        assert bvals.tolist() == expected[variant_of(i)]
        vectors = np.loadtxt(bent / subject / "dwi" / f"{subject}_dwi.bvec", ndmin=2)
        assert vectors.shape == (3, len(images))
        assert (bent / subject / "dwi" / f"{subject}_ADC.nii.gz").is_file() == (variant_of(i) == "adc")


def test_series_are_thick_slices_and_flair_has_a_matrix_of_its_own(bent: Path) -> None:
    for subject in SUBJECTS:
        diffusion, anatomy = dwi(bent, subject)[0], flair(bent, subject)
        for volume, edges in ((diffusion, (1.7, 2.0)), (anatomy, (0.75, 0.95))):
            assert 22 <= volume.data.shape[2] <= 30
            assert 5.0 <= volume.spacing_mm[2] <= 8.0
            assert edges[0] - 1e-3 <= volume.spacing_mm[0] <= edges[1] + 1e-3
        assert diffusion.data.shape[:2] in {(112, 112), (128, 128), (144, 144)}
        assert anatomy.data.shape[:2] != diffusion.data.shape[:2]


def test_the_brain_mask_is_where_the_pose_puts_the_templates_brain(straight: Path) -> None:
    """Forward from the template's voxels, where the phantom pulled; the ends that were not scanned say nothing."""
    inside = template(FINE_GRID).inside
    i_slice, i_row, i_column = np.indices(inside.shape).reshape(3, -1)[:, ::7]
    mni = mapped(FINE_GRID.affine, np.stack([i_column, i_row, i_slice], axis=1).astype(np.float64))
    truly = inside[i_slice, i_row, i_column] >= 0.5
    for subject in SUBJECTS[:2]:
        mask = true_volume(straight, subject, "brain_mask")
        scanner = mapped(facts(straight, subject)["scanner_from_mni"], mni)
        voxels = mapped(np.linalg.inv(mask.affine), scanner)
        scanned = ((voxels > -0.5) & (voxels < np.array(mask.data.shape) - 0.5)).all(axis=1)
        seen = at(mask, scanner, order=0) > 0.5
        assert scanned[truly].mean() > 0.85
        assert 2 * (seen & truly & scanned).sum() / (seen[scanned].sum() + truly[scanned].sum()) > 0.97
        apart = scanner[seen & scanned].mean(axis=0) - scanner[truly & scanned].mean(axis=0)
        assert np.linalg.norm(apart) < 0.5


def test_landmarks_of_an_affine_person_are_related_by_his_pose(straight: Path) -> None:
    for subject in SUBJECTS[:2]:
        scanner, mni, regions = landmarks(straight, subject)
        np.testing.assert_allclose(scanner, mapped(facts(straight, subject)["scanner_from_mni"], mni), atol=1e-5)
        assert 60 <= len(mni) <= 100
        assert min(regions[name] for name in ("cortex", "deep", "ventricle", "cerebellum")) >= 10


def test_landmarks_of_a_bent_person_are_off_by_millimetres(bent: Path) -> None:
    for subject in SUBJECTS:
        scanner, mni, _ = landmarks(bent, subject)
        off = np.linalg.norm(scanner - mapped(facts(bent, subject)["scanner_from_mni"], mni), axis=1)
        assert 1.0 < np.median(off) < 10.0
        assert off.max() < 20.0


def test_dividing_by_the_bias_evens_out_the_brain(bent: Path) -> None:
    """Slope of the log signal on the log bias, over brain without CSF: 1 as scanned, 0 once divided."""
    for subject in SUBJECTS:
        image, bias = flair(bent, subject), true_volume(bent, subject, "bias_flair")
        mask = true_volume(bent, subject, "brain_mask")
        deep = mask.like(binary_erosion(mask.data, iterations=3))  # sulci at the edge look like unevenness
        places = mapped(facts(bent, subject)["flair_from_b0"], places_mm(deep))
        places = places[covered(image, places)]
        signal, gain = at(image, places), at(bias, places)
        usable = signal > 0.7 * np.median(signal)
        log_signal, log_gain = np.log(signal[usable]), np.log(gain[usable])
        assert 0.15 < np.ptp(gain) < 0.6
        assert np.polyfit(log_gain, log_signal, 1)[0] == pytest.approx(1.0, abs=0.35)
        assert np.polyfit(log_gain, log_signal - log_gain, 1)[0] == pytest.approx(0.0, abs=0.35)


def test_flair_lies_where_the_movement_says(bent: Path) -> None:
    """CSF is bright on b0 and dark on FLAIR: the two are most unlike where they truly meet."""
    for subject in [s for i, s in enumerate(SUBJECTS) if variant_of(i) != "adc"]:
        b0, image, mask = dwi(bent, subject)[0], flair(bent, subject), true_volume(bent, subject, "brain_mask")
        movement, places = facts(bent, subject)["flair_from_b0"], places_mm(mask)
        places = places[covered(image, mapped(movement, places))]
        moved = mapped(movement, places)
        csf = np.log(at(b0, places))
        shifts_mm = np.vstack([np.zeros(3), 4.0 * np.eye(3), -4.0 * np.eye(3)])
        likeness = [float(np.corrcoef(csf, at(image, moved + shift))[0, 1]) for shift in shifts_mm]
        assert likeness[0] < -0.3
        assert likeness[0] < min(likeness[1:]) - 0.005


def test_an_adc_map_gives_a_b0_back(bent: Path) -> None:
    subject = SUBJECTS[3]
    (b1000,) = dwi(bent, subject)
    adc = read_volume(bent / subject / "dwi" / f"{subject}_ADC.nii.gz")
    brain = true_volume(bent, subject, "brain_mask").data > 0
    assert 700 < np.median(adc.data[brain]) < 1000
    assert np.quantile(adc.data[brain], 0.99) > 2000
    b0 = b1000.data[brain] * np.exp(1000.0 * adc.data[brain] * 1e-6)
    assert 2.0 < np.median(b0) / np.median(b1000.data[brain]) < 3.0
    assert np.quantile(b0, 0.98) > 1.8 * np.median(b0)


def test_lesions_are_marked_on_their_sides_and_bright_on_b1000(bent: Path) -> None:
    words = {lesion.patient: lesion.words for lesion in phantom_truth.read_lesions(bent / TRUTH / "lesions.tsv")}
    for patient in read_manifest(bent / "participants.tsv"):
        subject = patient.participant_id
        lesion, brain = (true_volume(bent, subject, f"{name}_mask") for name in ("lesion", "brain"))
        pose = np.linalg.inv(facts(bent, subject)["scanner_from_mni"])
        x_mm = mapped(pose, places_mm(lesion))[:, 0]
        sides = {side for side, there in (("left", x_mm < -1), ("right", x_mm > 1)) if there.any()}
        assert sides == ({"left", "right"} if patient.lesion_side == "both" else {patient.lesion_side})
        b1000 = dwi(bent, subject)[-1].data / true_volume(bent, subject, "bias_b1000").data
        if words[subject]["dwi_visible"] == "yes":
            spared = (brain.data > 0) & (lesion.data == 0)  # one lesion is a fifth of its brain, and lifts the median
            assert np.median(b1000[lesion.data > 0]) > 1.1 * np.median(b1000[spared])


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_seed_gives_the_same_bytes_however_many_jobs_make_them(straight: Path, tmp_path: Path) -> None:
    with parallel_config(backend="threading"):  # processes take seconds to start
        make_raw_phantom(tmp_path / "two", n_patients=2, seed=7, anatomy="affine", n_jobs=2)
    assert digests(tmp_path / "two") == digests(straight)


def test_a_phantom_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(plan: PatientPlan, *, folder: Path, **options: Any) -> None:
        write_text(folder / plan.participant_id / "half.txt", "a patient half made")
        raise KeyboardInterrupt

    monkeypatch.setattr("tissueclock.phantom.raw.make_raw.make_raw_patient", stop)
    with pytest.raises(KeyboardInterrupt):
        make_raw_phantom(tmp_path / "raw", n_patients=2, seed=1)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="n_patients is 0; at least 1 is needed"):
        make_raw_phantom(tmp_path / "raw", n_patients=0, seed=1)
    (tmp_path / "kept.txt").touch()
    with pytest.raises(CohortError, match="exists already; a raw phantom is written to a new or empty folder"):
        make_raw_phantom(tmp_path, n_patients=1, seed=1)
