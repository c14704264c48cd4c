"""A cohort so easy that a tiny network learns it in seconds: a bright square, the brighter on FLAIR the older."""

from pathlib import Path

import numpy as np

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter

SHAPE = (4, 32, 16)


def write_toy_cohort(folder: Path, *, n_patients: int = 60, seed: int = 5) -> Cohort:
    """Writes and opens it. Three in ten patients have an onset below 3 h, every other one below 4.5 h."""
    rng = np.random.default_rng(seed)
    onsets = rng.permutation(np.linspace(30, 540, n_patients))
    sides = ["left", "right"] * (n_patients // 2 + 1)
    patients = [
        Patient(participant_id=f"toy{i:03d}", onset_to_mri_min=float(onset), lesion_side=sides[i], readers={}, extra={})
        for i, onset in enumerate(onsets)
    ]
    writer = CohortWriter(
        folder,
        name="toy",
        patients=patients,
        shape=SHAPE,
        spacing_mm=(20.0, 6.0, 6.0),
        seed=seed,
        source={"tool": "toy"},
    )
    with writer:
        for patient in patients:
            halves = {side: _half(rng) for side in ("left", "right")}
            bright = halves[patient.lesion_side]
            bright[1, 1:3, 10:18, 5:11] += 1.0
            bright[2, 1:3, 10:18, 5:11] += (patient.onset_to_mri_min or 0) / 180
            writer.add(patient.participant_id, halves["left"], halves["right"])
    return Cohort.open(folder)


def _half(rng: np.random.Generator) -> np.ndarray:
    half = np.zeros((3, *SHAPE))
    half[:, :, 4:28, 2:] = 1 + 0.1 * rng.standard_normal((3, SHAPE[0], 24, 14))
    return half
