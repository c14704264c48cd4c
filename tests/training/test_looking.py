"""Where a checkpoint looks is held against the lesion, and against permuted weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.e2e.wrong_places import promoted_folder
from tissueclock.cohort.questions import OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.comparing.looking import read_looks, read_pictures
from tissueclock.errors import InputError
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import PromotedFolder
from tissueclock.training.looking import N_SHOWN, compare_map
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


def test_a_network_that_looks_at_the_bright_lesion_hits_it_and_one_with_permuted_weights_less_often(
    phantom: Cohort, tmp_path: Path
) -> None:
    looks = read_looks(scored(bright_where(1.0), tmp_path / "promoted", phantom))
    assert looks is not None
    assert looks.n > 15
    assert looks.tells_something
    assert looks.hits.value > looks.hits_permuted.value
    assert looks.hot < 0.2


def test_an_even_network_is_not_told_from_permuted_weights(phantom: Cohort, tmp_path: Path) -> None:
    even = AttendedNetwork(n_slices=8, cell=1, inputs=["b1000"], width=4)  # scores start at zero
    looks = read_looks(scored(even, tmp_path / "promoted", phantom))
    assert looks is not None
    assert not looks.tells_something
    assert looks.hot > 0.99


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


def test_damaged_pictures_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "looks.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"looks.npz: cannot be read .*; delete it"):
        read_pictures(tmp_path / "looks.npz")
