"""How the benchmarks measure: each side in a process of its own, interleaved, medians and ratios.

A process of its own has no pytest, no shape checks and no warm caches of the other side's. Nothing here judges a
figure: machines differ, and a benchmark that fails on a slow one teaches people to skip it.
"""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
"""What is measured is this checkout, whatever is installed."""


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
        "PYTHONPATH": SOURCES,
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
        names = list(sides) if i_round % 2 == 0 else list(sides)[::-1]
        for name in names:
            found[name].append(sides[name]())
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """What one benchmark found.

    Attributes:
        benchmark: The test that found it.
        title: What was measured, and the aim.
        unit: Of the values.
        baseline: The side that ratios are of.
        sides: Every value, by side.
    """

    benchmark: str
    title: str
    unit: str
    baseline: str
    sides: Mapping[str, Sequence[float]]

    def rows(self) -> list[tuple[str, float, float, float, int, float]]:
        """By side: its name, median, least, largest, how many, and the median's ratio to the baseline's."""
        reference = median(self.sides[self.baseline])
        return [(n, median(v), min(v), max(v), len(v), median(v) / reference) for n, v in self.sides.items()]


TOLD: list[Table] = []
"""All tables of this session, for `write_told`."""


def print_table(title: str, rows: Mapping[str, Sequence[float]], *, unit: str, baseline: str) -> None:
    """Medians, ranges, and the ratio of each side's median to the baseline's; kept in `TOLD`."""
    benchmark = re.split(r"[ \[]", os.environ.get("PYTEST_CURRENT_TEST", "by hand").split("/")[-1])[0]
    table = Table(benchmark, title, unit, baseline, {name: list(values) for name, values in rows.items()})
    TOLD.append(table)
    load = os.getloadavg()[0]
    print(
        f"\n{title}\n  {platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}"
    )
    for name, middle, least, largest, n, ratio in table.rows():
        shown = "baseline" if name == baseline else f"{ratio:.3f} x {baseline}"
        print(f"  {name:<34} {middle:>9.4g} {unit}   ({least:.4g} to {largest:.4g}, n={n})   {shown}")


def write_told(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes `benchmarks.json`, and `benchmarks.md`, which is made from it; benchmarks that were not run keep theirs.

    Args:
        folder: Where.
        facts: Of the run: commit, date, machine, load.
    """
    kept = folder / "benchmarks.json"
    found: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    found |= {table.benchmark: {**facts, "tables": []} for table in TOLD}
    for table in TOLD:
        found[table.benchmark]["tables"].append(asdict(table))
    found = dict(sorted(found.items()))
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = ["# Benchmarks", "", "Made by `make bench`; medians, and the ratio of each to the baseline's.", ""]
    for benchmark, run in found.items():
        busy = "" if run["is_quiet"] else ": it may not have been quiet"
        lines += [f"## {benchmark}", "", f"{run['commit']}; {run['date']}; {run['machine']}"]
        lines += [f"(load before it {run['load_before']}{busy}).", ""]
        lines += ["| what | side | median | range | n | ratio |", "|---|---|---|---|---|---|"]
        for table in (Table(**each) for each in run["tables"]):
            for name, middle, least, largest, n, ratio in table.rows():
                shown = "baseline" if name == table.baseline else f"{ratio:.3f}"
                spread = f"{least:.4g} to {largest:.4g}"
                lines.append(f"| {table.title} | {name} | {middle:.4g} {table.unit} | {spread} | {n} | {shown} |")
        lines.append("")
    (folder / "benchmarks.md").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
