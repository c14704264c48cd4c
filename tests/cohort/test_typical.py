"""Who is unlike the patients learned from: wrong contrasts and another head's series are, sound patients are not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tissueclock.cohort.describing import describe_halves
from tissueclock.cohort.descriptions import FILE, describe_cohort
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.typical import Typical, find_typical
from tissueclock.errors import CohortError
from tissueclock.phantom.generate import make_phantom

B0, B1000, FLAIR = range(3)
N_LEARNED = 150


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_phantom(
        tmp_path_factory.mktemp("phantom") / "cohort", preset="easy", n_patients=200, shape=(6, 24, 12), seed=8
    )


@pytest.fixture(scope="module")
def typical(phantom: Cohort) -> Typical:
    return find_typical([one.figures for one in list(describe_cohort(phantom).values())[:N_LEARNED]])


def halves_of(cohort: Cohort, i: int) -> np.ndarray:
    return np.array(cohort.hemispheres[2 * i : 2 * i + 2])


def test_sound_patients_are_typical(phantom: Cohort, typical: Typical) -> None:
    sound = [typical.distance(describe_halves(halves_of(phantom, i))) for i in range(N_LEARNED, 200)]
    assert sum(distance > typical.limit for distance in sound) <= 2


FAULTS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "b0 in FLAIR's place": lambda half, _: half.__setitem__((slice(None), FLAIR), half[:, B0]),
    "b0 in b1000's place": lambda half, _: half.__setitem__((slice(None), B1000), half[:, B0]),
    "another head's FLAIR": lambda half, other: half.__setitem__((slice(None), FLAIR), other[:, FLAIR]),
    "FLAIR half as bright again": lambda half, _: half.__setitem__((slice(None), FLAIR), half[:, FLAIR] * 1.5),
    "half a head": lambda half, _: half.__setitem__(1, 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_patient_is_unlike_all_others_and_it_is_said_in_what(
    phantom: Cohort, typical: Typical, fault: str
) -> None:
    beyond = []
    for i in range(N_LEARNED, N_LEARNED + 20):
        half = halves_of(phantom, i)
        FAULTS[fault](half, halves_of(phantom, i + 7))
        figures = describe_halves(half)
        beyond.append(typical.distance(figures) > typical.limit)
        assert "typical is" in typical.oddest(figures)
    assert np.mean(beyond) >= 0.95


def test_facts_give_it_back(typical: Typical, phantom: Cohort) -> None:
    figures = describe_halves(halves_of(phantom, 0))
    again = Typical.from_facts(json.loads(json.dumps(typical.as_facts())))
    assert again.distance(figures) == typical.distance(figures)
    assert again.limit == typical.limit


def test_an_empty_image_has_figures_and_is_infinitely_far(typical: Typical) -> None:
    assert typical.distance(describe_halves(np.zeros((2, 3, 6, 24, 12), dtype=np.float16))) == np.inf


def test_too_few_patients_make_nothing_typical() -> None:
    with pytest.raises(CohortError, match="9 patients with all figures; at least 10 are needed"):
        find_typical([{"a": float(i)} for i in range(9)])


def test_descriptions_are_kept_for_their_own_cohort_alone(phantom: Cohort, tmp_path: Path) -> None:
    described = describe_cohort(phantom)
    kept = phantom.folder / FILE
    facts = json.loads(kept.read_text())
    facts["patients"]["phantom-0001"]["voxels"] = "kept"
    kept.write_text(json.dumps(facts))
    assert describe_cohort(phantom)["phantom-0001"].voxels == "kept"
    kept.write_text(json.dumps({**facts, "cohort": "another"}))
    assert describe_cohort(phantom) == described
