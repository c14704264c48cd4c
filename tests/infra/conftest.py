"""A Ray head node that is a process of its own, as on a cluster: own ports, own home, own token, own folder."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_S = 90


@dataclass(frozen=True)
class Head:
    """A head node: its job server, its folder and the environment that its clients need."""

    address: str
    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="tc", dir="/tmp"))
    home, poisoned = folder / "home", folder / "cwd"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    (home / ".ray" / "auth_token").chmod(0o600)
    for package in ("tissueclock", "trainables", "search_spaces"):  # what lies where the head was started is not run
        (poisoned / package).mkdir(parents=True)
        (poisoned / package / "__init__.py").write_text("raise AssertionError('imported from the working directory')")
    environment = _environment(home)
    port, dashboard, agent = free_port(), free_port(), free_port()
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2",
        f"--temp-dir={folder}/r",
        f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={free_port()}", f"--runtime-env-agent-port={free_port()}",
        f"--metrics-export-port={free_port()}", f"--ray-client-server-port={free_port()}",
        "--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000",
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=poisoned, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        for answers in (dashboard, agent):
            wait_until_up(process, answers, folder / "head.log")
        del environment["RAY_AUTH_MODE"]  # clients ask for it by themselves
        yield Head(f"http://127.0.0.1:{dashboard}", folder, environment)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        _end_what_is_left(folder)
        process.wait(5)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(home: Path) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH", "COV"))}
    return inherited | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def free_port() -> int:
    """A free port below those that the system hands out by itself: nothing takes it before Ray binds it."""
    while True:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Waits until a process listens there; fails with its log where it ends before, or takes too long."""
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing came up on port {port}: {log.read_text()[-2000:]}")


def _end_what_is_left(folder: Path) -> None:
    """Ends processes of this head node, known by its folder in their command line; never another Ray's."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
