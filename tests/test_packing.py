import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.imaging.preprocessed import GRID, SETTINGS, write_participants, write_patient
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, ImageError, TissueclockError
from tissueclock.grid import make_grid
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.quality_table import write_quality
from tissueclock.imaging.volume import read_volume, write_volume
from tissueclock.packing import is_packed_from, pack_cohort
from tissueclock.storage.files import write_text


@pytest.fixture
def folder(tmp_path: Path) -> Derivatives:
    folder = Derivatives(tmp_path / "deriv")
    for i in range(1, 6):
        write_patient(folder, f"sub-0{i}", seed=i, reference=None if i == 1 else "sub-01")
    write_participants(folder.participants, **{f"sub_0{i}": (f"{50.0 * i}", "left") for i in range(1, 6)})
    return folder


def test_halves_are_the_two_sides_of_the_image_the_right_one_mirrored(folder: Derivatives, tmp_path: Path) -> None:
    cohort = pack_cohort(folder.path, tmp_path / "cohort").cohort
    flair = read_volume(folder.patient("sub-03").series("flair")).data  # x to the right, y to the back, z up

    left, right = (np.asarray(cohort.hemispheres[row, 2], dtype=np.float32) for row in (4, 5))

    np.testing.assert_allclose(left, flair[:8].transpose(2, 1, 0), atol=1e-3)
    np.testing.assert_allclose(right, flair[:7:-1].transpose(2, 1, 0), atol=1e-3)
    assert (cohort.table[4].patient, cohort.table[4].side, cohort.table[4].lesion) == ("sub-03", "left", True)
    assert cohort.spacing_mm == GRID.spacing_mm


def test_left_and_right_of_a_symmetric_brain_agree_to_the_voxel(folder: Derivatives, tmp_path: Path) -> None:
    write_patient(folder, "sub-02", seed=2, symmetric=True)

    cohort = pack_cohort(folder.path, tmp_path / "cohort").cohort

    assert (cohort.hemispheres[2] == cohort.hemispheres[3]).all()
    assert (cohort.hemispheres[0] != cohort.hemispheres[1]).any()


def test_whoever_is_excluded_incomplete_or_unknown_is_left_out(folder: Derivatives, tmp_path: Path) -> None:
    write_patient(folder, "sub-05", seed=5, without=("flair",))
    write_patient(folder, "sub-07", seed=7)
    write_quality(folder, failed={})
    table = folder.quality_table.read_text().replace("sub-02\tno\tn/a", "sub-02\tyes\tmoved")
    folder.quality_table.write_text(table)
    write_participants(tmp_path / "list.tsv", **{f"sub_0{i}": (f"{50.0 * i}", "left") for i in (1, 2, 3, 4, 5, 8)})

    packing = pack_cohort(folder.path, tmp_path / "cohort", participants=tmp_path / "list.tsv")

    assert [patient.participant_id for patient in packing.cohort.patients] == ["sub-01", "sub-03", "sub-04"]
    assert packing.left == {
        "sub-02": "excluded in qc.tsv (moved)",
        "sub-05": "FLAIR is missing",
        "sub-07": "not in the manifest",
        "sub-08": "not preprocessed",
    }


def test_every_missing_series_is_named_and_patients_are_counted_by_what_they_lack(
    folder: Derivatives, tmp_path: Path
) -> None:
    write_patient(folder, "sub-02", seed=2, without=("flair",))
    write_patient(folder, "sub-03", seed=3, without=("flair", "b1000"))
    write_patient(folder, "sub-04", seed=4, without=("flair",))
    packing = pack_cohort(folder.path, tmp_path / "cohort")
    assert packing.left["sub-03"] == "b1000 and FLAIR are missing"
    assert packing.reasons == (("FLAIR is missing", 2), ("b1000 and FLAIR are missing", 1))


def test_who_failed_in_preprocess_is_left_out_with_the_reason_found_there(folder: Derivatives, tmp_path: Path) -> None:
    write_text(folder.failures, "participant_id\treason\nsub-06\tsub-06: no *_dwi.nii.gz below raw/sub-06\n")
    write_participants(folder.participants, **{f"sub_0{i}": (f"{50.0 * i}", "left") for i in range(1, 7)})
    packing = pack_cohort(folder.path, tmp_path / "cohort")
    assert packing.left == {"sub-06": "not preprocessed (no *_dwi.nii.gz below raw/sub-06)"}
    assert packing.reasons == (("not preprocessed", 1),)


def test_the_same_derivatives_give_the_same_bytes_and_hold_the_digests(folder: Derivatives, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack_cohort(folder.path, tmp_path / name, name="x", seed=3)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    source = Cohort.open(tmp_path / "one", verify=True).source
    assert source["preprocessing"]["reference"] == "sub-01"
    assert len(source["patients"]) == 64


def test_memory_does_not_grow_with_the_cohort(
    folder: Derivatives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tissueclock.storage.files._CHUNK_BYTES", 1 << 16)  # 4 MB, or a small file whole
    grid = make_grid((8, 48, 24))
    settings = {**SETTINGS, "grid": {"shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)}}
    peaks = []
    for n in (4, 24):
        names = [f"sub-{i}" for i in range(10, 10 + n)]
        for i, name in enumerate(names):
            write_patient(folder, name, seed=i, grid=grid, settings=settings)
        listed = write_participants(tmp_path / f"{n}.tsv", **{name.replace("-", "_"): ("90", "left") for name in names})
        tracemalloc.start()
        pack_cohort(folder.path, tmp_path / f"cohort{n}", participants=listed)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    patient_bytes = 8 * 48 * 48 * 3 * 4
    assert peaks[1] - peaks[0] < 2 * patient_bytes, "20 patients more were packed"


def altered(folder: Derivatives) -> None:
    patient = folder.patient("sub-04")
    volume = read_volume(patient.series("b0"))
    write_volume(patient.series("b0"), volume.like(volume.data * 1.1))


def truncated(folder: Derivatives) -> None:
    path = folder.patient("sub-04").series("b0")
    path.write_bytes(path.read_bytes()[:50])


FAULTS = {
    "an image that was altered": (altered, CohortError, r"desc-b0_dwi\.nii\.gz: SHA-256 .* it was altered"),
    "an image cut off": (truncated, CohortError, r"SHA-256 .* it was altered"),
    "an image that is gone": (
        lambda f: f.patient("sub-04").series("b0").unlink(),
        ImageError,
        "no such file; run `tissueclock preprocess` again",
    ),
    "another grid": (
        lambda f: write_patient(
            f,
            "sub-04",
            seed=4,
            grid=make_grid((8, 12, 9)),
            settings={**SETTINGS, "grid": {"shape": [8, 12, 9], "spacing_mm": [17.0, 15.3333, 8.2222]}},
        ),
        CohortError,
        "sub-01 and sub-04 were preprocessed differently",
    ),
    "another reference": (
        lambda f: write_patient(f, "sub-04", seed=4, reference="sub-02"),
        CohortError,
        "preprocessed differently",
    ),
    "brain masks given to some": (
        lambda f: write_patient(f, "sub-04", seed=4, brain_mask={"file": "m.nii.gz", "digest": "0"}),
        CohortError,
        r"sub-01 and sub-04 were preprocessed differently \(brain masks is None and given\)",
    ),
    "one patient twice": (
        lambda f: write_patient(f, "sub-04", seed=4, files={"sub-04_FLAIR.nii.gz": "sub-02-2"}),
        CohortError,
        "sub-04 and sub-02 share an image .* would leak from training to holdout",
    ),
    "no manifest": (lambda f: f.participants.unlink(), CohortError, "participants.tsv: no such file"),
    "a side that is none": (
        lambda f: write_participants(f.participants, sub_01=("n/a", "unsure")),
        CohortError,
        "lesion_side is 'unsure'; allowed: left, right, both, none or n/a",
    ),
    "nobody left": (
        lambda f: write_participants(f.participants, sub_99=("100", "left")),
        CohortError,
        "nobody left to pack",
    ),
    "facts that are no JSON": (
        lambda f: f.patient("sub-04").facts.write_text("{"),
        ImageError,
        "cannot be read as JSON",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_derivatives_are_one_line_and_nothing_is_left(folder: Derivatives, tmp_path: Path, fault: str) -> None:
    break_it, kind, message = FAULTS[fault]
    break_it(folder)  # type: ignore[operator]
    with pytest.raises(kind, match=message) as caught:  # type: ignore[arg-type]
        pack_cohort(folder.path, tmp_path / "cohort")
    assert isinstance(caught.value, TissueclockError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cohort").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_lesion_masks_lie_beside_the_hemispheres_half_for_half(folder: Derivatives, tmp_path: Path) -> None:
    patient = folder.patient("sub-02")
    flair = read_volume(patient.series("flair"))
    mask = np.zeros(flair.shape, dtype=np.float32)
    mask[1, 4, 3] = 1.0  # the patient's left
    mask[12, 5, 2] = 0.4  # less than half of a voxel
    write_volume(patient.lesion, flair.like(mask))
    write_patient(folder, "sub-02", seed=2, reference="sub-01", lesion={"ml": 1.25, "ml_in_atlas_space": 1.5})

    cohort = pack_cohort(folder.path, tmp_path / "cohort").cohort

    masks = cohort.lesion_masks
    assert masks is not None
    assert [np.argwhere(half).tolist() for half in masks[2:4]] == [[[3, 4, 1]], []]
    assert not masks[[0, 1, 4, 5, 6, 7, 8, 9]].any()
    assert [patient.extra.get("lesion_ml") for patient in cohort.patients[:3]] == ["n/a", "1.250", "n/a"]
    assert not (cohort.folder / "truth").exists()  # what marks a phantom


def test_a_lesion_mask_that_was_altered_is_refused(folder: Derivatives, tmp_path: Path) -> None:
    patient = folder.patient("sub-02")
    flair = read_volume(patient.series("flair"))
    write_volume(patient.lesion, flair)
    write_patient(folder, "sub-02", seed=2, reference="sub-01", lesion={"ml": 1.0, "ml_in_atlas_space": 1.0})
    write_volume(patient.lesion, flair.like(flair.data[::-1].copy()))
    with pytest.raises(CohortError, match=r"lesion_mask\.nii\.gz: SHA-256"):
        pack_cohort(folder.path, tmp_path / "cohort")
    assert not (tmp_path / "cohort").exists()


def test_without_any_mask_there_is_no_file_of_masks(folder: Derivatives, tmp_path: Path) -> None:
    assert pack_cohort(folder.path, tmp_path / "cohort").cohort.lesion_masks is None


def test_a_patient_without_flair_is_packed_when_asked_zeros_in_its_place(folder: Derivatives, tmp_path: Path) -> None:
    write_patient(folder, "sub-04", seed=4, without=("flair",), reference="sub-01")
    write_patient(folder, "sub-05", seed=5, without=("b1000",), reference="sub-01")

    packing = pack_cohort(folder.path, tmp_path / "cohort", allow_missing=("flair",))

    has = {patient.participant_id: patient.has_flair for patient in packing.cohort.patients}
    assert has == {"sub-01": True, "sub-02": True, "sub-03": True, "sub-04": False}
    assert packing.left == {"sub-05": "b1000 is missing"}
    with_flair, without = packing.cohort.hemispheres[:6], packing.cohort.hemispheres[6:]
    assert with_flair.any(axis=(2, 3, 4)).all()
    assert without.any(axis=(2, 3, 4)).tolist() == [[True, True, False]] * 2


def test_what_was_packed_is_known_again_until_images_onsets_or_exclusions_change(
    folder: Derivatives, tmp_path: Path
) -> None:
    made = tmp_path / "cohort"
    assert not is_packed_from(folder.path, made)
    pack_cohort(folder.path, made)
    assert is_packed_from(folder.path, made)

    before = folder.participants.read_text()
    folder.participants.write_text(before.replace("100.0", "101.0"))
    assert not is_packed_from(folder.path, made)
    folder.participants.write_text(before)
    assert is_packed_from(folder.path, made)

    write_patient(folder, "sub-03", seed=33, reference="sub-01")
    assert not is_packed_from(folder.path, made)
