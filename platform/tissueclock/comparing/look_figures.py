"""Figures of where networks look: a slice of some hemispheres, with the lesion's outline, network by network."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tissueclock.comparing.drawing import COLOURS, GREY, STYLE
from tissueclock.comparing.looking import Pictures

_SERIES = {1: "b1000", 2: "FLAIR"}
_MOST_NETWORKS, _MOST_LETTERS = 6, 22
_PERCENTILES = (1.0, 99.5)


def draw_looks(pictures: Mapping[str, Pictures]) -> Figure | None:
    """A row a hemisphere; b1000 and FLAIR, then b1000 under the map of each network.

    Args:
        pictures: By the network's label; all of the same hemispheres, of which the first one's are drawn.

    Returns:
        None where there is none.
    """
    if not pictures:
        return None
    first = next(iter(pictures.values()))
    shown = {label: each for label, each in pictures.items() if each.names == first.names}
    shown = dict(list(shown.items())[:_MOST_NETWORKS])
    n_columns = len(_SERIES) + len(shown)
    height, width = first.maps.shape[1:]
    with mpl.rc_context(rc=STYLE):
        panel_width = 1.35
        row_height = min(2.6, panel_width * height / width)
        figure = Figure(
            figsize=(panel_width * n_columns + 0.4, row_height * len(first.names) + 0.9), layout="constrained"
        )
        panels = figure.subplots(len(first.names), n_columns, squeeze=False)
        for i, row in enumerate(panels):
            for panel, (i_series, name) in zip(row, _SERIES.items(), strict=False):
                _draw_series(panel, first.series[i, i_series], first.lesions[i])
                if i == 0:
                    panel.set_title(name, fontsize=8)
            for panel, (label, each) in zip(row[len(_SERIES) :], shown.items(), strict=True):
                _draw_series(panel, each.series[i, 1], each.lesions[i])
                map_ = np.where(each.maps[i] < 0.05, np.nan, each.maps[i])
                panel.imshow(map_, cmap="inferno", vmin=0, vmax=1, alpha=0.6, interpolation="nearest")
                if i == 0:
                    panel.set_title(f"{_clipped(label)}\n{each.kind}", fontsize=7)
            row[0].set_ylabel(f"{first.names[i]}\nslice {first.planes[i] + 1}", fontsize=7)
    return figure


def _clipped(label: str) -> str:
    """Arms and phase on a line each; a panel is narrow."""
    return "\n".join(
        part if len(part) <= _MOST_LETTERS else f"{part[: _MOST_LETTERS - 1]}…" for part in label.split(" · ")
    )


def _draw_series(panel: Axes, image: np.ndarray, lesion: np.ndarray) -> None:
    brain = image[image > 0]
    dark, bright = np.percentile(brain, _PERCENTILES) if brain.size else (0.0, 1.0)
    panel.imshow(image, cmap="gray", vmin=min(dark, 0.0), vmax=bright, interpolation="nearest")
    if min(lesion.shape) > 1:  # a contour needs cells
        panel.contour(lesion.astype(float), levels=[0.5], colors=[COLOURS[5]], linewidths=0.9)
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set_color(GREY)
        spine.set_linewidth(0.4)
