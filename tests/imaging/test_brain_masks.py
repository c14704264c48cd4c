"""Brain masks that the user brings: which file it is, and what is wrong with it, in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.imaging.images import save, toy_head
from tissueclock.errors import ImageError
from tissueclock.imaging.brain_masks import find_brain_mask, read_brain_mask
from tissueclock.imaging.volume import Volume, write_volume

HEAD = toy_head()
BRAIN = (HEAD.data > 60).astype(np.float32)


def put(folder: Path, name: str) -> None:
    save(folder / "sub-01" / name, BRAIN)


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_desc-brain_mask.nii.gz",
        "ses-1/dwi/sub-01_ses-1_desc-brain_mask.nii.gz",
        "anat/sub-01_space-dwi_desc-brain_mask.nii",
    ],
)
def test_a_mask_is_found_by_its_bids_name_at_any_depth(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    put(tmp_path, "anat/sub-01_space-MNI152_desc-brain_mask.nii.gz")
    put(tmp_path, "dwi/sub-01_desc-lesion_mask.nii.gz")
    assert find_brain_mask(tmp_path, "sub-01") == tmp_path / "sub-01" / name


def test_none_or_several_are_one_line(tmp_path: Path) -> None:
    put(tmp_path, "sub-01_space-T1w_desc-brain_mask.nii.gz")
    with pytest.raises(ImageError, match=r"sub-01: no sub-01_\*desc-brain_mask\.nii\.gz .* not in b0's space"):
        find_brain_mask(tmp_path, "sub-01")
    put(tmp_path, "sub-01_desc-brain_mask.nii.gz")
    put(tmp_path, "dwi/sub-01_run-2_desc-brain_mask.nii.gz")
    with pytest.raises(ImageError, match=r"sub-01: brain masks .* found; one is needed"):
        find_brain_mask(tmp_path, "sub-01")


@pytest.mark.parametrize("scale", [1, 255])
def test_a_mask_is_read_on_the_voxels_of_b0(tmp_path: Path, scale: int) -> None:
    write_volume(tmp_path / "mask.nii.gz", HEAD.like(BRAIN * scale), dtype=np.uint8)
    assert (read_brain_mask(tmp_path / "mask.nii.gz", b0=HEAD) == (BRAIN > 0)).all()


FAULTS: dict[str, tuple[Callable[[], Volume], str]] = {
    "another shape": (lambda: Volume(BRAIN[:, :-1], HEAD.affine), r"shape \(.*\) found; b0's is"),
    "moved": (lambda: Volume(BRAIN, HEAD.affine + shift()), "mm from b0's; at most"),
    "empty": (lambda: HEAD.like(BRAIN * 0), "one value everywhere; a brain mask is neither empty nor all"),
    "all of it": (lambda: HEAD.like(BRAIN * 0 + 1), "one value everywhere"),
    "nearly all of it": (lambda: HEAD.like(np.arange(BRAIN.size).reshape(BRAIN.shape) > 99), "covers 1?[0-9]+% of"),
    "soft": (lambda: HEAD.like(BRAIN * HEAD.data), r"[0-9]+ values from 0 to .* found; a brain mask has two, 0 and 1"),
    "no background": (lambda: HEAD.like(BRAIN + 1), "2 values from 1 to 2 found"),
}


def shift() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    moved = np.zeros((4, 4))
    moved[0, 3] = 2.0
    return moved


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_mask_is_one_line_with_its_name(tmp_path: Path, fault: str) -> None:
    make, message = FAULTS[fault]
    write_volume(tmp_path / "mask.nii.gz", make())
    with pytest.raises(ImageError, match=message) as caught:
        read_brain_mask(tmp_path / "mask.nii.gz", b0=HEAD)
    assert str(caught.value).startswith(str(tmp_path / "mask.nii.gz"))
    assert "\n" not in str(caught.value)
