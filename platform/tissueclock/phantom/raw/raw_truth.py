"""The truth beside a raw phantom: masks, gains and maps of each patient, and landmarks to measure a registration with.

Conventions: maps are 4 by 4 and act on (x, y, z, 1) in mm. `scanner_from_mni` takes the person's own frame (MNI, where
`anatomy` is affine; MNI bent by the person's warp otherwise) to the scanner at the time of b0. `flair_from_b0` takes
the place of a point of the head at the time of b0 to its place at the time of FLAIR, both as the files' headers count
scanner mm; `b1000_from_b0` likewise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, map_coordinates

from tissueclock.imaging.volume import write_nifti
from tissueclock.phantom.anatomy import template
from tissueclock.phantom.person import Warp
from tissueclock.phantom.raw.acquisition import Visit
from tissueclock.phantom.raw.head import FINE_GRID
from tissueclock.phantom.raw.pose import apply
from tissueclock.storage.files import write_json
from tissueclock.storage.tsv import write_rows

FOLDER = Path("derivatives") / "truth"
FACTS, LANDMARKS = "truth.json", "landmarks.tsv"
LANDMARK_COLUMNS = (
    "name", "region", "scanner_x_mm", "scanner_y_mm", "scanner_z_mm", "mni_x_mm", "mni_y_mm", "mni_z_mm", "covered",
)  # fmt: skip

CONVENTIONS = (
    "4x4 maps act on (x, y, z, 1) in mm. scanner_from_mni: the person's own frame (MNI but for the warp, where anatomy "
    "is nonlinear) to the scanner at the time of b0. flair_from_b0, b1000_from_b0: a point of the head at the time of "
    "b0 to the same point at that series' time, in scanner mm of the files' headers. Stored values are gain times bias "
    "times signal, and noise."
)

_DEEP_MM: Mapping[str, tuple[float, float, float]] = {
    "caudate": (12.0, 12.0, 10.0),
    "putamen": (26.0, 4.0, 2.0),
    "pallidum": (19.0, -4.0, 0.0),
    "thalamus": (12.0, -18.0, 8.0),
    "capsule": (22.0, -14.0, 10.0),
    "insula": (38.0, 4.0, 2.0),
    "hippocampus": (28.0, -20.0, -14.0),
    "amygdala": (23.0, -4.0, -18.0),
    "genu": (3.0, 26.0, 8.0),
    "splenium": (3.0, -38.0, 14.0),
    "midbrain": (6.0, -20.0, -12.0),
    "pons": (5.0, -26.0, -32.0),
}
"""Right-hand places in MNI; each has a left one. Read off the template by eye, good to some millimetres: a landmark is
a point that has two names, not the middle of a structure."""

_N_CORTEX, _N_VENTRICLES, _N_CEREBELLUM = 36, 14, 14
_INVERSION_STEPS = 25


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points of one person's brain, in the person's own frame and in MNI."""

    names: tuple[str, ...]
    regions: tuple[str, ...]
    person_mm: Float[np.ndarray, "point 3"]
    mni_mm: Float[np.ndarray, "point 3"]


def find_landmarks(warp: Warp | None) -> Landmarks:
    """Finds the template's landmarks in a person.

    Args:
        warp: From which voxel of the template each voxel of the person took its tissue; None where it was the same one.

    Returns:
        88 landmarks, the same ones in every person, in cortex, deep structures, ventricles' edges and cerebellum.
    """
    names, regions, wanted_mm = _template_landmarks()
    if warp is None:
        return Landmarks(names, regions, wanted_mm, wanted_mm)
    to_mm, to_voxel = FINE_GRID.affine, np.linalg.inv(FINE_GRID.affine)
    wanted = apply(to_voxel, wanted_mm)[:, ::-1]
    place = wanted.copy()
    # The warp is smooth and small, so that stepping by what is missing converges.
    for _ in range(_INVERSION_STEPS):
        place += wanted - _look_up(warp, place)
    return Landmarks(names, regions, apply(to_mm, place[:, ::-1]), apply(to_mm, _look_up(warp, place)[:, ::-1]))


def write_patient_truth(folder: Path, visit: Visit, *, landmarks: Landmarks, facts: Mapping[str, Any]) -> None:
    """Writes `sub-*/` of the truth.

    Args:
        folder: The patient's folder, to be made.
        visit: What happened at the scanner.
        landmarks: Of the person.
        facts: More for `truth.json`: who, which anatomy.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    affine = visit.frames["b0"].affine
    write_nifti(folder / "brain_mask.nii.gz", visit.brain, affine=affine, dtype=np.uint8)
    write_nifti(folder / "lesion_mask.nii.gz", visit.lesion, affine=affine, dtype=np.uint8)
    for name, bias in visit.biases.items():
        write_nifti(folder / f"bias_{name}.nii.gz", bias, affine=visit.frames[name].affine)
    maps = {
        "scanner_from_mni": visit.scanner_from_mni,
        "flair_from_b0": visit.movements["flair"],
        "b1000_from_b0": visit.movements["b1000"],
    }
    write_json(
        folder / FACTS,
        {
            **facts,
            **{name: affine.tolist() for name, affine in maps.items()},
            "conventions": CONVENTIONS,
            "dwi_variant": visit.variant,
            "gains": dict(visit.gains),
            "thickness_mm": {name: visit.frames[name].thickness_mm for name in ("b0", "flair")},
        },
    )
    _write_landmarks(folder / LANDMARKS, landmarks, visit)


def _write_landmarks(path: Path, landmarks: Landmarks, visit: Visit) -> None:
    scanner_mm = apply(visit.scanner_from_mni, landmarks.person_mm)
    frame = visit.frames["b0"]
    voxels = apply(np.linalg.inv(frame.affine), scanner_mm)
    covered = np.all((voxels > -0.5) & (voxels < np.array(frame.shape) - 0.5), axis=1) & _within_brain_box(landmarks)
    numbers = np.hstack([scanner_mm, landmarks.mni_mm])
    write_rows(
        path,
        columns=LANDMARK_COLUMNS,
        rows=(
            {
                "name": landmarks.names[i],
                "region": landmarks.regions[i],
                **{column: f"{mm:.6f}" for column, mm in zip(LANDMARK_COLUMNS[2:8], numbers[i], strict=True)},
                "covered": "yes" if covered[i] else "no",
            }
            for i in range(len(landmarks.names))
        ),
    )


def _within_brain_box(landmarks: Landmarks) -> npt.NDArray[np.bool_]:
    """A strong warp can push a piece of cortex over the edge of what was made: there is nothing to be found there."""
    n_slices, height, width = FINE_GRID.whole_shape
    voxels = apply(np.linalg.inv(FINE_GRID.affine), landmarks.person_mm)
    return np.asarray(np.all((voxels >= 0) & (voxels <= np.array([width, height, n_slices]) - 1), axis=1))


def _look_up(warp: Warp, place: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The template's voxel (slice, row, column) for places in the person's."""
    return np.stack([map_coordinates(axis, place.T, order=1, mode="nearest", output=np.float64) for axis in warp], 1)


@lru_cache(maxsize=1)
def _template_landmarks() -> tuple[tuple[str, ...], tuple[str, ...], Float[np.ndarray, "point 3"]]:
    """Names, regions and MNI mm."""
    tissues = template(FINE_GRID)
    z, y, x = np.meshgrid(*FINE_GRID.axes_mm(), indexing="ij", sparse=True)
    depth_mm = distance_transform_edt(tissues.inside >= 0.5, sampling=FINE_GRID.spacing_mm)
    low_back = (z < -22) & (y < -40)
    central = (np.abs(x) < 36) & (y > -46) & (y < 36) & (z > -4) & (z < 36)
    places = {
        "cortex": ((tissues.gm > 0.6) & (depth_mm < 9) & (z > -36) & ~low_back, _N_CORTEX),
        "ventricle": ((np.abs(tissues.csf - 0.5) < 0.2) & (depth_mm > 25) & central, _N_VENTRICLES),
        "cerebellum": ((tissues.gm > 0.6) & (z < -26) & (y < -46), _N_CEREBELLUM),
    }
    names, regions, points = [], [], []
    for region, (where, n) in places.items():
        i, j, k = np.nonzero(where)
        candidates = np.stack([x.ravel()[k], y.ravel()[j], z.ravel()[i]], axis=1)
        points.append(_far_apart(candidates, n))
        names += [f"{region}_{number + 1:02d}" for number in range(n)]
        regions += [region] * n
    for name, (across, forward, up) in _DEEP_MM.items():
        points.append(np.array([[across, forward, up], [-across, forward, up]]))
        names += [f"{name}_right", f"{name}_left"]
        regions += ["deep"] * 2
    return tuple(names), tuple(regions), np.vstack(points)


def _far_apart(candidates: Float[np.ndarray, "candidate 3"], n: int) -> Float[np.ndarray, "point 3"]:
    """Points of which each is the candidate farthest from those before; the first is farthest from the middle."""
    middle = candidates.mean(axis=0)
    chosen = [int(np.linalg.norm(candidates - middle, axis=1).argmax())]
    distance = np.full(len(candidates), np.inf)
    for _ in range(n - 1):
        np.minimum(distance, np.linalg.norm(candidates - candidates[chosen[-1]], axis=1), out=distance)
        chosen.append(int(distance.argmax()))
    return candidates[chosen]
