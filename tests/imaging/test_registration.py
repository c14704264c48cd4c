"""What the search and the rigid registration promise, on one raw phantom; the whole pipeline is in tests/e2e."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from tests.benchmarks.preprocessing_error import landmark_errors
from tissueclock.errors import ImageError
from tissueclock.imaging.ants_backend import AntsBackend
from tissueclock.imaging.atlas import load_atlas
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.extraction import extract_brain
from tissueclock.imaging.placing import place
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.registration import find_brain, register_rigid
from tissueclock.imaging.series import PatientSeries, read_series
from tissueclock.imaging.stopwatch import Stopwatch
from tissueclock.imaging.transform import Transform
from tissueclock.imaging.volume import Volume
from tissueclock.phantom.raw.make_raw import make_raw_phantom

SUBJECT = "sub-phantom0001"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "raw"
    make_raw_phantom(folder, n_patients=1, seed=2, anatomy="affine")
    return folder


@pytest.fixture(scope="module")
def series(raw: Path) -> PatientSeries:
    return read_series(find_files(raw, SUBJECT), b_values=BValues())


def turned(
    volume: Volume, *degrees: float, shift_mm: tuple[float, float, float]
) -> tuple[Volume, npt.NDArray[np.float64]]:
    """The same head as it would lie turned about its middle, and the map from here to there."""
    middle = (volume.affine @ np.append((np.array(volume.shape) - 1) / 2, 1.0))[:3]
    there = np.eye(4)
    there[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    there[:3, 3] = middle + shift_mm - there[:3, :3] @ middle
    return Volume(volume.data, there @ volume.affine), there


@pytest.mark.parametrize("degrees", [(0, 0, 0), (40, 0, 0), (-40, 0, 0), (0, 25, 0), (0, 0, 40), (-25, 15, 20)])
def test_a_head_is_found_however_it_is_tilted(raw: Path, series: PatientSeries, degrees: tuple[float, ...]) -> None:
    """Near enough to begin an affine registration with, and never upside down."""
    head, there = turned(series.b0, *degrees, shift_mm=(40.0, -60.0, 80.0))

    found = find_brain(head, load_atlas())

    assert np.median(landmark_errors(raw, SUBJECT, Transform(np.linalg.inv(there) @ found.b0_from_atlas))) < 6.0
    assert found.upside_down < 0.92 * found.similarity


def test_a_movement_between_series_is_found_again(series: PatientSeries) -> None:
    """b0 against itself, moved: what is found is the movement that was made."""
    moved, there = turned(series.b0, 3.0, -2.0, 4.0, shift_mm=(4.0, -6.0, 5.0))
    mask = extract_brain(series.b0)

    found = register_rigid(moved, series.b0, mask=mask)

    points = np.argwhere(mask)[::501] @ series.b0.affine[:3, :3].T + series.b0.affine[:3, 3]
    assert np.linalg.norm(points @ (found - there)[:3, :3].T + (found - there)[:3, 3], axis=1).max() < 0.5


def test_a_flair_of_another_place_is_one_line(series: PatientSeries) -> None:
    assert series.flair is not None
    away, _ = turned(series.flair, 0.0, 0.0, 0.0, shift_mm=(600.0, 0.0, 0.0))
    with pytest.raises(ImageError, match="sub-01: FLAIR does not cover the brain that b0 shows"):
        place(
            PatientSeries(series.b0, series.b1000, away, 1000.0, ()),
            subject="sub-01",
            atlas=load_atlas(),
            backend=AntsBackend(),
            kind="affine",
            watch=Stopwatch(),
        )
