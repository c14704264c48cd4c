from pathlib import Path

import pytest

from tissueclock.phantom.generate import make_phantom

N_PATIENTS = 30


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    make_phantom(folder, preset="easy", n_patients=N_PATIENTS, shape=(8, 24, 12), seed=11)
    return folder
