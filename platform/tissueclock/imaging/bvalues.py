"""b-values: reading them, finding the volumes of one shell, and the mean that turns directions into a trace image.

All b-values are in s/mm2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from tissueclock.errors import ImageError

SHELL_S_MM2 = 50.0
"""b-values closer than this are one shell (scanners write 995, 1000, 1005 for one); 0 and 50 are two."""

SHELL_FRACTION = 0.05
"""b-values are one shell, too, if they are closer than this fraction of the b-value, which is more above 1000."""

MAX_B0_S_MM2 = 50.0
"""Up to here an image counts as b0: vendors write 0, 5 or 50."""

LOWEST_B_S_MM2 = 200.0
"""Below, no image shows a stroke by its diffusion: a lower b-value is not to be asked for."""

_FLAG_STEP_S_MM2 = 50.0


@dataclass(frozen=True, slots=True)
class BValues:
    """Which b-value counts as b1000.

    Attributes:
        b_s_mm2: The b-value wanted.
        tolerance_s_mm2: How far the nearest one may lie from it.
    """

    b_s_mm2: float = 1000.0
    tolerance_s_mm2: float = 300.0


def same_shell(one: float, other: float) -> bool:
    """Whether two b-values, s/mm2, are one shell; the second one says how wide it is."""
    return abs(one - other) < max(SHELL_S_MM2, SHELL_FRACTION * other)


def pick_b(
    bvals: Sequence[float] | npt.NDArray[np.floating], *, wanted: float, tolerance: float
) -> Int[np.ndarray, " n"]:
    """The volumes at the b-value nearest to the wanted one.

    Args:
        bvals: One a volume, s/mm2.
        wanted: The b-value asked for, s/mm2.
        tolerance: How far from it the nearest may be, s/mm2. The others of its shell may lie a little farther.

    Returns:
        Indices of the whole shell in ascending order, at least one. Of two shells equally near, the lower b-value's.

    Raises:
        ImageError: No b-value is within the tolerance.
    """
    values = np.asarray(bvals, dtype=np.float64)
    distances = np.abs(values - wanted)
    if not values.size or float(distances.min()) > tolerance:
        raise ImageError(without_b(values.tolist(), wanted=wanted, tolerance=tolerance))
    nearest = float(values[distances == distances.min()].min())
    return np.flatnonzero([same_shell(value, nearest) for value in values.tolist()])


def without_b(bvals: Sequence[float], *, wanted: float, tolerance: float) -> str:
    """What to say where no b-value is near enough: those found, that needed, and the option that would take one.

    >>> without_b([0.0, 1500.0, 1500.0], wanted=1000.0, tolerance=300.0)
    'b-values 0, 1500 found; 1000 +- 300 is needed; --b-tolerance 500 would take it'
    """
    asked = BValues(wanted, tolerance)
    line = lacking(bvals, asked)
    other = reaching(bvals, asked)
    return line if other is None else f"{line}; {flags(other, instead_of=asked)} would take it"


def lacking(bvals: Sequence[float], asked: BValues) -> str:
    """The b-values found, s/mm2, and the one needed, without advice."""
    found = ", ".join(f"{value:g}" for value in sorted(set(bvals))) or "none"
    return f"b-values {found} found; {asked.b_s_mm2:g} +- {asked.tolerance_s_mm2:g} is needed"


def reaching(bvals: Sequence[float], asked: BValues) -> BValues | None:
    """What to ask for so that the nearest weighted image is taken: a wider tolerance, or else its own b-value.

    Args:
        bvals: Those found, s/mm2.
        asked: The b-value asked for until now, which reaches none.

    Returns:
        None where nothing would do: no image is weighted, or none enough to show a stroke.

    >>> reaching([50.0, 2000.0], BValues())
    BValues(b_s_mm2=2000.0, tolerance_s_mm2=300.0)
    """
    weighted = [value for value in bvals if value >= LOWEST_B_S_MM2]
    if not weighted:
        return None
    nearest = min(weighted, key=lambda value: abs(value - asked.b_s_mm2))
    tolerance = math.ceil(abs(nearest - asked.b_s_mm2) / _FLAG_STEP_S_MM2) * _FLAG_STEP_S_MM2
    # A tolerance that reaches b0 would take anything: it is no advice.
    if tolerance < asked.b_s_mm2 - LOWEST_B_S_MM2:
        return BValues(asked.b_s_mm2, tolerance)
    return BValues(nearest, asked.tolerance_s_mm2)


def flags(b_values: BValues, *, instead_of: BValues) -> str:
    """The options that ask for a b-value and a tolerance where others were asked for; empty where they are the same.

    >>> flags(BValues(1000.0, 500.0), instead_of=BValues()), flags(BValues(), instead_of=BValues())
    ('--b-tolerance 500', '')
    """
    return " ".join(
        f"{option} {value:g}"
        for option, value, known in (
            ("--b", b_values.b_s_mm2, instead_of.b_s_mm2),
            ("--b-tolerance", b_values.tolerance_s_mm2, instead_of.tolerance_s_mm2),
        )
        if value != known
    )


def read_bvals(path: Path, n_volumes: int) -> Float[np.ndarray, " n"]:
    """Reads a `.bval` file, numbers in a row (BIDS, FSL) or in a column.

    Args:
        path: The file.
        n_volumes: How many images it must speak of.

    Returns:
        b-values in s/mm2, finite and not negative.

    Raises:
        ImageError: The file is missing or not text, a value is not a finite number of at least 0, or their number is
            not that of the images.
    """
    try:
        words = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ImageError(f"{path}: not text (byte {error.start}); b-values in s/mm2 are needed") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    values = [_b_value(path, word) for word in words]
    if len(values) != n_volumes:
        raise ImageError(f"{path}: {len(values)} b-values found; the image holds {n_volumes} volumes")
    return np.array(values, dtype=np.float64)


def geometric_mean(volumes: Sequence[Float[np.ndarray, "x y z"]]) -> Float[np.ndarray, "x y z"]:
    """The trace-weighted image of several directions: their geometric mean, voxel by voxel.

    Args:
        volumes: One a direction, at least one.

    Returns:
        float32; 0 where any direction is 0 or below (noise correction on the scanner gives such voxels).

    Raises:
        ImageError: There is no volume.

    References:
        Sorensen AG et al. (1996), hyperacute stroke, 10.1148/radiology.199.2.8668784: the product of the directions
        depends on the trace of the diffusion tensor alone, hence the geometric mean and not the arithmetic one.
    """
    if not volumes:
        raise ImageError("geometric mean of no volume asked for; at least one direction is needed")
    total = np.zeros(volumes[0].shape, dtype=np.float64)
    positive = np.ones(volumes[0].shape, dtype=np.bool_)
    tiny = np.finfo(np.float64).tiny
    # One at a time: a 4D copy in float64 of 64 directions would be gigabytes.
    for volume in volumes:
        values = np.asarray(volume, dtype=np.float64)
        total += np.log(np.maximum(values, tiny))
        positive &= values > 0
    return np.where(positive, np.exp(total / len(volumes)), 0.0).astype(np.float32)


def _b_value(path: Path, word: str) -> float:
    allowed = "a finite number of s/mm2, at least 0, is needed"
    try:
        value = float(word)
    except ValueError:
        raise ImageError(f"{path}: b-value {word!r} found; {allowed}") from None
    if not math.isfinite(value) or value < 0:
        raise ImageError(f"{path}: b-value {word} found; {allowed}")
    return value
