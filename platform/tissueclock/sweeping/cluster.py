"""Ray: connecting to it, and sweeps as its tasks.

A sweep's driver runs as a task that takes no CPU, so that several sweeps go on side by side and share what trials need.
It is retried where its process dies: it goes on from the ledger.
"""

import contextlib
import logging
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.tune import TuneError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tissueclock.errors import InputError, SweepError, TissueclockError
from tissueclock.records import SweepJob
from tissueclock.settings import Resources
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.sweep import run_sweep

_DRIVER_RETRIES = 3
_LISTEN_TIMEOUT_S = 5.0
_OUR_NAME = re.compile(r"^tissueclock\.errors\.\w+: ")
_STDERR, _MOST_READ = 2, 100_000
_ALLOWED = (
    "allowed: auto, HOST:PORT of a running head node, or local; where the cluster asks for a token, set "
    "RAY_AUTH_MODE=token and put the token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
)


def connect(
    *,
    address: str | None = None,
    n_cpus: int | None = None,
    extensions: Path | None = None,
    trials: Iterable[Resources] = (),
) -> None:
    """Connects to a Ray cluster, or starts one on this machine.

    Args:
        address: `auto`, `HOST:PORT`, or None: what RAY_ADDRESS says, else a new cluster on this machine.
        n_cpus: CPUs of a new cluster on this machine; None: all.
        extensions: A lab's folder, put on the workers' import path.
        trials: What trials will take; a cluster started here that is too small for one would leave it waiting for ever.

    Raises:
        InputError: No cluster answers at the address, or this machine is too small for a trial.
    """
    named = "" if address or not os.environ.get("RAY_ADDRESS") else " (RAY_ADDRESS)"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_listens(address, named)
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": n_cpus}
    if extensions is not None:
        path = os.pathsep.join(filter(None, [str(extensions), os.environ.get("PYTHONPATH")]))
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    with _captured_stderr() as said:
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, RayError, SystemExit) as error:
            reason = _reason(error, said())
            raise InputError(f"Ray at {address}{named}: no cluster lets us in ({reason}); {_ALLOWED}") from error
    _tighten_token()
    if address == "local":
        _check_room(trials)


def disconnect() -> None:
    """Leaves the cluster; one that was started here ends."""
    ray.shutdown()


class RunningSweep:
    """A sweep at work as a Ray task.

    Args:
        job: The sweep.
        phase: Its trainable and space.
        retry_failed: Whether failed trials are taken up once more.
    """

    def __init__(self, job: SweepJob, phase: SweptPhase, *, retry_failed: bool) -> None:
        self.job = job
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=True)
        task = ray.remote(num_cpus=0, max_retries=_DRIVER_RETRIES, scheduling_strategy=here)(_run)
        self._ref = task.remote(job, phase, retry_failed)

    def ended(self) -> bool:
        """Whether the task has ended, well or not."""
        done, _ = ray.wait([self._ref], timeout=0)
        return bool(done)

    def result(self) -> TissueclockError | None:
        """How it ended: None if well, else what went wrong."""
        try:
            ray.get(self._ref)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TissueclockError):
                return cause
            said = str(cause).strip().splitlines() or ["no message"]
            is_traceback = isinstance(cause, TuneError)  # its last line says what happened
            what = _OUR_NAME.sub("", said[-1]) if is_traceback else f"{type(cause).__name__}: {said[0]}"
            return SweepError(f"sweep {self.job.name}: {what}")
        except RayError as error:
            return SweepError(f"sweep {self.job.name}: its driver was lost ({str(error).splitlines()[0]})")
        return None


def _run(job: SweepJob, phase: SweptPhase, retry_failed: bool) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    run_sweep(job, phase, retry_failed=retry_failed)


def _check_listens(address: str, named: str) -> None:
    """Raises InputError where nothing listens; Ray itself would try for 80 seconds and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTEN_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"Ray at {address}{named}: nothing answers there ({error}); {_ALLOWED}") from error


def _check_room(trials: Iterable[Resources]) -> None:
    have = ray.cluster_resources()
    for trial in trials:
        for key, unit, wanted in (("cpus_per_trial", "CPU", trial.cpus), ("gpus_per_trial", "GPU", trial.gpus)):
            if wanted > have.get(unit, 0.0):
                ray.shutdown()
                raise InputError(
                    f"{key} is {wanted:g}, but the cluster on this machine has {have.get(unit, 0.0):g} {unit}s; "
                    "ask for less, or name a larger cluster with --ray-address"
                )


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Keeps what Ray's C++ half writes past Python while it tries to connect; yields what gives it."""
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), _STDERR)
        try:
            yield lambda: os.pread(said.fileno(), _MOST_READ, 0).decode(errors="replace")
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)


def _reason(error: BaseException, said: str) -> str:
    """Why Ray did not connect, one line; its own advice on tokens is a paragraph."""
    if "Unauthenticated" in said:
        return "it asks for a token, and ours is missing or another"
    if isinstance(error, SystemExit):
        return "what listens there did not answer like a head node"
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _tighten_token() -> None:
    """Ray writes its token readable by all (2.60): anyone on the machine could run code as this user."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if token.is_file() and token.stat().st_uid == os.getuid():
        token.chmod(0o600)
