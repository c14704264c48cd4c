"""A command watched from outside: its wall time, and the memory of the processes that it starts, by what they are."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.measuring import ROOT, SOURCES

_EVERY_S = 2.0


@dataclass
class Watched:
    """What was seen.

    Attributes:
        wall_s: From its start to its end.
        memory_mb: Resident memory of the command's process and of the sweep's driver, by seconds since the epoch.
    """

    wall_s: float = 0.0
    memory_mb: list[tuple[float, dict[str, float]]] = field(default_factory=list)


def watch(command: Sequence[str], *, home: Path) -> Watched:
    """Runs it to its end.

    Raises:
        RuntimeError: It did not end with 0.
    """
    seen, started_s = Watched(), time.perf_counter()
    with (home / "watched.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(home), stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            seen.memory_mb.append((time.time(), _memory_mb(process.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EVERY_S)
    seen.wall_s = time.perf_counter() - started_s
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {(home / 'watched.log').read_text()[-2000:]}")
    return seen


def environment(home: Path) -> dict[str, str]:
    """Of a command with a home of its own, on one thread, to which nobody's settings of Ray and MLflow come."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNE_", "MLFLOW_"))}
    kept |= {"HOME": str(home), "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}


def _memory_mb(root: int) -> dict[str, float]:
    """Resident memory of the command's process and of the sweep's driver, MB; of Linux's /proc."""
    found = {"main": _resident_mb(root)}
    for process in _below(root):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::_run"):
                found["driver"] = found.get("driver", 0.0) + _resident_mb(process)
    return found


def _below(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for listed in Path(f"/proc/{process}/task").glob("*/children"):
            for child in map(int, listed.read_text().split()):
                yield child
                yield from _below(child)


def _resident_mb(process: int) -> float:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0
