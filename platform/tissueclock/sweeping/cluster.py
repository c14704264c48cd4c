"""Ray: connecting to it, and sweeps as its tasks.

A sweep's driver runs as a task that takes no CPU, so that several sweeps go on side by side and share what trials need.
It is retried where its process dies: it goes on from the ledger.
"""

import logging
import os
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tissueclock.errors import InputError, SweepError, TissueclockError
from tissueclock.records import SweepJob
from tissueclock.sweeping.phase import Phase
from tissueclock.sweeping.sweep import run_sweep

_DRIVER_RETRIES = 3


def connect(*, address: str | None = None, n_cpus: int | None = None, extensions: Path | None = None) -> None:
    """Connects to a Ray cluster, or starts one on this machine.

    Args:
        address: `auto`, `HOST:PORT`, or None: what RAY_ADDRESS says, else a new cluster on this machine.
        n_cpus: CPUs of a new cluster on this machine; None: all.
        extensions: A lab's folder, put on the workers' import path.

    Raises:
        InputError: No cluster answers at the address.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": n_cpus}
    if extensions is not None:
        path = os.pathsep.join(filter(None, [str(extensions), os.environ.get("PYTHONPATH")]))
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"Ray at {address}: no cluster answers ({str(error).splitlines()[0]})") from error
    _tighten_token()


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

    def __init__(self, job: SweepJob, phase: Phase, *, retry_failed: bool) -> None:
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
            return SweepError(f"sweep {self.job.name}: {type(cause).__name__}: {str(cause).strip().splitlines()[0]}")
        except RayError as error:
            return SweepError(f"sweep {self.job.name}: its driver was lost ({str(error).splitlines()[0]})")
        return None


def _run(job: SweepJob, phase: Phase, retry_failed: bool) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    run_sweep(job, phase, retry_failed=retry_failed)


def _tighten_token() -> None:
    """Ray writes its token readable by all (2.60): anyone on the machine could run code as this user."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if token.is_file() and token.stat().st_uid == os.getuid():
        token.chmod(0o600)
