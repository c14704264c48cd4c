"""Where networks look on the holdout, held against the lesions, and against networks with permuted weights."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tissueclock.comparing.scores import COLUMNS
from tissueclock.comparing.statistics import Rate, estimate_rate
from tissueclock.comparing.testing import PairedCalls, compare_calls
from tissueclock.errors import InputError
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import MISSING, read_rows

SUBSTANTIAL, MODERATE = 0.5, 0.25
"""Overlap from which on the paper calls it so (Zhang, Polson et al. 2021)."""

_FIGURES = tuple(f"look_{name}{of}" for name in ("overlap", "hot", "hit") for of in ("", "_permuted"))


@dataclass(frozen=True, slots=True)
class Looks:
    """How far what a checkpoint looks at is the lesion; units without a known lesion are left out.

    Attributes:
        n: Units with a lesion.
        overlap: Mean overlap with the lesion, on the slice with most of it.
        hot: Mean share of the brain that counts as looked at.
        substantial: Units with an overlap of at least `SUBSTANTIAL`.
        moderate: Units below that, with at least `MODERATE`.
        hits: Units in which the map's maximum lies in the lesion.
        overlap_permuted: As `overlap`, of the network with permuted weights.
        hits_permuted: As `hits`, likewise.
        against_permuted: Units that only the one, or only the other, hits.
    """

    n: int
    overlap: float
    hot: float
    substantial: Rate
    moderate: Rate
    hits: Rate
    overlap_permuted: float
    hits_permuted: Rate
    against_permuted: PairedCalls

    @property
    def tells_something(self) -> bool:
        """Whether its maximum lies in the lesion more often than that of permuted weights."""
        return self.against_permuted.p < 0.05 and self.against_permuted.n_first > self.against_permuted.n_second


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Slices of some hemispheres, and where a checkpoint looks in them.

    Attributes:
        kind: What the maps are: attention, region, Grad-CAM.
        names: Patient and side.
        planes: Which slice, counted from 0.
        series: b0, b1000, FLAIR.
        maps: At most 1, of the hemisphere's maximum.
        lesions: Where the lesion is.
    """

    kind: str
    names: tuple[str, ...]
    planes: tuple[int, ...]
    series: Float[np.ndarray, "picture series height width"]
    maps: Float[np.ndarray, "picture height width"]
    lesions: Bool[np.ndarray, "picture height width"]


def read_looks(folder: PromotedFolder) -> Looks | None:
    """What `holdout.tsv` says of where a checkpoint looks; None where lesions were not known, or by 0.1.

    Raises:
        InputError: The file is missing or damaged, or a figure is no number.
    """
    cells = [row.cells for row in read_rows(folder.holdout_scores, required=COLUMNS)]
    if any(name not in cells[0] for name in _FIGURES):
        return None
    known = [row for row in cells if row["look_overlap"] != MISSING]
    if not known:
        return None
    found = {name: _numbers(folder.holdout_scores, known, name) for name in _FIGURES}
    hits, hits_permuted = found["look_hit"] >= SUBSTANTIAL, found["look_hit_permuted"] >= SUBSTANTIAL
    overlap, n = found["look_overlap"], len(known)
    return Looks(
        n=n,
        overlap=float(overlap.mean()),
        hot=float(found["look_hot"].mean()),
        substantial=estimate_rate(int((overlap >= SUBSTANTIAL).sum()), n),
        moderate=estimate_rate(int(((overlap >= MODERATE) & (overlap < SUBSTANTIAL)).sum()), n),
        hits=estimate_rate(int(hits.sum()), n),
        overlap_permuted=float(found["look_overlap_permuted"].mean()),
        hits_permuted=estimate_rate(int(hits_permuted.sum()), n),
        against_permuted=compare_calls(np.ones(n, dtype=bool), hits, hits_permuted),
    )


def read_pictures(path: Path) -> Pictures | None:
    """What `looks.npz` holds; None where there is none.

    Raises:
        InputError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            return Pictures(
                kind=str(held["kind"]),
                names=tuple(str(name) for name in held["names"]),
                planes=tuple(int(plane) for plane in held["planes"]),
                series=held["series"].astype(np.float32),
                maps=held["maps"].astype(np.float32),
                lesions=held["lesions"].astype(bool),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it: the report then has no pictures") from error


def _numbers(path: Path, rows: list[Mapping[str, str]], name: str) -> Float[np.ndarray, " unit"]:
    try:
        return np.array([float(row[name]) for row in rows])
    except ValueError as error:
        raise InputError(f"{path}: column {name}: {error}; a number is allowed") from error
