"""Five replicas' step fused by `torch.func.vmap` against one after another, on one thread.

Run: python -m pytest tests/benchmarks/test_fused_replicas.py -m benchmark -s     (about a minute)

Replicas are fused if that is 1.5 x faster or more. On two AMD EPYC cores it is not, so they are not.
"""

from pathlib import Path

import pytest

from tests.benchmarks.measuring import print_table, run_alone


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("kind", "grid", "n_batch"),
    [("voxel", (12, 48, 24), 16), ("voxel", (12, 24, 12), 16), ("slice", (12, 48, 24), 8)],
)
def test_fused_replicas(kind: str, grid: tuple[int, ...], n_batch: int, tmp_path: Path) -> None:
    found = run_alone("tests.benchmarks.fused_replicas", kind, *grid, n_batch, home=tmp_path)

    print_table(f"{kind}, {grid}, batches of {n_batch}", found["seconds"], unit="s", baseline="in turn")
    assert found["apart"] < 1e-3, "not the same gradients"
