"""The steps that brainles-preprocessing shares with ours, by its own classes: N4, series onto b0, b0 to the atlas.

Its brain extraction needs weights from a hub and is left out; the brain is dipy's, as in the pipeline typed by hand.
Not a dependency: `pip install --target FOLDER --no-deps brainles-preprocessing auxiliary loguru ttictoc path
brainles_hd_bet`, and FOLDER on PYTHONPATH.

python -m tests.benchmarks.scans.brainles RAW SUBJECT
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from brainles_preprocessing.n4_bias_correction.sitk.sitk_n4_bias_corrector import SitkN4BiasCorrector
from brainles_preprocessing.registration.ANTs.ANTs import ANTsRegistrator

from tests.benchmarks.measuring import answer
from tests.benchmarks.preprocessing_error import landmark_errors
from tests.benchmarks.scans.hand_typed import brain
from tissueclock.imaging.atlas import load_atlas
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.raw import find_files
from tissueclock.imaging.series import read_series
from tissueclock.imaging.transform import Transform, read_itk_affine
from tissueclock.imaging.volume import read_volume, write_volume


def main(raw: Path, subject: str) -> None:
    """Prints seconds by step, peak memory and the landmarks' errors."""
    series, atlas = read_series(find_files(raw, subject), b_values=BValues()), load_atlas()
    with tempfile.TemporaryDirectory() as name:
        folder, seconds = Path(name), {}
        for kind, volume in (("b0", series.b0), ("b1000", series.b1000), ("flair", series.flair)):
            assert volume is not None
            write_volume(folder / f"{kind}.nii.gz", volume)
        write_volume(folder / "atlas.nii.gz", atlas.brain)
        begun = time.perf_counter()
        for kind in ("b0", "b1000", "flair"):
            SitkN4BiasCorrector().correct(folder / f"{kind}.nii.gz", folder / f"{kind}_n4.nii.gz")
        seconds["bias"] = time.perf_counter() - begun
        write_volume(folder / "bare.nii.gz", brain(read_volume(folder / "b0_n4.nii.gz"))[0])
        begun = time.perf_counter()
        for kind in ("b1000", "flair"):
            _register(folder, ANTsRegistrator(), fixed="b0_n4", moving=f"{kind}_n4")
        seconds["series onto b0"] = time.perf_counter() - begun
        begun = time.perf_counter()
        affine = ANTsRegistrator(registration_params={"type_of_transform": "Affine"})
        _register(folder, affine, fixed="atlas", moving="bare")
        seconds["register to the atlas"] = time.perf_counter() - begun
        errors = landmark_errors(raw, subject, Transform(read_itk_affine(folder / "bare.mat")))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer(
        seconds=seconds, total_s=sum(seconds.values()), peak_mb=peak_mb,
        median_mm=float(np.median(errors)), max_mm=float(errors.max()),
    )  # fmt: skip


def _register(folder: Path, registrator: ANTsRegistrator, *, fixed: str, moving: str) -> None:
    registrator.register(
        folder / f"{fixed}.nii.gz", folder / f"{moving}.nii.gz", folder / f"{moving}_moved.nii.gz",
        folder / f"{moving}.mat", folder / f"{moving}.log",
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
