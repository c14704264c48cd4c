"""FSL's side door: coordinates by closed form, programmes by stand-ins that do what the real ones do."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from tests.imaging.images import toy_head
from tissueclock.errors import ImageError
from tissueclock.imaging.backend_choice import find_backend
from tissueclock.imaging.fsl import FslBackend, from_flirt, to_flirt
from tissueclock.imaging.volume import Volume

HEAD = toy_head()
LAS = Volume(HEAD.data[::-1].copy(), HEAD.affine @ np.array([[-1, 0, 0, 39], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
"""The same head with its voxels from right to left, as FSL likes them."""


def test_flirt_s_identity_is_equal_voxels_where_x_runs_to_the_left() -> None:
    """FSL's user guide: coordinates are voxel times edge; with a negative determinant nothing is turned round."""
    np.testing.assert_allclose(from_flirt(np.eye(4), moving=LAS, fixed=LAS), np.eye(4), atol=1e-9)


def test_one_image_stored_both_ways_maps_onto_itself() -> None:
    """A shift to the right by 8 mm is +8 in mm, and -8 along FSL's x, which counts from the right, in both."""
    shift = np.eye(4)
    shift[0, 3] = 8.0
    for moving in (HEAD, LAS):
        for fixed in (HEAD, LAS):
            np.testing.assert_allclose(to_flirt(np.eye(4), moving=moving, fixed=fixed), np.eye(4), atol=1e-9)
            assert to_flirt(shift, moving=moving, fixed=fixed)[0, 3] == pytest.approx(-8.0)


def test_to_flirt_and_back_is_nothing_done() -> None:
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3] += rng.normal(0, 0.1, (3, 4))
    back = from_flirt(to_flirt(affine, moving=LAS, fixed=HEAD), moving=LAS, fixed=HEAD)
    np.testing.assert_allclose(back, affine, atol=1e-9)


def programme(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FslBackend:
    """`flirt` answers with what it was started from, `bet` with its input: what is tested is the way there and back."""
    programme(tmp_path, "bet", 'cp "$1" "$2_mask.nii.gz"')
    programme(tmp_path, "flirt", "cp init.mat out.mat; ls ref.nii.gz in.nii.gz > /dev/null")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "fslversion").write_text("6.0.7:abc\n")
    monkeypatch.setenv("FSLDIR", str(tmp_path))
    return FslBackend.find()


def test_the_start_comes_back_in_mm(fsl: FslBackend) -> None:
    start = np.eye(4)
    start[:3, 3] = [5.0, -3.0, 2.0]
    near = HEAD.data > 40
    found = fsl.to_atlas([(LAS, HEAD)], near=near, start=start, kind="affine")
    np.testing.assert_allclose(found.affine, start, atol=1e-5)
    np.testing.assert_allclose(fsl.rigid(LAS, HEAD, mask=near), np.eye(4), atol=1e-5)
    assert fsl.extract(HEAD).mean() > 0.9
    assert fsl.name == "FSL 6.0.7"


def test_fsl_has_no_syn_and_says_so(fsl: FslBackend) -> None:
    with pytest.raises(ImageError, match="FLIRT is affine"):
        fsl.to_atlas([(HEAD, HEAD)], near=HEAD.data > 0, start=np.eye(4), kind="syn")


def test_a_programme_that_fails_is_one_line(fsl: FslBackend, tmp_path: Path) -> None:
    programme(tmp_path, "bet", "echo 'cannot open volume' >&2; exit 3")
    with pytest.raises(ImageError, match=r"bet: ended with 3 \(cannot open volume\)"):
        fsl.extract(HEAD)


def test_without_fsl_the_other_back_end_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FSLDIR", raising=False)
    with pytest.raises(ImageError, match="bet and flirt not found on PATH or in FSLDIR; install FSL or use --backend"):
        find_backend("fsl")
    assert os.environ["PATH"] == str(tmp_path)
