"""Where numbers come from: the code's version and git state, and the environment that ran it."""

import json
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import tissueclock

BUILT_FROM = "_built_from.json"
_PACKAGES = ("torch", "ray", "optuna", "mlflow-skinny", "adabound", "scikit-learn", "numpy")


def code_facts() -> dict[str, Any]:
    """The package's version and the git state that it came from, where that is known.

    That is what `infra/submit_job.py` wrote beside shipped code, else the checkout that the package lies in; a package
    installed below somebody else's checkout is not tracked there, and comes from nowhere known.
    """
    here = Path(tissueclock.__file__).parent
    if (here / BUILT_FROM).exists():
        facts: dict[str, Any] = json.loads((here / BUILT_FROM).read_text(encoding="utf-8"))
        return facts
    commit = _git(here, "rev-parse", "HEAD") if _git(here, "ls-files", "--", "__init__.py") else None
    return {
        "version": tissueclock.__version__,
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git(here, "status", "--porcelain", "--untracked-files=no")),
    }


def environment_facts() -> dict[str, Any]:
    """Python, host and the versions of the packages that results depend on."""
    return {
        "python": platform.python_version(),
        "hostname": socket.gethostname(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
