"""Derivatives as `preprocess` leaves them, made in milliseconds, for what reads them."""

from pathlib import Path
from typing import Any

import numpy as np

from tissueclock.grid import Grid, make_grid
from tissueclock.imaging.derivatives import SCHEMA, Derivatives, PatientFolder
from tissueclock.imaging.quality import FIGURES
from tissueclock.imaging.volume import Volume, write_volume
from tissueclock.storage.files import digest_file, write_json, write_text

GRID = make_grid((8, 12, 8))
FINE = {figure.name: min(max(0.0, figure.low), figure.high) for figure in FIGURES}
"""Figures that raise no flag."""

SETTINGS = {
    "grid": {"shape": list(GRID.shape), "spacing_mm": list(GRID.spacing_mm)},
    "atlas": {"name": "toy", "digest": "0"},
    "backend": "toy",
    "registration": "affine",
    "matching": True,
    "duplicates": "refuse",
    "session": None,
}


def write_patient(
    folder: Derivatives,
    subject: str,
    *,
    seed: int = 0,
    grid: Grid = GRID,
    figures: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    symmetric: bool = False,
    **facts: Any,
) -> PatientFolder:
    """A patient of noise above 0, with his facts."""
    patient = folder.patient(subject)
    n_slices, height, width = grid.whole_shape
    rng = np.random.default_rng(seed)
    for name in without:
        patient.series(name).unlink(missing_ok=True)
    for name in ("b0", "b1000", "flair"):
        if name not in without:
            data = rng.uniform(0.1, 2.0, (width, height, n_slices)).astype(np.float32)
            write_volume(patient.series(name), Volume(data + data[::-1] if symmetric else data, grid.affine))
    write_volume(patient.mask, Volume(rng.integers(0, 2, (width, height, n_slices)).astype(np.float32), grid.affine))
    write_text(patient.picture, "picture")
    told = {
        "schema": SCHEMA,
        "subject": subject,
        "input_digest": "digest",
        "settings": SETTINGS,
        "reference": "sub-01",
        "complete": not without,
        "files": {f"{subject}_dwi.nii.gz": f"{subject}-{seed}", f"{subject}_dwi.bval": "the same for all"},
        "quality": {"figures": {**FINE, **(figures or {})}, "brighter_side": None, "remarks": []},
        "notes": [],
        "digests": {
            str(path.relative_to(patient.path)): digest_file(path)
            for path in sorted(patient.path.rglob("*"))
            if path.is_file()
        },
    }
    write_json(patient.facts, {**told, **facts})
    if not folder.settings.exists():
        write_json(folder.settings, {"schema": SCHEMA, **SETTINGS})
    return patient


def write_participants(path: Path, **patients: tuple[str, str]) -> Path:
    """A manifest: subject -> onset, side."""
    lines = ["participant_id\tonset_to_mri_min\tlesion_side"]
    lines += [f"sub-{name.removeprefix('sub_')}\t{onset}\t{side}" for name, (onset, side) in patients.items()]
    write_text(path, "\n".join(lines) + "\n")
    return path
