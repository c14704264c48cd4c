"""What all figures share: colours that colour-blind readers tell apart (Okabe & Ito 2008), style, files.

Drawn without a display and without global state.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tissueclock.storage.files import atomic_path

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#666666"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "text.parse_math": False,  # a study may be called a$b$
    "svg.hashsalt": "tissueclock",
}


def save_figure(figure: Figure, stem: Path, *, as_png: bool = False) -> str:
    """Writes `<stem>.svg` and, where asked, `<stem>.png`, each whole or not at all.

    Returns:
        The SVG's text.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    with mpl.rc_context(rc=STYLE):
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        with atomic_path(stem.with_suffix(".svg")) as temporary:
            temporary.write_text(stream.getvalue(), encoding="utf-8")
        if as_png:
            figure.set_layout_engine("none")  # it is laid out already, which costs as much as drawing
            with atomic_path(stem.with_suffix(".png")) as temporary:
                figure.savefig(temporary, format="png", dpi=160)
    return stream.getvalue()
