"""A lost node costs its trial one checkpoint interval."""

from pathlib import Path

import pytest

from tests.e2e.commands import run_script
from tissueclock.cohort.store import Cohort


@pytest.mark.ray
@pytest.mark.e2e
def test_a_sweep_on_three_nodes_outlives_the_loss_of_one(toy_cohort: Cohort, tmp_path: Path) -> None:
    found = run_script("lose_a_node.py", toy_cohort.folder, tmp_path / "sweep", home=tmp_path)

    assert found["error"] is None
    assert found["closed"]
    assert found["status"] == ["finished"] * 4
    assert found["epochs"] == [list(range(1, 9))] * 4
    assert sorted(found["started"]) == [1, 1, 1, 2], "one trial was on the node that was lost"
    assert max(found["n_reports"]) <= 8 + 1, "it went on from its last checkpoint"
