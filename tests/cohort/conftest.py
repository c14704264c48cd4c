"""Small cohorts that are quick to pack."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tissueclock.cohort.manifest import LesionSide, Patient
from tissueclock.cohort.writer import CohortWriter

Pack = Callable[[Path, list[Patient]], Path]


@pytest.fixture
def patients() -> list[Patient]:
    sides: tuple[LesionSide, ...] = ("left", "right", "both", "none")
    onsets = [None if i % 4 == 3 else 60.0 + 20 * i for i in range(20)]
    return [Patient(f"p{i:02d}", onset, sides[i % 4], readers={}, extra={}) for i, onset in enumerate(onsets)]


@pytest.fixture
def pack() -> Pack:
    def write(folder: Path, patients: list[Patient]) -> Path:
        """Hemispheres of 2 x 4 x 3 voxels that hold their own row number, so that a gather can be checked."""
        half = np.ones((3, 2, 4, 3), dtype=np.float32)
        with CohortWriter(
            folder,
            name="small",
            patients=patients,
            shape=(2, 4, 3),
            spacing_mm=(6.0, 2.0, 2.0),
            seed=5,
            source={"tool": "test"},
        ) as writer:
            for i in reversed(range(len(patients))):
                writer.add(patients[i].participant_id, half * 2 * i, half * (2 * i + 1))
        return folder

    return write


@pytest.fixture
def packed(tmp_path: Path, pack: Pack, patients: list[Patient]) -> Path:
    return pack(tmp_path / "cohort", patients)


@pytest.fixture
def write_tsv(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "table.tsv"
        path.write_text("".join(line + "\n" for line in lines))
        return path

    return write
