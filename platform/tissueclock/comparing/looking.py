"""Where networks look on the holdout, held against the lesions, and against networks with permuted weights."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tissueclock.comparing.scores import COLUMNS
from tissueclock.comparing.statistics import Rate, estimate_rate
from tissueclock.errors import InputError
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import MISSING, read_rows

SUBSTANTIAL, MODERATE = 0.5, 0.25
"""Overlap from which on the paper calls it so (Zhang, Polson et al. 2021)."""

_MOST = 0.5

_FIGURES = ("look_overlap", "look_hot", "look_hit")


@dataclass(frozen=True, slots=True)
class Looks:
    """How far what a checkpoint looks at is the lesion; units without a known lesion are left out.

    Attributes:
        kind: What the maps are: attention, region, Grad-CAM.
        n: Units with a lesion.
        overlap: Mean overlap with the lesion, on the slice with most of it.
        hot: Mean share of the brain that counts as looked at.
        substantial: Units with an overlap of at least `SUBSTANTIAL`.
        moderate: Units below that, with at least `MODERATE`.
        hits: Units in which the map's maximum lies in the lesion, in both halves where both hold one; of a region,
            those of which most does.
        n_ranked: Hemispheres on which it was ranked among networks with permuted weights.
        hit: Its share of hits on these.
        hit_permuted: Theirs, a number a network; empty where weights do not decide.
    """

    kind: str
    n: int
    overlap: float
    hot: float
    substantial: Rate
    moderate: Rate
    hits: Rate
    n_ranked: int
    hit: float
    hit_permuted: tuple[float, ...]

    @property
    def p(self) -> float | None:
        """That a network with permuted weights hits as often, by its rank among them; None where there are none."""
        if not self.hit_permuted:
            return None
        return (1 + sum(other >= self.hit for other in self.hit_permuted)) / (1 + len(self.hit_permuted))


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
    """What `holdout.tsv` and `holdout.json` say of where a checkpoint looks; None where lesions were not known.

    Raises:
        InputError: A file is missing or damaged, or a figure is no number.
    """
    facts = folder.read_holdout().get("looks")
    cells = [row.cells for row in read_rows(folder.holdout_scores, required=COLUMNS)]
    if not isinstance(facts, Mapping) or any(name not in cells[0] for name in _FIGURES):
        return None
    known = [row for row in cells if MISSING not in [row[name] for name in _FIGURES]]
    if not known:
        return None
    overlap, hot, hit = (_numbers(folder.holdout_scores, known, name) for name in _FIGURES)
    n = len(known)
    try:
        return Looks(
            kind=str(facts["kind"]),
            n=n,
            overlap=float(overlap.mean()),
            hot=float(hot.mean()),
            substantial=estimate_rate(int((overlap >= SUBSTANTIAL).sum()), n),
            moderate=estimate_rate(int(((overlap >= MODERATE) & (overlap < SUBSTANTIAL)).sum()), n),
            hits=estimate_rate(int((hit > _MOST).sum()), n),
            n_ranked=int(facts["n"]),
            hit=float(facts["hit"]),
            hit_permuted=tuple(float(each) for each in facts["hit_permuted"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder.holdout}: looks lacks or misspells {error}") from error


def read_pictures(path: Path) -> Pictures | None:
    """What `looks.npz` holds; None where there is none.

    Raises:
        InputError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            pictures = Pictures(
                kind=str(held["kind"]),
                names=tuple(str(name) for name in held["names"]),
                planes=tuple(int(plane) for plane in held["planes"]),
                series=held["series"].astype(np.float32),
                maps=held["maps"].astype(np.float32),
                lesions=held["lesions"].astype(bool),
            )
            _check_shapes(pictures)
            return pictures
    except (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it: the report then has no pictures") from error


def _numbers(path: Path, rows: list[Mapping[str, str]], name: str) -> Float[np.ndarray, " unit"]:
    try:
        found = np.array([float(row[name]) for row in rows])
    except ValueError:
        found = np.array([np.nan])
    if not ((found >= 0) & (found <= 1)).all():
        raise InputError(f"{path}: column {name} holds what is no number from 0 to 1; that or {MISSING} is allowed")
    return found


def _check_shapes(pictures: Pictures) -> None:
    n, *plane = pictures.maps.shape
    wanted = (n, len(pictures.names), len(pictures.planes), (n, *plane), (n, 3, *plane))
    found = (len(pictures.maps), n, n, pictures.lesions.shape, pictures.series.shape)
    if n == 0 or len(plane) != 2 or wanted != found:
        raise ValueError(f"arrays of {pictures.maps.shape}, {pictures.lesions.shape} and {pictures.series.shape}")
