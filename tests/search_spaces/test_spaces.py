"""Every bound has a reason, and every name is one that its phase understands."""

import pkgutil

import pytest

import search_spaces
from tests.sweeping.specs import SPEC, vary
from tissueclock.catalog import load_phase
from tissueclock.networks.settings import VolumeSettings
from tissueclock.records import SweepSpec
from tissueclock.sweeping.space import make_space

SPACES = sorted(module.name for module in pkgutil.iter_modules(search_spaces.__path__))
PHASE_OF = {"voxel_detection": "detection", "voxel_onset": "tss_3h"}
"""Of the spaces that are not called as their phase."""


def spec_of(space: str) -> SweepSpec:
    phase = PHASE_OF.get(space, space)
    first = phase in ("genesis", "detection")
    weights = {"weights": "random"} if first else {"weights": "previous", "upstream": "before"}
    network = VolumeSettings() if phase == "genesis" else SPEC.inputs.network
    return vary(phase=phase, space=space, network=network, **weights)


@pytest.mark.parametrize("space", SPACES)
def test_every_bound_has_a_reason_and_every_reason_a_bound(space: str) -> None:
    module = __import__(f"search_spaces.{space}", fromlist=["SPACE"])

    assert module.SPACE.keys() == module.REASONS.keys()
    assert all(len(reason) > 10 for reason in module.REASONS.values())


@pytest.mark.parametrize("space", SPACES)
def test_the_phase_understands_every_name_of_its_space(space: str) -> None:
    loaded = load_phase(spec_of(space))

    made = make_space(loaded.space, spec_of(space), accepted=loaded.phase.task.accepted(), n_parents=3)
    assert {*made.domains, *made.fixed} == {*loaded.space, "parent"}
