"""On which side the lesion lies, by its mask or by b1000, and whether the participants' table says the same."""

from collections.abc import Mapping
from typing import Literal

from tissueclock.grid import Side
from tissueclock.imaging.volume import Volume

MIN_SHARE = 0.1
"""A side with less of the lesion than this share holds none: what little crosses the mid-plane was registered there."""

MIN_SHARE_OF_BOTH = 0.02
"""Where the table says `both`, a side needs no more: two of 12 raw phantoms with lesions on both had .10 and .11."""

_WHERE = {"left": "on the left", "right": "on the right", "both": "on both sides"}


def volumes_by_side(carried: Volume) -> dict[str, float]:
    """Volume of a lesion left and right of the mid-plane, in ml.

    Args:
        carried: The mask (shares of voxels) on a grid symmetric about x = 0, x from the patient's left to right.

    Returns:
        `left_ml` and `right_ml`.
    """
    middle = carried.shape[0] // 2
    halves = {"left_ml": carried.data[:middle], "right_ml": carried.data[-middle:]}
    return {name: float(half.sum()) * carried.voxel_ml for name, half in halves.items()}


def side_of_mask(lesion: Mapping[str, float] | None) -> Literal["left", "right", "both"] | None:
    """The side by the mask; None without one, where nothing of it is on the grid, and in facts of older versions.

    Args:
        lesion: With `left_ml` and `right_ml`, as the patient's facts have them.
    """
    if lesion is None or "left_ml" not in lesion:
        return None
    left, right = lesion["left_ml"], lesion["right_ml"]
    if left + right <= 0:
        return None
    if min(left, right) >= MIN_SHARE * (left + right):
        return "both"
    return "left" if left > right else "right"


def remark_on_side(said: str | None, *, lesion: Mapping[str, float] | None, brighter: Side | None) -> str | None:
    """What contradicts the side that the participants' table says, in a sentence; None where nothing does.

    The mask decides where there is one. The brighter side is a guess: old infarcts, artefacts and the coil mislead it.

    Args:
        said: The table's `lesion_side`; `left`, `right`, `both` and `none` are compared, other words are not.
        lesion: As `side_of_mask` takes it.
        brighter: Where b1000 is brighter than in the mirror.
    """
    by_mask = side_of_mask(lesion)
    if by_mask is None or lesion is None:
        if brighter is None or said not in ("left", "right") or said == brighter:
            return None
        return f"b1000 is brighter on the {brighter}, participants.tsv says {said}: is an image flipped?"
    if said not in ("left", "right", "both", "none") or said == by_mask:
        return None
    left, right = lesion["left_ml"], lesion["right_ml"]
    if said == "both" and min(left, right) >= MIN_SHARE_OF_BOTH * (left + right):
        return None
    shown = f"{right:.1f} ml against {left:.1f}" if by_mask == "right" else f"{left:.1f} ml against {right:.1f}"
    asked = "is an image flipped?" if {said, by_mask} == {"left", "right"} else "which is right?"
    return f"the lesion mask lies {_WHERE[by_mask]} ({shown}), participants.tsv says {said}: {asked}"
