"""Ray: connecting to it, and sweeps as its tasks.

A sweep's driver runs as a task that takes no CPU, so that several sweeps go on side by side and share what trials need.
It is retried where its process dies: it goes on from the ledger.
"""

import contextlib
import logging
import os
import re
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private.node import Node
from ray.exceptions import RayError, RayTaskError
from ray.tune import TuneError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tissueclock.errors import InputError, SweepError, TissueclockError
from tissueclock.records import SweepJob
from tissueclock.settings import Resources
from tissueclock.sweeping import head
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.room import lack_of_room
from tissueclock.sweeping.sweep import run_sweep

_DRIVER_RETRIES = 3
_CLIENT = "ray://"
"""What the address of Ray's client server begins with, behind which the head node itself may be out of reach."""
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
    wait_for_nodes: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> head.Head:
    """Connects to a Ray cluster, or starts one on this machine; gives its head node, to be asked whether it is there.

    Args:
        address: `auto`, `HOST:PORT`, or None: what RAY_ADDRESS says, else a new cluster on this machine.
        n_cpus: CPUs of a new cluster on this machine; None: all.
        extensions: A lab's folder, put on the workers' import path.
        trials: What trials will take: one that no node can hold would wait for ever.
        wait_for_nodes: Whether it shall, for a node that is to join a cluster that is up.
        say: Is told, a line each, what is done otherwise than asked.

    Raises:
        InputError: No cluster answers at the address, none starts here, or no node can hold a trial.
    """
    named = "" if address or not os.environ.get("RAY_ADDRESS") else " (RAY_ADDRESS)"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address, named)
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if extensions is not None:
        path = os.pathsep.join(filter(None, [str(extensions), os.environ.get("PYTHONPATH")]))
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    with _own_sigterm(), _captured_stderr() as said:
        if address == "local":
            _start({**options, "include_dashboard": False, "num_cpus": n_cpus}, say)
        else:
            try:
                ray.init(**options)
            except (Exception, SystemExit) as error:  # Ray raises bare ones too
                # SystemExit is of Ray's own handler of SIGTERM; or Ray gives up, and has said why
                if isinstance(error, SystemExit) and not said():
                    raise KeyboardInterrupt from error
                reason = _reason(error, said())
                raise InputError(f"Ray at {address}{named}: no cluster lets us in ({reason}); {_ALLOWED}") from error
    # Tells of lost nodes in blocks of their logs, between progress lines: the ledger says what a loss cost, and Ray's
    # own logs why. Ray has no setting for it; the lines of workers are the other thing that this leaves out.
    ray._private.worker._worker_logs_enabled = False
    _tighten_token()
    _check_room(trials, wait=wait_for_nodes and address != "local", say=say)
    via_client = address.startswith(_CLIENT)
    return head.Head(address.removeprefix(_CLIENT) if via_client else ray.get_runtime_context().gcs_address)


def disconnect() -> None:
    """Leaves the cluster; one that was started here ends."""
    with _captured_stderr():  # what Ray's C++ half had still to tell the driver of tasks that end with it
        ray.shutdown()


class RunningSweep:
    """A sweep at work as a Ray task.

    Args:
        job: The sweep.
        phase: Its trainable and space.
        retry_failed: Whether failed trials are taken up once more.
        share_h: Its share of the study's budget, device-hours; None: no limit.
    """

    def __init__(self, job: SweepJob, phase: SweptPhase, *, retry_failed: bool, share_h: float | None = None) -> None:
        self.job = job
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=True)
        task = ray.remote(num_cpus=0, max_retries=_DRIVER_RETRIES, scheduling_strategy=here)(_run)
        self._ref = task.remote(job, phase, retry_failed, share_h)

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


def _run(job: SweepJob, phase: SweptPhase, retry_failed: bool, share_h: float | None) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    run_sweep(job, phase, retry_failed=retry_failed, share_h=share_h)


def _check_answers(address: str, named: str) -> None:
    """Raises InputError where no head node answers; Ray itself would try for minutes, deaf to signals."""
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not (host and port.isdigit()):
        return
    if why := head.fault(f"{host}:{port}"):
        raise InputError(f"Ray at {address}{named}: {why}; {_ALLOWED}")


def _start(options: dict[str, Any], say: Callable[[str], None]) -> None:
    """Starts Ray on this machine; once more where it was too slow, elsewhere where TMPDIR is too long.

    Raises:
        InputError: It did not start.
    """
    for is_last in (False, True):
        try:
            ray.init(**options)
        except SystemExit as error:  # Ray's own handler of SIGTERM
            raise KeyboardInterrupt from error
        except Exception as error:  # Ray raises bare ones
            _end_half_started(error)
            reason = _reason(error, "")
            if is_last:
                raise InputError(
                    f"Ray did not start on this machine, tried twice ({reason}); the machine is too busy or out of "
                    "memory: run the same command again when it is quieter"
                ) from error
            if "AF_UNIX" in reason:
                options["_temp_dir"] = f"/tmp/ray-{os.getuid()}"  # noqa: S108 (short is the point)
                say(f"TMPDIR is too long a path for Ray's sockets; they are in {options['_temp_dir']}")
            else:
                say(f"Ray did not start on this machine ({reason}); trying once more")
        else:
            return


def _end_half_started(error: Exception) -> None:
    """Ends what Ray had started before it gave up, which nothing but the traceback still holds."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(node := frame.f_locals.get("self"), Node):
            node.kill_all_processes(check_alive=False, allow_graceful=True)


def _check_room(trials: Iterable[Resources], *, wait: bool, say: Callable[[str], None]) -> None:
    for lack in filter(None, map(lack_of_room, dict.fromkeys(trials))):
        if not wait:
            disconnect()
            raise InputError(f"{lack}; ask for less, or name a larger cluster (--ray-address; --wait-for-nodes)")
        say(f"{lack}; it waits for a node")


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps this process's SIGTERM handler: Ray sets one that ends the process on the spot, by an abort."""
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, own)


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
