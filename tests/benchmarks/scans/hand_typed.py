"""The paper's steps as one would type them: each library's defaults, one step after the other, an image at a time.

python -m tests.benchmarks.scans.hand_typed RAW SUBJECT
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import ants
import numpy as np
import SimpleITK
from dipy.segment.mask import median_otsu

from tests.benchmarks.measuring import answer
from tests.benchmarks.preprocessing_error import landmark_errors
from tissueclock.grid import make_grid
from tissueclock.imaging.atlas import load_atlas
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.registration import _to_ants
from tissueclock.imaging.series import read_series
from tissueclock.imaging.transform import Transform, read_itk_affine, to_itk
from tissueclock.imaging.volume import Volume


def n4(volume: Volume) -> Volume:
    image = to_itk(volume)
    mask = SimpleITK.OtsuThreshold(image, 0, 1, 200)
    corrected = SimpleITK.N4BiasFieldCorrection(image, mask)
    return volume.like(SimpleITK.GetArrayFromImage(corrected).transpose(2, 1, 0))


def brain(volume: Volume) -> tuple[Volume, np.ndarray]:
    bare, mask = median_otsu(volume.data)
    return volume.like(bare), mask


def main(raw: Path, subject: str) -> None:
    """Prints seconds by step, peak memory and the landmarks' errors."""
    series = read_series(find_files(raw, subject), b_values=BValues())
    atlas, seconds, begun = load_atlas(), {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal begun
        seconds[name] = time.perf_counter() - begun
        begun = time.perf_counter()

    b0, b1000, flair = (n4(volume) for volume in (series.b0, series.b1000, series.flair) if volume is not None)
    lap("bias")
    bare, _ = brain(b0)
    lap("brain")
    fixed = _to_ants(ants, atlas.brain)
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(fixed, _to_ants(ants, bare), type_of_transform="Affine", outprefix=f"{folder}/a")
        lap("register to the atlas")
        again = brain(b0)[0]
        lap("brain again")
        still = _to_ants(ants, again)
        onto = [
            ants.registration(still, _to_ants(ants, image), type_of_transform="Rigid", outprefix=f"{folder}/{i}")
            for i, image in enumerate((b1000, flair))
        ]
        lap("series onto b0")
        grid = make_grid((24, 224, 112))
        n_slices, height, width = grid.whole_shape
        target = _to_ants(ants, Volume(np.zeros((width, height, n_slices), np.float32), grid.affine))
        chains = [[], *(one["fwdtransforms"] for one in onto)]
        moved = [
            ants.apply_transforms(target, _to_ants(ants, image), [*found["fwdtransforms"], *chain])
            for image, chain in zip((b0, b1000, flair), chains, strict=True)
        ]
        lap("resample")
        for image in moved:
            itk = SimpleITK.GetImageFromArray(image.numpy())
            SimpleITK.HistogramMatching(itk, itk)
        lap("histogram")
        affine = read_itk_affine(Path(next(name for name in found["fwdtransforms"] if name.endswith(".mat"))))
    errors = landmark_errors(raw, subject, Transform(affine))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer(
        seconds=seconds, total_s=sum(seconds.values()), peak_mb=peak_mb,
        median_mm=float(np.median(errors)), max_mm=float(errors.max()),
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
