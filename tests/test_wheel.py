"""The wheel, installed into an empty environment, works without the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toy import write_toy_cohort

ROOT = Path(__file__).parents[1]


def run(folder: Path, *command: object) -> str:
    """Runs it there, nothing of the checkout on any path; what it said."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV", "RAY_", "MLFLOW_"))}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**kept, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def try_it(folder: Path, env: Path) -> None:
    """Its commands, on a cohort."""
    program = env / "bin" / "tissueclock"
    write_toy_cohort(folder / "cohort")
    where = run(folder, env / "bin" / "python", "-c", "import tissueclock.cli, trainables; print(trainables.__file__)")
    assert Path(where.strip()).is_relative_to(env), "it is the checkout's"
    assert "tissueclock" in run(folder, program, "--version")
    run(folder, program, "init", "cohort", "study.yaml")
    assert "Nothing is wrong" in run(folder, program, "plan", "study.yaml")


def test_a_wheel_with_the_packages_of_this_environment(tmp_path: Path, wheel: Path) -> None:
    """Its own files alone are new: what is missing from the wheel is missed."""
    env = tmp_path / "env"
    run(tmp_path, sys.executable, "-m", "venv", env)
    (site,) = env.glob("lib/python3*/site-packages")
    lent = Path(sys.prefix) / "lib" / site.parent.name / "site-packages"
    (site / "lent.pth").write_text(f"{lent}\n")
    run(tmp_path, env / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", wheel)

    try_it(tmp_path, env)


@pytest.mark.cluster
def test_a_wheel_with_its_constraints_in_an_empty_environment(tmp_path: Path, wheel: Path) -> None:
    """As a user installs it: minutes."""
    env = tmp_path / "env"
    run(tmp_path, sys.executable, "-m", "venv", env)
    pip = [env / "bin" / "python", "-m", "pip", "install", "--quiet"]
    run(tmp_path, *pip, "--upgrade", "pip>=25.1")
    run(tmp_path, *pip, "--constraint", ROOT / "constraints.txt", wheel)

    try_it(tmp_path, env)
