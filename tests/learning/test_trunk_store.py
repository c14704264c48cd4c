"""The store of what frozen stages compute: built once, bounded, and never in the way of a trial."""

import fcntl
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tissueclock.learning.trunk_store import StoredMaps, TrunkStore

N_SAMPLES = 10
ENTRY_BYTES = N_SAMPLES * (600 + 1) * 2


def maps_of(samples: np.ndarray) -> tuple[Tensor, ...]:
    position = torch.as_tensor(samples, dtype=torch.float32)
    return position[:, None].expand(-1, 600).reshape(-1, 2, 300), -position


def open_entry(store: TrunkStore, key: str, compute: Callable = maps_of) -> StoredMaps | None:
    return store.open(key, n_samples=N_SAMPLES, chunk=4, compute=compute)


def refuse(samples: np.ndarray) -> tuple[Tensor, ...]:
    raise AssertionError("it was to be read, not computed")


@pytest.fixture
def store(tmp_path: Path) -> TrunkStore:
    return TrunkStore(tmp_path / "trunks", limit_bytes=3 * ENTRY_BYTES + 1000)


def test_what_was_computed_once_is_read_by_all_who_follow(store: TrunkStore) -> None:
    first = open_entry(store, "a")
    again = open_entry(store, "a", refuse)

    assert first is not None
    assert again is not None
    assert (first.fresh, again.fresh) == (True, False)
    for got, computed in zip(again.read(np.array([7, 2])), maps_of(np.array([7, 2])), strict=True):
        assert torch.equal(got.float(), computed)


def test_the_folder_is_its_owners_alone(store: TrunkStore) -> None:
    open_entry(store, "a")

    assert store.folder.stat().st_mode & 0o077 == 0


def test_the_entry_used_longest_ago_makes_room(store: TrunkStore) -> None:
    for age, key in enumerate("abc"):
        open_entry(store, key)
        os.utime(store.folder / key, (1000 + age, 1000 + age))
    open_entry(store, "a", refuse)

    open_entry(store, "d")
    open_entry(store, "e")

    assert {path.name for path in store.folder.iterdir() if path.is_dir()} == {"a", "d", "e"}
    assert store.used_bytes() <= store.limit_bytes


def test_an_entry_that_never_fits_is_not_shared(tmp_path: Path) -> None:
    assert open_entry(TrunkStore(tmp_path / "small", limit_bytes=ENTRY_BYTES - 1), "a") is None


def test_a_folder_that_cannot_be_made_means_no_sharing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert open_entry(TrunkStore(tmp_path / "file" / "trunks", limit_bytes=10**6), "a") is None


def test_a_trial_reads_on_when_the_store_is_deleted_under_it(store: TrunkStore) -> None:
    entry = open_entry(store, "a")
    shutil.rmtree(store.folder)

    assert entry is not None
    assert entry.read(np.array([3]))[1].item() == -3.0
    assert open_entry(store, "a") is not None, "and the next trial builds it again"


@pytest.mark.parametrize("damage", ["facts.json", "0.bin"])
def test_a_damaged_entry_is_built_again(store: TrunkStore, damage: str) -> None:
    open_entry(store, "a")
    (store.folder / "a" / damage).write_bytes(b"{")

    again = open_entry(store, "a")

    assert again is not None
    assert again.read(np.array([5]))[1].item() == -5.0


def test_values_too_large_for_half_precision_are_stored_whole(store: TrunkStore) -> None:
    entry = open_entry(store, "a", lambda samples: (torch.full((len(samples), 2), 1e6),))

    assert entry is not None
    assert entry.read(np.array([0]))[0].tolist() == [[1e6, 1e6]]


def count_builds(store: TrunkStore, log: Path, delay_s: float) -> None:
    def compute(samples: np.ndarray) -> tuple[Tensor, ...]:
        with log.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(f"{samples[0]}\n")
        time.sleep(delay_s)
        return maps_of(samples)

    open_entry(store, "a", compute)


def test_two_trials_that_want_the_same_trunk_build_it_once(store: TrunkStore, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=count_builds, args=(store, tmp_path / "log", 0.05)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    assert [builder.exitcode for builder in builders] == [0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "4", "8"]


def test_a_builder_that_is_killed_leaves_nothing_that_is_read(store: TrunkStore, tmp_path: Path) -> None:
    builder = multiprocessing.get_context("fork").Process(target=count_builds, args=(store, tmp_path / "log", 30.0))
    builder.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    os.kill(builder.pid or 0, signal.SIGKILL)
    builder.join()

    entry = open_entry(store, "a")

    assert entry is not None
    assert entry.fresh
    assert [path.name for path in store.folder.iterdir() if path.is_dir()] == ["a"]
