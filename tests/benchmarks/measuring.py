"""How the benchmarks measure: each side in a process of its own, interleaved, medians and ratios.

A process of its own has no pytest, no shape checks and no warm caches of the other side's. Nothing here judges a
figure: machines differ, and a benchmark that fails on a slow one teaches people to skip it.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_alone(module: str, *arguments: object, home: Path, timeout_s: float = 900) -> dict[str, Any]:
    """Runs `python -m MODULE ARGUMENTS` and gives the JSON object that it printed last.

    Args:
        module: A module of `tests.benchmarks`.
        arguments: Its command line.
        home: Stands for the user's home: Ray writes a token there.
        timeout_s: When to give up.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_", "MLFLOW_"))},
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",  # what Ray gives a trial of one CPU
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    if done.returncode or not answers:
        pytest.fail(f"{module} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return dict(json.loads(answers[-1]))


def answer(**figures: Any) -> None:
    """Prints what `run_alone` reads."""
    print(json.dumps(figures), flush=True)


def interleaved(sides: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[Any]]:
    """Runs the sides in turn, so many times, every other round backwards: a drift of the machine meets all alike."""
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for i_round in range(rounds):
        names = list(sides) if i_round % 2 == 0 else list(reversed(sides))
        for name in names:
            found[name].append(sides[name]())
    return found


def print_table(title: str, rows: Mapping[str, Sequence[float]], *, unit: str, baseline: str) -> None:
    """Medians, ranges, and the ratio of each side's median to the baseline's."""
    load = os.getloadavg()[0]
    print(
        f"\n{title}\n  {platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}"
    )
    reference = median(rows[baseline])
    for name, values in rows.items():
        spread = f"{min(values):.4g} to {max(values):.4g}"
        ratio = "baseline" if name == baseline else f"{median(values) / reference:.3f} x {baseline}"
        print(f"  {name:<34} {median(values):>9.4g} {unit}   ({spread}, n={len(values)})   {ratio}")
