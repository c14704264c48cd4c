"""A patient's visit as BIDS files: DWI with its b-values, ADC map where there is one, FLAIR, and their sidecars.

Knows file names and headers, not how the images came about.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tissueclock.imaging.volume import write_nifti
from tissueclock.phantom.raw.acquisition import Visit
from tissueclock.phantom.signal import (
    FLAIR_TE_MS,
    FLAIR_TI_MS,
    FLAIR_TR_MS,
    SPIN_ECHO_TE_MS,
    SPIN_ECHO_TR_MS,
    FieldStrength,
)
from tissueclock.storage.files import write_json, write_text

PARTICIPANTS = "participants.tsv"
_FIELD_T: Mapping[FieldStrength, float] = {"1.5T": 1.5, "3T": 3.0}


def label(participant_id: str) -> str:
    """A participant's id as BIDS wants it: letters and digits only.

    >>> label("phantom-0001")
    'sub-phantom0001'
    """
    return "sub-" + "".join(sign for sign in participant_id if sign.isalnum())


def write_visit(folder: Path, visit: Visit, *, field: FieldStrength) -> None:
    """Writes `sub-*/`.

    Args:
        folder: To be made; its name is the patient's label.
        visit: What came out of the scanner.
        field: Of the scanner.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    dwi, anat, name = folder / "dwi", folder / "anat", folder.name
    spin_echo = {
        "EchoTime": SPIN_ECHO_TE_MS / 1000.0,
        "RepetitionTime": SPIN_ECHO_TR_MS / 1000.0,
        "MagneticFieldStrength": _FIELD_T[field],
    }
    images = visit.dwi if visit.dwi.shape[3] > 1 else visit.dwi[..., 0]
    affine = visit.frames["b0"].affine
    write_nifti(dwi / f"{name}_dwi.nii.gz", images, affine=affine, dtype=np.int16)
    write_json(dwi / f"{name}_dwi.json", spin_echo)
    write_text(dwi / f"{name}_dwi.bval", " ".join(f"{b:g}" for b in visit.b_values) + "\n")
    write_text(dwi / f"{name}_dwi.bvec", _vectors(visit))
    if visit.adc is not None:
        write_nifti(dwi / f"{name}_ADC.nii.gz", visit.adc, affine=affine, dtype=np.int16)
        write_json(dwi / f"{name}_ADC.json", {**spin_echo, "Units": "1e-6 mm^2/s"})
    write_nifti(anat / f"{name}_FLAIR.nii.gz", visit.flair, affine=visit.frames["flair"].affine, dtype=np.int16)
    write_json(
        anat / f"{name}_FLAIR.json",
        {
            "EchoTime": FLAIR_TE_MS / 1000.0,
            "RepetitionTime": FLAIR_TR_MS / 1000.0,
            "InversionTime": FLAIR_TI_MS / 1000.0,
            "MagneticFieldStrength": _FIELD_T[field],
        },
    )


def _vectors(visit: Visit) -> str:
    """Gradient directions, one a column: along the image's axes; zeros where there is none or where it is a trace."""
    n_volumes = len(visit.b_values)
    columns = np.zeros((3, n_volumes), dtype=int)
    if visit.variant == "directions":
        columns[:, -3:] = np.eye(3, dtype=int)
    return "\n".join(" ".join(str(part) for part in row) for row in columns) + "\n"
