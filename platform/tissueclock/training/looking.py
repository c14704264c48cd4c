"""Where a promoted checkpoint looks on the holdout, held against the lesions, and pictures of some patients.

References:
    Zhang et al. 2018, doi:10.1007/s11263-017-1059-x (the pointing game).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from tissueclock.channels import SERIES
from tissueclock.learning.samples import HemisphereReader, even_batches, read_batches
from tissueclock.networks.looking import look_at, permuted
from tissueclock.networks.staged import StagedNetwork
from tissueclock.storage.files import atomic_path
from tissueclock.storage.folders import PromotedFolder

HOT = 0.5
"""Of a map's maximum, from which on it counts as looked at."""

N_SHOWN = 4
"""Hemispheres of which a picture is kept: of lesions from small to large, the same for all networks of a cohort."""

N_PERMUTED = 19
"""Networks with permuted weights that a checkpoint is ranked among: first of 20 is p = .05."""

_N_RANKED = 16
"""Hemispheres on which it is, with lesions from small to large: permuted networks are run on no others."""

_BATCH = 4
FIGURES = ("look_overlap", "look_hot", "look_hit")


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Where a checkpoint looks on the holdout.

    Attributes:
        figures: By name, for each hemisphere; NaN where it holds no lesion, or no brain.
        facts: JSON facts: the `kind` of map; on `n` hemispheres the share of hits of the checkpoint (`hit`), and of
            each network with permuted weights (`hit_permuted`; empty where weights do not decide what is looked at).
    """

    figures: Mapping[str, Float[ndarray, " sample"]]
    facts: Mapping[str, Any]


def look_on_holdout(
    promoted: PromotedFolder,
    networks: Sequence[StagedNetwork],
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    masks: Bool[ndarray, "hemisphere slice height width"],
    *,
    names: Sequence[str],
) -> LookedAt | None:
    """Holds what a checkpoint looks at against the lesions, and writes `looks.npz` beside the weights.

    `look_overlap`: the share of the lesion, on the slice with most of it, where the map is at least half of its maximum
    in the hemisphere; the paper calls .5 and more substantial. `look_hot`: the share of the brain that is; a map that
    is hot everywhere overlaps everything. `look_hit`: whether the map's maximum lies in the lesion (the pointing game);
    of a region of interest, which has no maximum, how much of it does.

    One network with permuted weights may hit by luck, or never; so the checkpoint is ranked among several.

    Args:
        promoted: Where the pictures go.
        networks: The checkpoint's replicas, in evaluation mode.
        view: Gives the hemispheres as the networks read them.
        rows: Which.
        masks: The lesions of every hemisphere of the cohort.
        names: What each hemisphere is called, in the order of `rows`.

    Returns:
        None where no hemisphere holds a lesion.
    """
    networks = networks[:1] if networks[0].only_measures else networks
    with_lesion = [i for i, row in enumerate(rows) if masks[row].any()]
    by_size = np.array(sorted(with_lesion, key=lambda i: int(masks[rows[i]].sum())), dtype=np.int64)
    if not len(by_size):
        return None
    figures = {name: np.full(len(rows), np.nan) for name in FIGURES}
    shown = _spread(by_size, N_SHOWN, inner=True)
    pictures: dict[int, tuple[ndarray, ...]] = {}
    kind = ""
    for i, half, map_, kind in _maps(networks, view, rows, by_size):  # noqa: B007 (the last one's is that of all)
        lesion = np.asarray(masks[rows[i]])
        for name, value in compare_map(map_, lesion, brain=half[0] != 0).items():
            figures[f"look_{name}"][i] = value
        if i in shown:
            plane = int(lesion.sum(axis=(1, 2)).argmax())
            pictures[i] = (half[: len(SERIES), plane], map_[plane], lesion[plane], np.array(plane))
    _save_pictures(promoted, kind, {i: pictures[i] for i in shown if i in pictures}, names)
    ranked = np.array([i for i in _spread(by_size, _N_RANKED) if not np.isnan(figures["look_hit"][i])], dtype=np.int64)
    n_permuted = 0 if networks[0].only_measures else N_PERMUTED
    by_chance = [_permuted_hits(networks, view, rows, ranked, masks, seed=seed) for seed in range(n_permuted)]
    hit = float(figures["look_hit"][ranked].mean()) if len(ranked) else 0.0
    return LookedAt(figures, {"kind": kind, "n": len(ranked), "hit": hit, "hit_permuted": by_chance})


def _permuted_hits(
    networks: Sequence[StagedNetwork],
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    positions: Int64[ndarray, " some"],
    masks: Bool[ndarray, "hemisphere slice height width"],
    *,
    seed: int,
) -> float:
    """The share of these hemispheres that the networks hit with their weights permuted."""
    others = [
        permuted(network, torch.Generator().manual_seed(seed * len(networks) + i)) for i, network in enumerate(networks)
    ]
    hits = [
        compare_map(map_, np.asarray(masks[rows[i]]), brain=half[0] != 0)["hit"]
        for i, half, map_, _ in _maps(others, view, rows, positions)
    ]
    return float(np.mean(hits)) if hits else 0.0


def _maps(
    networks: Sequence[StagedNetwork],
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    positions: Int64[ndarray, " some"],
) -> Iterator[tuple[int, ndarray, ndarray, str]]:
    """Each hemisphere's position, its series, the replicas' mean map and what that is; blank ones are left out."""
    for batch in even_batches(positions, batch_size=_BATCH) if len(positions) else ():
        (x,) = read_batches(view, [rows[batch]], device=networks[0].device)
        each = [look_at(network, x) for network in networks]
        maps = torch.stack([looked.map for looked in each]).mean(dim=0).cpu().numpy()
        for i, half, map_ in zip(batch, x.cpu().numpy(), maps, strict=True):
            if half[0].any():
                yield int(i), half, map_, each[0].kind


def _spread(order: Int64[ndarray, " sample"], n: int, *, inner: bool = False) -> list[int]:
    """At most `n` of these, evenly along their order; without both ends, if `inner`."""
    places = np.linspace(0, len(order) - 1, n + 2 * inner)[inner : n + inner]
    return list(dict.fromkeys(int(i) for i in order[places.round().astype(int)]))


def compare_map(
    map_: Float[ndarray, "slice height width"],
    lesion: Bool[ndarray, "slice height width"],
    *,
    brain: Bool[ndarray, "slice height width"],
) -> dict[str, float]:
    """`overlap`, `hot` and `hit` of a map; see `look_on_holdout`. A map that is 0 throughout has 0 of each.

    Args:
        map_: At least 0.
        lesion: Not empty.
        brain: Not empty.
    """
    if not map_.any():
        return {"overlap": 0.0, "hot": 0.0, "hit": 0.0}
    hot = map_ >= HOT * map_.max()
    plane = int(lesion.sum(axis=(1, 2)).argmax())
    highest = map_ >= map_.max()  # of a region of interest many are
    return {
        "overlap": float(hot[plane][lesion[plane]].mean()),
        "hot": float(hot[brain].mean()),
        "hit": float(lesion[highest].mean()),
    }


def _save_pictures(
    promoted: PromotedFolder, kind: str, pictures: dict[int, tuple[ndarray, ...]], names: Sequence[str]
) -> None:
    chosen = list(pictures)
    if not chosen:
        return
    series, maps, lesions, planes = (np.stack([pictures[i][part] for i in chosen]) for part in range(4))
    with atomic_path(promoted.looks) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            kind=np.array(kind),
            names=np.array([names[i] for i in chosen]),
            planes=planes,
            series=series.astype(np.float16),
            maps=maps.astype(np.float16),
            lesions=lesions,
        )
