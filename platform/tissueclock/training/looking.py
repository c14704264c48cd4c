"""Where a promoted checkpoint looks on the holdout, held against the lesions, and pictures of some patients.

References:
    Zhang et al. 2018, doi:10.1007/s11263-017-1059-x (the pointing game).
"""

from collections.abc import Sequence

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

_BATCH = 8
_OF_PERMUTED = "_permuted"


def look_on_holdout(
    promoted: PromotedFolder,
    networks: Sequence[StagedNetwork],
    view: HemisphereReader,
    rows: Int64[ndarray, " sample"],
    masks: Bool[ndarray, "hemisphere slice height width"],
    *,
    names: Sequence[str],
) -> dict[str, Float[ndarray, " sample"]]:
    """Figures of each hemisphere, NaN where it holds no lesion; and `looks.npz` beside the weights.

    `look_overlap`: the share of the lesion, on the slice with most of it, where the map is at least half of its maximum
    in the hemisphere; the paper calls .5 and more substantial. `look_hot`: the share of the brain that is; a map that
    is hot everywhere overlaps everything. `look_hit`: whether the map's maximum lies in the lesion (the pointing game).
    The same with `_permuted` behind the name: of the network with its weights permuted. What does not differ from it
    says nothing about what was learned.

    Args:
        promoted: Where the pictures go.
        networks: The checkpoint's replicas, in evaluation mode.
        view: Gives the hemispheres as the networks read them.
        rows: Which.
        masks: The lesions of every hemisphere of the cohort.
        names: What each hemisphere is called, in the order of `rows`.
    """
    with_lesion = np.array([i for i, row in enumerate(rows) if masks[row].any()], dtype=np.int64)
    found: dict[str, Float[ndarray, " sample"]] = {
        f"look_{name}{of}": np.full(len(rows), np.nan)
        for of in ("", _OF_PERMUTED)
        for name in ("overlap", "hot", "hit")
    }
    if not len(with_lesion):
        return {}
    by_size = with_lesion[np.argsort([masks[rows[i]].sum() for i in with_lesion], kind="stable")]
    places = np.linspace(0, len(by_size) - 1, N_SHOWN + 2).round().astype(int)[1:-1]
    shown = list(dict.fromkeys(int(i) for i in by_size[places]))
    pictures: dict[int, tuple[ndarray, ...]] = {}
    kind = ""
    networks = networks[:1] if networks[0].only_measures else networks
    others = [permuted(network, torch.Generator().manual_seed(i)) for i, network in enumerate(networks)]
    for positions in even_batches(with_lesion, batch_size=_BATCH):
        (x,) = read_batches(view, [rows[positions]], device=networks[0].device)
        kind, trained = _mean_map(networks, x)
        random = trained if networks[0].only_measures else _mean_map(others, x)[1]
        halves = x.cpu().numpy()
        for i, half, own, other in zip(positions, halves, trained, random, strict=True):
            lesion = np.asarray(masks[rows[i]])
            for of, map_ in (("", own), (_OF_PERMUTED, other)):
                for name, value in compare_map(map_, lesion, brain=half[0] != 0).items():
                    found[f"look_{name}{of}"][i] = value
            if i in shown:
                plane = int(lesion.sum(axis=(1, 2)).argmax())
                pictures[int(i)] = (half[: len(SERIES), plane], own[plane], lesion[plane], np.array(plane))
    _save_pictures(promoted, kind, {i: pictures[i] for i in shown}, names)
    return found


def compare_map(
    map_: Float[ndarray, "slice height width"],
    lesion: Bool[ndarray, "slice height width"],
    *,
    brain: Bool[ndarray, "slice height width"],
) -> dict[str, float]:
    """`overlap`, `hot` and `hit` of a map; see `look_on_holdout`. A map that is 0 throughout has none of them.

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


def _mean_map(networks: Sequence[StagedNetwork], x: torch.Tensor) -> tuple[str, ndarray]:
    each = [look_at(network, x) for network in networks]
    return each[0].kind, torch.stack([looked.map for looked in each]).mean(dim=0).cpu().numpy()


def _save_pictures(
    promoted: PromotedFolder, kind: str, pictures: dict[int, tuple[ndarray, ...]], names: Sequence[str]
) -> None:
    chosen = list(pictures)
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
