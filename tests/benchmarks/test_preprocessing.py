"""Seconds and memory a patient on one core, by step, and his error, against the same steps typed by hand.

pytest tests/benchmarks/test_preprocessing.py -m benchmark -s
"""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.benchmarks.measuring import interleaved, print_table, run_alone
from tissueclock.phantom.raw.make_raw import make_raw_phantom

pytestmark = pytest.mark.benchmark

N_PATIENTS = 2


def test_one_patient_on_one_core(tmp_path: Path) -> None:
    make_raw_phantom(tmp_path / "raw", n_patients=N_PATIENTS, seed=1, anatomy="affine", n_jobs=2)
    modules = {"typed by hand": "tests.benchmarks.scans.hand_typed", "ours": "tests.benchmarks.scans.ours"}
    if find_spec("brainles_preprocessing") is not None:  # in the environment's PYTHONPATH
        modules["brainles-preprocessing"] = "tests.benchmarks.scans.brainles"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in modules}
    for i in range(N_PATIENTS):
        subject = f"sub-phantom{i + 1:04d}"
        sides = {
            name: partial(run_alone, module, tmp_path / "raw", subject, home=tmp_path)
            for name, module in modules.items()
        }
        for name, answers in interleaved(sides, rounds=1).items():
            found[name] += answers
    assert {len(answers) for answers in found.values()} == {N_PATIENTS}
    assert max(answer["max_mm"] for answer in found["ours"]) <= 3.0, "the landmarks are not where they belong"
    for figure, unit in (("total_s", "s"), ("peak_mb", "MB"), ("median_mm", "mm"), ("max_mm", "mm")):
        rows = {name: [a[figure] for a in answers] for name, answers in found.items()}
        print_table(f"{figure}, raw phantoms of affine anatomy", rows, unit=unit, baseline="typed by hand")
    for name, answers in found.items():
        steps = {step: median(a["seconds"][step] for a in answers) for step in answers[0]["seconds"]}
        print(f"\n{name}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))
