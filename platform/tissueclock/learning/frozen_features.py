"""What a step of learning is fed: hemispheres, or what the frozen stages make of them, computed once and shared.

With frozen stages, an augmented hemisphere is one of a fixed number of views, each seeded by its number and its row
alone: so the stages see each view once, on whichever trial comes first. Maps are rounded as the store rounds them,
stored or not: so sharing, and a store without room, change no result.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor

from tissueclock.cohort.augmentation import augment, drop_flair
from tissueclock.learning.precision import autocast, uses_bfloat16
from tissueclock.learning.samples import HemisphereReader, Samples, read_ahead, read_batches
from tissueclock.learning.trunk_store import Maps, StoredMaps, TrunkStore, rounded
from tissueclock.networks.settings import Precision
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed
from tissueclock.storage.files import digest_facts

_CHUNK = 16
"""Samples through the frozen stages at a time while an entry is built."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How trials share what frozen stages compute.

    Attributes:
        store: Where the maps lie on this node; None: each trial computes its own, with the same result.
        cohort: The identity of the cohort that rows belong to.
        seed: Of the views: the study's, so that its trials share them.
    """

    store: TrunkStore | None
    cohort: str
    seed: int


@dataclass(slots=True)
class FrozenFeatures:
    """The input of one trial's steps.

    Args:
        network: Its first `depth` stages do not learn.
        depth: Stages that are frozen.
        augmentation: Strength; 0 is none.
        views: How many augmented views of a hemisphere there are where stages are frozen; 0: a new one each epoch, and
            nothing to share unless augmentation is off.
        sharing: None: every step runs the whole network on fresh views.
        device: Where the network runs.
        flair_dropout: How often FLAIR is taken from what is learned from.
        precision: In which number format.

    Attributes:
        depth: The depth at which `StagedNetwork.after` goes on from what is fed.
        stored_bytes: Size of the entries that were used.
        built_s: Seconds that this trial spent on building entries.
        saved_s: Seconds that it would have spent on the frozen stages without the entries, less `built_s`; an estimate
            from how long they took to build.
    """

    network: StagedNetwork
    depth: int
    augmentation: float
    views: int
    sharing: Sharing | None
    device: torch.device
    flair_dropout: float = 0.0
    precision: Precision = "auto"
    stored_bytes: int = 0
    built_s: float = 0.0
    saved_s: float = 0.0
    _open: dict[str, StoredMaps | None] = field(default_factory=dict)
    _state: str | None = None

    def __post_init__(self) -> None:
        if self.sharing is None or (self._changes and self.views == 0):
            self.depth = 0

    @property
    def _changes(self) -> bool:
        """Whether what is learned from changes from epoch to epoch."""
        return self.augmentation > 0 or self.flair_dropout > 0

    def training(
        self, samples: Samples, batches: Sequence[Int64[ndarray, " _"]], *, i_epoch: int, seed: int
    ) -> Iterator[Maps]:
        """The training batches of an epoch.

        Args:
            samples: What is learned from.
            batches: Positions in `samples`.
            i_epoch: Which view, where there is a fixed number of them.
            seed: Of the augmentation, where there is not.
        """
        if self.depth > 0:
            yield from self._maps(samples, batches, i_view=i_epoch % self.views if self._changes else None)
            return
        generator = torch.Generator(self.device).manual_seed(seed)
        for image in read_batches(samples.view, [samples.rows[batch] for batch in batches], device=self.device):
            yield (self._changed(image, generator),)

    def validation(self, samples: Samples, batches: Sequence[Int64[ndarray, " _"]]) -> Iterator[Maps]:
        """Batches (positions in `samples`) as they are, not augmented."""
        if self.depth > 0:
            yield from self._maps(samples, batches, i_view=None)
            return
        for image in read_batches(samples.view, [samples.rows[batch] for batch in batches], device=self.device):
            yield (image,)

    def facts(self) -> dict[str, float]:
        """What sharing did so far, as metrics: stages shared, GB on disk, seconds spent and saved; empty without."""
        if self.depth == 0:
            return {}
        return {
            "trunk_depth": float(self.depth),
            "trunk_gb": self.stored_bytes / 1e9,
            "trunk_built_s": self.built_s,
            "trunk_saved_s": self.saved_s,
        }

    def _maps(self, samples: Samples, batches: Sequence[Int64[ndarray, " _"]], *, i_view: int | None) -> Iterator[Maps]:
        """What the frozen stages make of a view of these samples, None: as they are; stored if there is room."""

        def compute(positions: Int64[ndarray, " sample"]) -> Maps:
            return self._compute(samples.view, samples.rows[positions], i_view=i_view)

        stored = self._stored(samples, i_view=i_view, compute=compute)
        if stored is not None:
            yield from read_ahead(stored.read, batches, device=self.device)
            return
        for batch in batches:
            yield compute(batch)

    def _stored(
        self, samples: Samples, *, i_view: int | None, compute: Callable[[Int64[ndarray, " sample"]], Maps]
    ) -> StoredMaps | None:
        sharing = self.sharing
        if sharing is None or sharing.store is None:
            return None
        key = self._key(samples.rows, sharing=sharing, i_view=i_view)
        if key not in self._open:
            stored = sharing.store.open(key, n_samples=len(samples), chunk=_CHUNK, compute=compute)
            self._open[key] = stored
            if stored is not None:
                self.stored_bytes += stored.n_bytes
            if stored is not None and stored.fresh:
                self.built_s += stored.built_s
                self.saved_s -= stored.built_s
        if (found := self._open[key]) is not None:
            self.saved_s += found.built_s
        return found

    def _changed(self, image: Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        n_halves = self.network.n_halves
        seen = drop_flair(image, share=self.flair_dropout, generator=generator, n_halves=n_halves)
        return augment(seen, strength=self.augmentation, generator=generator, n_halves=n_halves)

    @torch.no_grad()
    def _compute(self, view: HemisphereReader, rows: Int64[ndarray, " sample"], *, i_view: int | None) -> Maps:
        image = view.read(rows).to(self.device).float()
        if i_view is not None:
            seed = self.sharing.seed if self.sharing else 0
            seeds = [derive_seed(seed, "view", i_view, int(row)) for row in rows]
            image = self._changed(image, [torch.Generator(self.device).manual_seed(own) for own in seeds])
        with autocast(self.precision, device=self.device):
            maps = self.network.before(image, self.depth)
        return rounded(maps)

    def _key(self, rows: Int64[ndarray, " sample"], *, sharing: Sharing, i_view: int | None) -> str:
        if self._state is None:
            self._state = _digest_tensors(self.network.frozen_state(self.depth))
        facts: dict[str, Any] = {
            "cohort": sharing.cohort,
            "rows": hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest(),
            "state": self._state,
            "facts": self.network.frozen_facts(self.depth),
            "depth": self.depth,
            "bfloat16": uses_bfloat16(self.precision, device=self.device),
            "view": None if i_view is None else [sharing.seed, float(self.augmentation), i_view, self.flair_dropout],
        }
        return digest_facts(facts)


def _digest_tensors(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
