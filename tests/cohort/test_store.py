import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, HoldoutLeakError

SHAPE = (2, 4, 3)


def test_hemispheres_come_back_in_the_order_asked_for(packed: Path) -> None:
    view = Cohort.open(packed, verify=True).sweep_view()
    rows = view.rows("train")[[3, 0, 3]]
    batch = view.read(torch.from_numpy(rows))
    assert batch.shape == (3, 3, *SHAPE)
    assert batch.dtype == torch.float16
    assert batch[:, 0, 0, 0, 0].tolist() == rows.tolist()
    assert (view.read(rows) == batch).all()
    assert view.facts(rows)[0] == view.facts(rows)[2]


def test_views_share_out_all_hemispheres_by_patient(packed: Path) -> None:
    cohort = Cohort.open(packed)
    sweep, holdout = cohort.sweep_view(), cohort.holdout_view()
    train, validation, kept = sweep.rows("train"), sweep.rows("validation"), holdout.rows()
    assert sorted([*train, *validation, *kept]) == list(range(40))
    seen = {cohort.table[row].patient for row in [*train, *validation]}
    assert seen.isdisjoint({cohort.table[row].patient for row in kept})


def test_a_holdout_patient_reaching_a_sweep_raises(packed: Path) -> None:
    cohort = Cohort.open(packed)
    view, kept = cohort.sweep_view(), cohort.holdout_view().rows()
    with pytest.raises(HoldoutLeakError, match="a sweep asked for the holdout"):
        view.rows("holdout")
    leak = np.append(view.rows("train"), kept[0])
    message = f"holdout patient {cohort.table[kept[0]].patient} \\(row {kept[0]}\\)"
    with pytest.raises(HoldoutLeakError, match=message):
        view.read(leak)
    with pytest.raises(HoldoutLeakError, match=message):
        pickle.loads(pickle.dumps(view)).facts(torch.from_numpy(leak))


def test_the_holdout_view_gives_out_nothing_else(packed: Path) -> None:
    cohort = Cohort.open(packed)
    view = cohort.holdout_view()
    row = cohort.sweep_view().rows("train")[:1]
    assert len(view.read(view.rows())) == 8
    with pytest.raises(CohortError, match=f"row {row[0]} is of train, not the holdout"):
        view.read(row)
    with pytest.raises(CohortError, match="was asked for train; it has the holdout only"):
        view.rows("train")


@pytest.mark.parametrize("row", [-1, 40])
def test_a_row_that_does_not_exist_is_named(packed: Path, row: int) -> None:
    with pytest.raises(CohortError, match=f"row {row} asked for; there are rows 0 to 39"):
        Cohort.open(packed).sweep_view().read(np.array([0, row]))


def test_the_map_is_read_only_and_a_pickle_is_a_path(packed: Path) -> None:
    cohort = Cohort.open(packed)
    with pytest.raises(ValueError, match="read-only"):
        cohort.hemispheres[0] = 1
    text = pickle.dumps(cohort)
    assert len(text) < 500
    assert pickle.loads(text).digest == cohort.digest


def test_identity_follows_content(
    tmp_path: Path, pack: Callable[[Path, list[Patient]], Path], patients: list[Patient]
) -> None:
    one, same = (Cohort.open(pack(tmp_path / name, patients)) for name in ("one", "two"))
    other = Cohort.open(pack(tmp_path / "three", patients[:-1]))
    assert one.digest == same.digest != other.digest
    assert one.split_digest == same.split_digest != other.split_digest


def truncate(folder: Path) -> None:
    path = folder / "hemispheres.npy"
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_pixel(folder: Path) -> None:
    path = folder / "hemispheres.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def alter_an_onset(folder: Path) -> None:
    path = folder / "participants.tsv"
    path.write_text(path.read_text().replace("60.0", "61.0"))


def save(array: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "hemispheres.npy", array)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def edit_facts(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "cohort.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "hemispheres.npy: truncated: 5881 bytes found; 5888 expected"),
        (flip_a_pixel, "hemispheres.npy: SHA-256"),
        (alter_an_onset, "participants.tsv: SHA-256"),
        (save(np.zeros((40, 3, *SHAPE), np.float32)), "float32 (40, 3, 2, 4, 3) found; cohort.json says float16"),
        (save(np.zeros((40, 3, 2, 4, 4), np.float16)), "float16 (40, 3, 2, 4, 4) found; cohort.json says float16"),
        (lambda folder: (folder / "hemispheres.npy").write_text("no array"), "hemispheres.npy: not a .npy file"),
        (remove("hemispheres.npy"), "hemispheres.npy: no such file"),
        (remove("hemispheres.tsv"), "hemispheres.tsv: no such file"),
        (remove("cohort.json"), "cohort.json: no such file; a packed cohort has one"),
        (lambda folder: (folder / "cohort.json").write_text("{"), "cohort.json: cannot be read as JSON"),
        (edit_facts(spacing_mm=[6.0, 1.0]), "cohort.json: spacing_mm [6.0, 1.0] found; allowed: three numbers above 0"),
        (edit_facts(n_patients=True), "cohort.json: n_patients True found; allowed: a whole number above 0"),
        (edit_facts(split={}), "cohort.json: split {} found; allowed: the split's digest"),
        (edit_facts(shape={"n_slices": "x"}), "found; allowed: n_slices, height, width, each a whole number above 0"),
        (edit_facts(source=float("inf")), "cohort.json: cannot be read as JSON (Infinity is no number)"),
        (edit_facts(schema=9), "cohort.json: schema 9 found; this version reads schema 1"),
        (edit_facts(series=["t1"]), "cohort.json: series ['t1'] found; allowed: ['b0', 'b1000', 'flair']"),
        (edit_facts(n_patients=3), "participants.tsv: 20 rows found; cohort.json says 3"),
        (edit_facts(split={"digest": "0"}), "hemispheres.tsv: split digest"),
        (
            edit_facts(digests={}),
            "cohort.json: digests {} found; allowed: the SHA-256 of hemispheres.npy, hemispheres.tsv",
        ),
    ],
)
def test_damage_is_one_clear_line(packed: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(packed)
    with pytest.raises(CohortError, match=re.escape(message)):
        Cohort.open(packed, verify=True)


def test_a_missing_key_is_named(packed: Path) -> None:
    path = packed / "cohort.json"
    facts = json.loads(path.read_text())
    del facts["shape"]
    path.write_text(json.dumps(facts))
    with pytest.raises(CohortError, match=r"cohort.json: key shape missing; needed: name"):
        Cohort.open(packed)
