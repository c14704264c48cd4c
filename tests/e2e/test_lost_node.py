"""A lost node costs its trial one checkpoint interval."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import environment
from tissueclock.cohort.store import Cohort

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.e2e
def test_a_sweep_on_three_nodes_outlives_the_loss_of_one(toy_cohort: Cohort, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests/e2e/lose_a_node.py", toy_cohort.folder, tmp_path / "sweep"],
        cwd=ROOT,
        env={**environment(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    found = json.loads(line)
    assert found["error"] is None
    assert found["closed"]
    assert found["status"] == ["finished"] * 4
    assert found["epochs"] == [list(range(1, 9))] * 4
    assert sorted(found["started"]) == [1, 1, 1, 2], "one trial was on the node that was lost"
    assert max(found["n_reports"]) <= 8 + 1, "it went on from its last checkpoint"
