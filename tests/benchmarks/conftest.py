"""What `make bench` leaves: one JSON and one table of all figures, with commit and machine; a word where it is busy."""

import os
import platform
import time
from pathlib import Path

import pytest

from tests.benchmarks.measuring import TOLD, write_told
from tissueclock.lineage import code_facts, describe_code

FOLDER = Path(__file__).parents[2] / "docs" / "measurements"
_QUIET = 0.3
"""Processes of others for each CPU, at most, for figures to mean much."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Notes when it began, and how busy others keep the machine."""
    session.config.stash[_BEGUN] = (time.time(), os.getloadavg()[0])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes what was measured; nothing where nothing was."""
    if not TOLD:
        return
    begun_s, load = session.config.stash[_BEGUN]
    facts = {
        "commit": describe_code(code_facts()),
        "date": time.strftime("%Y-%m-%d", time.gmtime(begun_s)),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "load_before": round(load, 2),
        "is_quiet": load <= _QUIET * (os.cpu_count() or 1),
        "minutes": round((time.time() - begun_s) / 60, 1),
    }
    write_told(FOLDER, facts)
    word = "" if facts["is_quiet"] else f"; others kept the machine busy (load {load:.1f}): these figures are noise"
    print(f"\n{FOLDER / 'benchmarks.md'}: {len(TOLD)} tables{word}")


_BEGUN = pytest.StashKey[tuple[float, float]]()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
