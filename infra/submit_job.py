"""Runs a study as a job on a Ray cluster that is up: ships this checkout's wheel, follows, passes the exit code on.

    python infra/submit_job.py --address http://HEAD:8265 /shared/studies/paper.yaml --retry-failed

Options that it does not know are the sweep's. The study file, its cohort and its folder must lie on storage that every
node sees under the same path: only code travels. Nodes need the dependencies (constraints.txt); tissueclock itself need
not be installed on them, and where it is, what is shipped goes before it.

The wheel travels unpacked. Ray would hand a `.whl` in `py_modules` to `pip install --target`, which fetches every
dependency again, a CUDA build of torch included, on each node.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray's clients never switch it on; it reads this when imported

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from tissueclock.lineage import BUILT_FROM, code_facts
from tissueclock.tracking.connection import spare_localhost

CHECKOUT = Path(__file__).resolve().parents[1]
_ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED})
_LOST = (RuntimeError, ConnectionError, requests.RequestException, aiohttp.ClientError)
_PATIENCE_S = 300.0
_RETRY_S = 2.0
_LISTEN_S = 600.0
_NO_AGENT = "No available agent"
_AGENT_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Submits and follows; returns the sweep's own code (0 done, 1 the run failed, 2 the input is wrong)."""
    options, rest = _parser().parse_known_args(arguments)
    spare_localhost()  # the job server is often at this end of an ssh tunnel
    try:
        client = JobSubmissionClient(options.address)
        job = _submit(client, options, rest)
    except subprocess.CalledProcessError as error:
        return _fail(f"{CHECKOUT}: the wheel could not be built (pip ended with {error.returncode})")
    except (RayError, ValueError, OSError, zipfile.BadZipFile, *_LOST) as error:
        return _fail(f"{options.address}: no job was submitted ({' '.join(str(error).split())})")
    if options.no_wait:
        return 0
    try:
        return follow(client, job)
    except KeyboardInterrupt:
        return _fail(f"job {job} goes on without this terminal", code=130)


def build_wheel(checkout: Path, folder: Path) -> Path:
    """Builds the wheel of a checkout into a folder, without its dependencies.

    Raises:
        subprocess.CalledProcessError: pip could not build it, and has said why.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(checkout)]
    if importlib.util.find_spec("hatchling"):
        command.append("--no-build-isolation")  # needs no index
    subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = folder.glob("tissueclock-*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> list[Path]:
    """Unpacks a wheel; returns the packages in it, each of which Ray ships as a module."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.suffix != ".dist-info")


def follow(client: JobSubmissionClient, job: str) -> int:
    """Prints a job's log as it grows until the job has ended; a lost connection is taken up again.

    Returns:
        The exit code of its entry point; 1 where it ended without one, or nothing was heard of it for minutes.
    """
    log = _Log(client, job)
    lost_s: float | None = None  # when the connection was lost; a job that prints nothing for hours has lost none
    while True:
        try:
            client.get_job_info(job)  # answers at once, where the log may be silent for as long as it likes
            lost_s = None
            with contextlib.suppress(TimeoutError):  # a tunnel that drops packets says nothing of it
                asyncio.run(asyncio.wait_for(log.print_on(), _LISTEN_S))
            info = client.get_job_info(job)
        except _LOST as error:
            lost_s = time.monotonic() if lost_s is None else lost_s
            if time.monotonic() - lost_s > _PATIENCE_S:
                return _fail(f"job {job}: nothing heard for {_PATIENCE_S:.0f} s ({error}); it may still go on", code=1)
        else:
            if info.status in _ENDED:
                break
        time.sleep(_RETRY_S)
    if info.driver_exit_code is None:
        return _fail(f"job {job}: {info.status.lower()}: {info.message}", code=1)
    return int(info.driver_exit_code)


class _Log:
    """A job's log, printed once each character, however often the connection is lost."""

    def __init__(self, client: JobSubmissionClient, job: str) -> None:
        self._client = client
        self._job = job
        self._n_printed = 0

    async def print_on(self) -> None:
        """Prints until the job ends; Ray gives the log from its beginning each time."""
        n_seen = 0
        async for text in self._client.tail_job_logs(self._job):
            n_known = max(0, self._n_printed - n_seen)
            print(text[n_known:], end="", flush=True)
            n_seen += len(text)
            self._n_printed = max(self._n_printed, n_seen)


def entry_point(python: str, study: Path, rest: Sequence[str]) -> str:
    """The shell line that runs a sweep on the head node.

    Python (without -P) and Ray's workers import from the working directory before anything else; a job's is where the
    head was started, which may well be another checkout. Nothing can be imported from /.
    """
    return "cd / && exec " + shlex.join([python, "-P", "-m", "tissueclock", "sweep", str(study), *rest])


def _submit(client: JobSubmissionClient, options: argparse.Namespace, rest: list[str]) -> str:
    study = Path(options.study).absolute()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = options.wheel or build_wheel(CHECKOUT, Path(temporary))
        packages = unpack(wheel, Path(temporary) / "unpacked")
        if options.wheel is None:  # then the code is this checkout's, and the sweep's lineage shall say so
            (Path(temporary) / "unpacked" / "tissueclock" / BUILT_FROM).write_text(json.dumps(code_facts()))
        job = hand_over(client, entry_point(options.python, study, rest), packages)
    print(f"job {job}: {wheel.name}, {study}", flush=True)
    print(f"to stop it, resumably: ray job stop --address {options.address} {job}", flush=True)
    return job


def hand_over(client: JobSubmissionClient, line: str, packages: list[Path]) -> str:
    """Submits; waits for the head's job agent, which comes up seconds after the job server that it answers for."""
    end_s = time.monotonic() + _AGENT_S
    while True:
        try:
            return str(
                client.submit_job(entrypoint=line, runtime_env={"py_modules": [str(package) for package in packages]})
            )
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > end_s:
                raise
            time.sleep(_RETRY_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Runs a study as a job on a Ray cluster that is up. Further options go to `tissueclock sweep`.",
        allow_abbrev=False,
    )
    parser.add_argument("study", help="the study file, by a path under which every node sees it")
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265"),
        help="the head node's job server; default: RAY_API_SERVER_ADDRESS, else %(default)s",
    )
    parser.add_argument("--wheel", type=Path, help="ship this wheel; default: build one of this checkout")
    parser.add_argument("--python", default="python", help="the interpreter on the head node; default: %(default)s")
    parser.add_argument("--no-wait", action="store_true", help="do not follow the job")
    return parser


def _fail(message: str, *, code: int = 2) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
