"""Which tool extracts and registers: dipy and ANTs, which come with tissueclock, or FSL where a lab has it."""

from tissueclock.imaging.ants_backend import AntsBackend
from tissueclock.imaging.backend import Backend, BackendName
from tissueclock.imaging.fsl import FslBackend


def find_backend(name: BackendName) -> Backend:
    """The back end of that name.

    Raises:
        ImageError: FSL is asked for and not installed.
    """
    return AntsBackend() if name == "ants" else FslBackend.find()
