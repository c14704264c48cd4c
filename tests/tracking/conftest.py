"""A tracker for each test: a fresh SQLite store, copied from one that was made once (its tables take seconds)."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.synthetic import study_folder
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.connection import open_client, prepare_environment

prepare_environment()  # before any test imports MLflow


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_client(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> StudyFolder:
    made = study_folder(tmp_path / "study")
    shutil.copyfile(empty_store, made.path / "mlflow.db")
    return made
