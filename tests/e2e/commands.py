"""The command line as a user runs it, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

STUDY: dict[str, Any] = {
    "name": "toy",
    "seed": 7,
    "cohort": "cohort",
    "networks": {"slice": {"width": 4}},
    "arms": {"chain": {"network": "slice", "phases": {"detection": "random"}}},
    "sweep": {
        "trials": 2,
        "epochs": 2,
        "patience": 2,
        "promote": 2,
        "scheduler": {"name": "none"},
        "fix": {"batch_size": 16},
    },
}


def write_study(folder: Path, **changes: Any) -> Path:
    """Writes the smallest study, with some keys changed; a dict changes the keys it names."""
    study = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value for key, value in STUDY.items()
    }
    study |= {key: value for key, value in changes.items() if not isinstance(STUDY.get(key), dict)}
    if "arms" in changes:
        study["arms"] = changes["arms"]
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


def environment(home: Path) -> dict[str, str]:
    """A user's environment with a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "PYTEST"))}
    return {**kept, "HOME": str(home), "COLUMNS": "120"}


def start(*arguments: object, cwd: Path) -> "subprocess.Popen[str]":
    """Starts a command and does not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tissueclock", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object, cwd: Path, timeout_s: float = 240) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tissueclock", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run_script(script: str, *arguments: object, home: Path) -> dict[str, Any]:
    """Runs a script of `tests/e2e` that starts a cluster of its own, and gives the JSON object that it prints."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, root / "tests" / "e2e" / script, *map(str, arguments)],
        cwd=root,
        env={**environment(home), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return dict(json.loads(line))
