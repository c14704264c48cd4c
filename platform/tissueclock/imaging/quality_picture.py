"""One picture a patient, to be judged in a second: three series in rows of slices, with outlines where they should fit.

Radiological convention: the patient's right is on the left of the picture, and it says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tissueclock.imaging.volume import Volume
from tissueclock.storage.files import atomic_path

N_SLICES = 8
_INCHES, _DPI = 1.45, 100
_LABEL: dict[str, Any] = {
    "color": "white", "fontsize": 9, "va": "top", "weight": "bold",
    "bbox": {"facecolor": "black", "edgecolor": "none", "pad": 1.5},
}  # fmt: skip
BRAIN, ATLAS, MIDDLE, LESION = "#ffd000", "#00c8ff", "#ff4fa3", "#ff3020"

Mask = Bool[np.ndarray, "x y z"]


def draw_patient(
    path: Path,
    *,
    title: str,
    series: Mapping[str, Volume | None],
    mask: Mask,
    atlas_mask: Mask,
    lesion: Mask | None,
) -> None:
    """Writes the picture as PNG, whole or not at all.

    Args:
        path: The file to be.
        title: Who it is, and what was flagged.
        series: By name, on the grid's voxels, before what is outside the brain was cleared; None is drawn as missing.
        mask: The brain that was found.
        atlas_mask: The atlas brain on the same voxels.
        lesion: Where a mask of it came along.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    chosen = _slices(atlas_mask)
    figure = Figure(figsize=(_INCHES * len(chosen), _INCHES * 1.28 * len(series) + 0.55), dpi=_DPI, facecolor="black")
    axes = figure.subplots(len(series), len(chosen), squeeze=False)
    for i_row, (name, volume) in enumerate(series.items()):
        top = 1.0 if volume is None else float(np.percentile(volume.data[mask], 99.7)) if mask.any() else 1.0
        for axis, i_slice in zip(axes[i_row], chosen, strict=True):
            axis.set_axis_off()
            if volume is None:
                continue
            _draw_slice(axis, volume, i_slice, top=top, outlines=_outlines(mask, atlas_mask, lesion))
        label = name if volume is not None else f"no {name}"
        axes[i_row][0].text(0.03, 0.95, label, transform=axes[i_row][0].transAxes, **_LABEL)
    for axis in axes[:, 0]:
        axis.text(0.02, 0.03, "R", transform=axis.transAxes, color="white", fontsize=7)
    figure.suptitle(title, color="white", fontsize=9, x=0.01, ha="left", y=0.995)
    figure.text(0.01, 0.005, "brain", color=BRAIN, fontsize=8)
    figure.text(0.06, 0.005, "atlas", color=ATLAS, fontsize=8)
    figure.text(0.11, 0.005, "mid-sagittal plane", color=MIDDLE, fontsize=8)
    if lesion is not None:
        figure.text(0.23, 0.005, "lesion mask", color=LESION, fontsize=8)
    figure.subplots_adjust(
        left=0.0, right=1.0, bottom=0.03, top=1.0 - 0.32 / figure.get_figheight(), wspace=0.01, hspace=0.01
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black", metadata={"Software": None})


def _draw_slice(
    axis: Axes, volume: Volume, i_slice: int, *, top: float, outlines: list[tuple[Mask, str, float]]
) -> None:
    x_mm, y_mm, _ = volume.spacing_mm
    seen = _as_seen(volume.data[:, :, i_slice])
    height, width = seen.shape
    axis.imshow(seen, cmap="gray", vmin=0.0, vmax=top, aspect=y_mm / x_mm, interpolation="bilinear")
    for mask, colour, weight in outlines:
        flat = _as_seen(mask[:, :, i_slice]).astype(float)
        if 0 < flat.sum() < flat.size:
            axis.contour(flat, levels=[0.5], colors=colour, linewidths=weight)
    axis.axvline((width - 1) / 2, color=MIDDLE, linewidth=0.5, linestyle=(0, (4, 3)))
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _outlines(mask: Mask, atlas_mask: Mask, lesion: Mask | None) -> list[tuple[Mask, str, float]]:
    drawn = [(atlas_mask, ATLAS, 0.5), (mask, BRAIN, 0.7)]
    return drawn if lesion is None else [*drawn, (lesion, LESION, 0.9)]


def _as_seen(plane: Float[np.ndarray, "x y"] | Bool[np.ndarray, "x y"]) -> Float[np.ndarray, "row column"]:
    """Rows from front to back (the grid's y runs so already), columns from the patient's right to left."""
    return np.asarray(plane.T[:, ::-1], dtype=np.float32)


def _slices(atlas_mask: Mask) -> list[int]:
    """Slices spread over the brain, those at its very ends left out."""
    filled = np.flatnonzero(atlas_mask.any(axis=(0, 1)))
    return sorted(
        {round(float(i)) for i in np.linspace(filled[0] + 1, filled[-1] - 1, N_SLICES)} & set(filled.tolist())
    )
