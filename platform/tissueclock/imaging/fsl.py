"""FSL's `bet` and `flirt` where a lab has installed them; their licence (non-commercial) forbids shipping them.

FLIRT's matrices map its own coordinates: voxel times edge, with x running from right to left. The turn to mm and back
happens here alone. FLIRT: Jenkinson et al. 2002, doi 10.1006/nimg.2002.1132; BET: Smith 2002, doi 10.1002/hbm.10062.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissueclock.errors import ImageError
from tissueclock.imaging.backend import RegistrationKind
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.transform import Affine, Transform
from tissueclock.imaging.volume import Volume, read_volume, write_volume

BET_FRACTION = "0.3"
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class FslBackend:
    """Extracts by FSL's BET and registers by FLIRT.

    Attributes:
        bet: Where `bet` is installed.
        flirt: Where `flirt` is installed.
        version: FSL's, where it says so.
    """

    bet: Path
    flirt: Path
    version: str

    @classmethod
    def find(cls) -> "FslBackend":
        """FSL as it is installed: on PATH, or in FSLDIR.

        Raises:
            ImageError: `bet` or `flirt` is not there.
        """
        folder = os.environ.get("FSLDIR")
        search = os.pathsep.join(filter(None, [os.environ.get("PATH"), folder and str(Path(folder) / "bin")]))
        found = {name: shutil.which(name, path=search) for name in ("bet", "flirt")}
        if missing := [name for name, path in found.items() if path is None]:
            absent = " and ".join(missing)
            raise ImageError(
                f"--backend fsl: {absent} not found on PATH or in FSLDIR; install FSL or use --backend ants"
            )
        version = Path(folder) / "etc" / "fslversion" if folder else None
        said = version.read_text().split(":")[0].strip() if version is not None and version.exists() else "unknown"
        return cls(Path(str(found["bet"])), Path(str(found["flirt"])), said)

    @property
    def name(self) -> str:
        """Tool and version, for the record."""
        return f"FSL {self.version}"

    def extract(self, b0: Volume) -> Mask:
        """A first brain mask by BET.

        Raises:
            ImageError: BET failed.
        """
        with tempfile.TemporaryDirectory(prefix="tissueclock-") as name:
            folder = Path(name)
            write_volume(folder / "b0.nii.gz", b0)
            _run(self.bet, folder / "b0.nii.gz", folder / "brain", "-m", "-n", "-R", "-f", BET_FRACTION)
            return np.asarray(read_volume(folder / "brain_mask.nii.gz").data > 0.5)

    def to_atlas(
        self, pairs: Sequence[tuple[Volume, Volume]], *, near: Mask, start: Affine, kind: RegistrationKind
    ) -> Transform:
        """The affine map from the atlas brain to the head by FLIRT, 12 parameters.

        Raises:
            ImageError: SyN is asked for, which FSL does not have, or FLIRT failed.
        """
        if kind == "syn":
            raise ImageError("--backend fsl: registration syn asked for; FLIRT is affine, use --backend ants")
        moving, fixed = pairs[0]
        found = self._flirt(moving, fixed, start=np.linalg.inv(start), dof=12, weight=fixed.like(near))
        return Transform(np.linalg.inv(found))

    def rigid(self, moving: Volume, fixed: Volume, *, mask: Mask) -> Affine:
        """The rigid map from `fixed` to `moving` by FLIRT, 6 parameters.

        Raises:
            ImageError: FLIRT failed.
        """
        fixed_from_moving = self._flirt(moving, fixed, start=np.eye(4), dof=6, weight=fixed.like(mask))
        return np.asarray(np.linalg.inv(fixed_from_moving))

    def _flirt(self, moving: Volume, fixed: Volume, *, start: Affine, dof: int, weight: Volume | None = None) -> Affine:
        """The map from `moving` to `fixed`, mm to mm."""
        with tempfile.TemporaryDirectory(prefix="tissueclock-") as name:
            folder = Path(name)
            write_volume(folder / "in.nii.gz", moving)
            write_volume(folder / "ref.nii.gz", fixed)
            np.savetxt(folder / "init.mat", to_flirt(start, moving=moving, fixed=fixed))
            options = ["-in", "in.nii.gz", "-ref", "ref.nii.gz", "-init", "init.mat", "-omat", "out.mat"]
            options += ["-dof", str(dof), "-cost", "normmi", "-searchrx", "-15", "15", "-searchry", "-15", "15"]
            if weight is not None:
                write_volume(folder / "weight.nii.gz", weight)
                options += ["-refweight", "weight.nii.gz"]
            _run(self.flirt, *options, cwd=folder)
            return from_flirt(np.loadtxt(folder / "out.mat"), moving=moving, fixed=fixed)


def to_flirt(fixed_from_moving: Affine, *, moving: Volume, fixed: Volume) -> Affine:
    """A map in mm as FLIRT writes it."""
    return np.asarray(
        _flirt_from_voxel(fixed)
        @ np.linalg.inv(fixed.affine)
        @ fixed_from_moving
        @ moving.affine
        @ np.linalg.inv(_flirt_from_voxel(moving))
    )


def from_flirt(matrix: Affine, *, moving: Volume, fixed: Volume) -> Affine:
    """A matrix of FLIRT's as a map in mm, from `moving` to `fixed`."""
    return np.asarray(
        fixed.affine
        @ np.linalg.inv(_flirt_from_voxel(fixed))
        @ matrix
        @ _flirt_from_voxel(moving)
        @ np.linalg.inv(moving.affine)
    )


def _flirt_from_voxel(volume: Volume) -> Affine:
    """Voxel times edge; where the voxels run from left to right, x is counted from the other end."""
    scaled = np.diag([*volume.spacing_mm, 1.0])
    if np.linalg.det(volume.affine[:3, :3]) > 0:
        turned = np.diag([-1.0, 1.0, 1.0, 1.0])
        turned[0, 3] = (volume.data.shape[0] - 1) * volume.spacing_mm[0]
        return np.asarray(turned @ scaled)
    return scaled


def _run(programme: Path, *arguments: object, cwd: Path | None = None) -> None:
    environment = {**os.environ, "FSLOUTPUTTYPE": "NIFTI_GZ", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [str(programme), *map(str, arguments)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{programme.name}: could not be run ({error})") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ImageError(f"{programme.name}: ended with {done.returncode} ({said[-1] if said else 'no message'})")
