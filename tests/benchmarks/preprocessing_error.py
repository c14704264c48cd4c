"""How far `preprocess` is from the truth of raw phantoms: figures per patient, medians and worst.

python -m tests.benchmarks.preprocessing_error RAW DERIVATIVES
"""

import csv
import json
import sys
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import SimpleITK

from tissueclock.grid import Grid
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.derivatives import Derivatives, PatientFolder, read_facts
from tissueclock.imaging.extraction import dice, extract_brain
from tissueclock.imaging.gridding import onto_grid
from tissueclock.imaging.placing import even_out
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.series import read_series
from tissueclock.imaging.transform import Transform
from tissueclock.imaging.volume import read_volume


def patient_transform(folder: PatientFolder) -> Transform:
    """The map from atlas to b0 that was found."""
    facts = read_facts(folder.facts)
    field = SimpleITK.ReadImage(str(folder.warp), SimpleITK.sitkVectorFloat64) if folder.warp.exists() else None
    return Transform(np.array(facts["transforms"]["b0_from_atlas"]), field)


def score_patient(raw: Path, folder: PatientFolder) -> dict[str, float]:
    """Errors of one patient against his truth."""
    truth = raw / "derivatives" / "truth" / folder.subject
    told = json.loads((truth / "truth.json").read_text())
    facts = read_facts(folder.facts)
    found = patient_transform(folder)
    errors = landmark_errors(raw, folder.subject, found)
    true_mask, mask = read_volume(truth / "brain_mask.nii.gz"), read_volume(folder.native_mask)
    inside = true_mask.data > 0.5
    scores = {
        "mask_dice": dice(inside, mask.data > 0.5),
        "landmark_median_mm": float(np.median(errors)),
        "landmark_max_mm": float(errors.max()),
    }
    points = np.argwhere(inside)[::97] @ true_mask.affine[:3, :3].T + true_mask.affine[:3, 3]
    for name in ("flair_from_b0", "b1000_from_b0"):
        if facts["transforms"][name] is not None:
            wrong = (np.array(facts["transforms"][name]) - np.array(told[name]))[:3]
            moved = np.linalg.norm(points @ wrong[:, :3].T + wrong[:, 3], axis=1)
            scores[f"{name.split('_')[0]}_residual_mm"] = float(moved.mean())
    grid = Grid(tuple(facts["settings"]["grid"]["shape"]), tuple(facts["settings"]["grid"]["spacing_mm"]))
    if (truth / "lesion_mask.nii.gz").exists():
        lesion = read_volume(truth / "lesion_mask.nii.gz")
        scores["lesion_ml"] = float(lesion.data.sum()) * lesion.voxel_ml
        carried = onto_grid(lesion, found, grid).data >= 0.5
        ideal = onto_grid(lesion, _true_transform(told), grid).data >= 0.5
        if told["anatomy"] == "affine" and ideal.any():
            scores["lesion_dice"] = dice(carried, ideal)
    return scores


def landmark_errors(raw: Path, subject: str, b0_from_atlas: Transform) -> npt.NDArray[np.float64]:
    """Distances (mm) of the landmarks that were scanned from where the map puts them."""
    scanner, mni = _landmarks(raw / "derivatives" / "truth" / subject / "landmarks.tsv")
    return np.asarray(np.linalg.norm(b0_from_atlas.points(mni) - scanner, axis=1))


def bias_left(raw: Path, subject: str) -> dict[str, float]:
    """SD of the log of true over estimated bias within the brain, and of the true bias, for b0 and FLAIR."""
    truth, files = raw / "derivatives" / "truth" / subject, find_files(raw, subject)
    scores: dict[str, float] = {}
    inside = read_volume(truth / "brain_mask.nii.gz").data > 0.5
    if files.adc is None:
        series = read_series(files, b_values=BValues())
        true = read_volume(truth / "bias_b0.nii.gz").data
        _, _, field = even_out(series, extract_brain(series.b0))
        left = np.log(true / field)[inside]
        scores |= {"bias_sd_b0": float(np.log(true)[inside].std()), "bias_left_b0": float(left.std())}
    return scores


def _true_transform(told: dict[str, object]) -> Transform:
    return Transform(np.array(told["scanner_from_mni"]))


def _landmarks(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    with path.open() as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if row["covered"] == "yes"]
    return (
        np.array([[float(row[f"scanner_{axis}_mm"]) for axis in "xyz"] for row in rows]),
        np.array([[float(row[f"mni_{axis}_mm"]) for axis in "xyz"] for row in rows]),
    )


def main(raw: Path, derivatives: Path) -> dict[str, list[float]]:
    """Prints a line a patient and a summary; gives the columns."""
    columns: dict[str, list[float]] = {}
    for folder in Derivatives(derivatives).done():
        scores = score_patient(raw, folder) | bias_left(raw, folder.subject)
        print(folder.subject, " ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        for name, value in scores.items():
            if value == value:
                columns.setdefault(name, []).append(value)
    for name, values in columns.items():
        print(
            f"{name:<24} n {len(values):>3}  median {median(values):.3f}  min {min(values):.3f}  max {max(values):.3f}"
        )
    return columns


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
