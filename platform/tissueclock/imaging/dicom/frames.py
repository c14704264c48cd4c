"""Which b-value a converted volume has, found by its pixels among the frames of the DICOM it was made from.

For series whose b-values the converter does not tell.
"""

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from jaxtyping import Float

from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.headers import read_facts


def b_by_pixels(paths: Sequence[Path], data: npt.NDArray[Any], *, whose: str) -> Float[np.ndarray, " n"] | None:
    """The b-value of each volume.

    Args:
        paths: Plain DICOM files, classic or enhanced.
        data: Stored values, slices along the third axis, volumes along the fourth.
        whose: The series, for the message.

    Returns:
        s/mm2, NaN for a volume whose images tell none; None where a slice is not found (mosaics, rescaled or compressed
        pixels), or is found only under several b-values.

    Raises:
        ImageError: A volume holds slices of several b-values.
    """
    try:
        frames = [found for path in paths for found in _frames(path)]
    except Exception:  # a compressed syntax without its decoder: pydicom raises whatever its plug-ins do
        return None
    b_values: dict[bytes, set[float]] = {}
    for pixels, b_value in frames:
        b_values.setdefault(_digest(pixels), set()).add(b_value)
    found: list[float] = []
    for i in range(data.shape[3]):
        slices = [b_values.get(_digest(data[:, :, k, i]), set()) for k in range(data.shape[2])]
        # A slice without signal is found under every b-value: it tells nothing, and contradicts nothing.
        told = sorted({next(iter(values)) for values in slices if len(values) == 1}, key=lambda b: (math.isnan(b), b))
        if len(told) > 1:
            listed = ", ".join("unknown" if math.isnan(value) else f"{value:g}" for value in told)
            raise ImageError(
                f"{whose}: dcm2niix mixed slices of b {listed} into one volume; export it as classic DICOM"
            )
        if not told or not all(slices):
            return None
        found.append(told[0])
    return np.array(found, dtype=np.float64)


def _frames(path: Path) -> Iterator[tuple[npt.NDArray[Any], float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = pydicom.dcmread(path)
        pixels = image.pixel_array
    groups = image.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        yield pixels, _only(read_facts(image).b_values)
        return
    for frame, group in zip(pixels, groups, strict=True):
        one = pydicom.Dataset()
        one.PerFrameFunctionalGroupsSequence = [group]
        yield frame, _only(read_facts(one).b_values)


def _only(b_values: frozenset[float]) -> float:
    """The one b-value of an image; NaN, always the same object, where it tells none."""
    if not b_values:
        return math.nan
    (b_value,) = b_values
    return b_value


def _digest(pixels: npt.NDArray[Any]) -> bytes:
    """Of the sorted values: the converter may have turned or mirrored the slice."""
    return hashlib.sha256(np.sort(pixels, axis=None).astype("<i4").tobytes()).digest()
