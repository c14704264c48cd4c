"""An epoch where frozen stages are shared, against the same frozen training without, by freeze depth.

Run: python -m pytest tests/benchmarks/test_shared_trunk.py -m benchmark -s     (about 5 minutes)

Both trials start from the same weights, see the same two views and are run an epoch of one and an epoch of the other in
turn, on one thread; the epochs that build the views come before and do not count. Epochs hold a quarter as many
validation samples as training samples.

Aims in 2D: 1.3 x faster at depth 2, 1.9 x at depth 4, 8 x in the attention phase.
"""

from pathlib import Path

import pytest

from tests.benchmarks.measuring import print_table, run_alone


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", ["slice", "volume"])
def test_shared_trunk(kind: str, tmp_path: Path) -> None:
    for setting in ("1", "2", "3", "4", "attention"):
        found = run_alone("tests.benchmarks.shared_trunk", kind, setting, tmp_path / setting, home=tmp_path)

        rows = {name: found[name] for name in ("alone", "shared")}
        print_table(f"{kind}, {setting}: {found['gb']:.3f} GB stored", rows, unit="s", baseline="shared")
        assert found["losses"]["shared"] == pytest.approx(found["losses"]["alone"], rel=1e-3), "not the same training"
