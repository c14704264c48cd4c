"""Every bound has a reason, and every name is one that its phase understands."""

import pkgutil

import pytest

import search_spaces
from tests.sweeping.specs import SPEC, vary
from tissueclock.catalog import load_phase
from tissueclock.networks.settings import VolumeSettings
from tissueclock.records import SweepSpec
from tissueclock.sweeping.space import make_space

PHASES = sorted(module.name for module in pkgutil.iter_modules(search_spaces.__path__))


def spec_of(phase: str) -> SweepSpec:
    first = phase in ("genesis", "detection")
    weights = {"weights": "random"} if first else {"weights": "previous", "upstream": "before"}
    network = VolumeSettings() if phase == "genesis" else SPEC.inputs.network
    return vary(phase=phase, space=phase, network=network, **weights)


@pytest.mark.parametrize("phase", PHASES)
def test_every_bound_has_a_reason_and_every_reason_a_bound(phase: str) -> None:
    module = __import__(f"search_spaces.{phase}", fromlist=["SPACE"])

    assert module.SPACE.keys() == module.REASONS.keys()
    assert all(len(reason) > 10 for reason in module.REASONS.values())


@pytest.mark.parametrize("phase", PHASES)
def test_the_phase_understands_every_name_of_its_space(phase: str) -> None:
    loaded = load_phase(spec_of(phase))

    made = make_space(loaded.space, spec_of(phase), accepted=loaded.phase.task.accepted(), n_parents=3)
    assert {*made.domains, *made.fixed} == {*loaded.space, "parent"}
