"""Where a checkpoint looks is held against the lesion, and against permuted weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.wrong_places import promoted_folder
from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.questions import OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.comparing.looking import Looks, read_looks, read_pictures
from tissueclock.comparing.statistics import estimate_rate
from tissueclock.errors import InputError
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows
from tissueclock.training.looking import N_PERMUTED, N_SHOWN, compare_map
from tissueclock.training.scoring import score

BRAIN = np.ones((2, 4, 5), dtype=bool)
LESION = np.zeros_like(BRAIN)
LESION[1, 1:3, 1:3] = True


def maps(**hot: float) -> np.ndarray:
    drawn = np.zeros(BRAIN.shape)
    for where, value in hot.items():
        drawn[{"lesion": LESION, "all": BRAIN, "corner": np.s_[0, 0, 0]}[where]] = value
    return drawn


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (maps(lesion=1.0), {"overlap": 1.0, "hot": 0.1, "hit": 1.0}),
        (maps(all=0.6, corner=1.0), {"overlap": 1.0, "hot": 1.0, "hit": 0.0}),
        (maps(lesion=0.4, corner=1.0), {"overlap": 0.0, "hot": 0.025, "hit": 0.0}),
        (maps(), {"overlap": 0.0, "hot": 0.0, "hit": 0.0}),
    ],
)
def test_a_map_is_compared_with_the_lesion(drawn: np.ndarray, expected: dict[str, float]) -> None:
    assert compare_map(drawn, LESION, brain=BRAIN) == pytest.approx(expected)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    make_phantom(folder, preset="easy", n_patients=20, n_held_out=20, shape=(8, 48, 24), seed=3)
    return Cohort.open(folder)


def scored(network: AttendedNetwork, folder: Path, cohort: Cohort) -> PromotedFolder:
    promoted = PromotedFolder(promoted_folder(folder, network=network))
    score(promoted, OnsetBefore(270.0), cohort)
    return promoted


def bright_where(direction: float) -> AttendedNetwork:
    """A network whose attention grows with b1000 less b0, or falls with it."""
    network = AttendedNetwork(n_slices=8, cell=1, inputs=["b0", "b1000"], width=4)
    with torch.no_grad():
        for parameter in network.trunk.parameters():
            parameter.zero_()
        weight = next(p for p in network.trunk.parameters() if p.ndim > 1)
        weight[:, 1], weight[:, 0] = direction, -0.2 * direction
        network.readout.score.weight.fill_(8.0)
    return network


def test_a_network_that_looks_at_the_bright_lesion_is_told_from_permuted_weights(
    phantom: Cohort, tmp_path: Path
) -> None:
    looks = read_looks(scored(bright_where(1.0), tmp_path / "promoted", phantom))
    assert looks is not None
    assert looks.n > 15
    assert looks.hot < 0.2
    assert looks.hit > np.mean(looks.hit_permuted)
    assert len(looks.hit_permuted) == N_PERMUTED


def test_an_even_network_is_not_told_from_permuted_weights(phantom: Cohort, tmp_path: Path) -> None:
    even = AttendedNetwork(n_slices=8, cell=1, inputs=["b1000"], width=4)  # scores start at zero
    looks = read_looks(scored(even, tmp_path / "promoted", phantom))
    assert looks is not None
    assert looks.p == 1.0
    assert looks.hot > 0.99


def test_a_rank_is_a_p_value() -> None:
    rate = estimate_rate(1, 2)
    some = {"kind": "attention", "n": 2, "overlap": 0.5, "hot": 0.1, "substantial": rate, "moderate": rate}
    ranked = {
        hit: Looks(**some, hits=rate, n_ranked=16, hit=hit, hit_permuted=(0.5,) * 18 + (0.7,)) for hit in (0.9, 0.6)
    }
    assert ranked[0.9].p == pytest.approx(1 / 20)
    assert ranked[0.6].p == pytest.approx(2 / 20)


def test_a_blank_hemisphere_has_no_figures_and_spoils_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    patients = [Patient(f"sub-{i:02d}", 100.0 + 20 * i, "left", {}, {}) for i in range(20)]
    facts = {"name": "x", "shape": (3, 24, 12), "spacing_mm": (6.0, 4.0, 4.0), "seed": 1, "source": {"tool": "pack"}}
    masks = np.zeros((40, 3, 24, 12), dtype=bool)
    with CohortWriter(tmp_path / "cohort", patients=patients, **facts) as writer:
        for i, patient in enumerate(patients):
            left = np.zeros((3, 3, 24, 12)) if i % 3 == 0 else 1 + 0.1 * rng.random((3, 3, 24, 12))
            writer.add(patient.participant_id, left, 1 + 0.1 * rng.random((3, 3, 24, 12)))
    cohort = Cohort.open(tmp_path / "cohort")
    for i, half in enumerate(cohort.table):
        masks[i, 1, 8:12, 4:8] = half.lesion
    np.save(tmp_path / "cohort" / "lesion_masks.npy", masks)
    network = AttendedNetwork(n_slices=3, cell=1, inputs=["b1000"], width=4)
    promoted = scored(network, tmp_path / "promoted", Cohort.open(tmp_path / "cohort"))
    rows = read_rows(promoted.holdout_scores, required=("look_hot",))
    blank = [row.cells["unit"] for row in rows if int(row.cells["unit"][-2:]) % 3 == 0]
    looks = read_looks(promoted)
    assert looks is not None
    assert blank
    assert looks.n == len(rows) - len(blank)


def test_pictures_are_of_lesions_from_small_to_large(phantom: Cohort, tmp_path: Path) -> None:
    promoted = scored(bright_where(1.0), tmp_path / "promoted", phantom)
    pictures = read_pictures(promoted.looks)
    assert pictures is not None
    assert pictures.kind == "attention"
    assert len(pictures.names) == N_SHOWN
    masks = phantom.lesion_masks
    assert masks is not None
    place = {f"{half.patient}, {half.side}": i for i, half in enumerate(phantom.table)}
    sizes = [int(masks[place[name]].sum()) for name in pictures.names]
    assert sizes == sorted(sizes)
    for name, plane, series, lesion in zip(
        pictures.names, pictures.planes, pictures.series, pictures.lesions, strict=True
    ):
        np.testing.assert_array_equal(lesion, masks[place[name]][plane])
        np.testing.assert_array_equal(series, phantom.hemispheres[place[name], :, plane])


def test_damaged_pictures_are_one_line(phantom: Cohort, tmp_path: Path) -> None:
    whole = scored(bright_where(1.0), tmp_path / "promoted", phantom).looks.read_bytes()
    for damaged in (b"PK\x03\x04 and no more", b"", whole[: len(whole) // 2]):
        (tmp_path / "looks.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"looks.npz: cannot be read"):
            read_pictures(tmp_path / "looks.npz")
    for damaged in (_flipped(whole, place) for place in (40, 300, len(whole) // 2)):
        (tmp_path / "looks.npz").write_bytes(damaged)
        try:
            read_pictures(tmp_path / "looks.npz")  # what is flipped in a picture's padding is no fault
        except InputError as error:
            assert "looks.npz: cannot be read" in str(error)  # noqa: PT017 (either is right)
    np.savez(tmp_path / "other.npz", kind="x", names=["a"], planes=[0, 1], series=0, maps=0, lesions=0)
    with pytest.raises(InputError, match=r"other.npz: cannot be read"):
        read_pictures(tmp_path / "other.npz")


def _flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
