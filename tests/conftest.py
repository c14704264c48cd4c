"""What many tests share: a toy cohort, a private home, Ray on this machine, the wheel."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toy import write_toy_cohort
from tissueclock.cohort.store import Cohort


@pytest.fixture(scope="session")
def toy_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Sixty toy patients, packed."""
    return write_toy_cohort(tmp_path_factory.mktemp("toy") / "cohort")


@pytest.fixture(scope="session")
def ray_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine, two CPUs."""
    import os

    import ray

    from tissueclock.sweeping import cluster

    home = os.environ.get("HOME", "")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))  # Ray writes a token there
    os.environ.pop("RAY_ADDRESS", None)
    cluster.connect(address="local", n_cpus=2)
    yield
    ray.shutdown()
    os.environ["HOME"] = home


@pytest.fixture
def study_dir(tmp_path: Path, toy_cohort: Cohort) -> Path:
    """A folder with the toy cohort in it."""
    (tmp_path / "cohort").symlink_to(toy_cohort.folder)
    return tmp_path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release would be."""
    folder = tmp_path_factory.mktemp("wheel")
    how = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    checkout = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *how, str(checkout)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built
