"""The phantom against SCIENCE 8.3 at 2,000 patients: a few minutes a preset, so not part of the usual run."""

from pathlib import Path

import pytest

from tissueclock.phantom.describe import describe_phantom, describe_rows
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.files import digest_file


@pytest.mark.benchmark
def test_processes_make_the_same_bytes(tmp_path: Path) -> None:
    for n_jobs in (1, 2):
        make_phantom(tmp_path / str(n_jobs), n_patients=4, shape=(6, 16, 8), seed=3, n_jobs=n_jobs)
    assert digest_file(tmp_path / "1" / "hemispheres.npy") == digest_file(tmp_path / "2" / "hemispheres.npy")
    assert digest_file(tmp_path / "1" / "cohort.json") == digest_file(tmp_path / "2" / "cohort.json")


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_paper_like_lands_on_its_targets_and_chance_on_chance(tmp_path: Path, seed: int) -> None:
    make_phantom(tmp_path / "c", preset="paper-like", n_patients=2000, shape=(16, 64, 32), seed=seed)
    for permute_seed in (None, seed):
        rows = list(describe_rows(describe_phantom(tmp_path / "c", permute_seed=permute_seed)))
        assert sum(row.target is not None for row in rows) > 25
        missed = [f"{row.name}: {row.measured:.3f} for {row.target}" for row in rows if row.ok is False]
        assert not missed
