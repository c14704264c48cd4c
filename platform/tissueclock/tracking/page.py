"""The page of a study in MLflow: a server of our own on the study's store, or the address of the one that is there."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tissueclock.errors import InputError, TissueclockError
from tissueclock.tracking.columns import table_path
from tissueclock.tracking.connection import check_tracker, open_client, prepare_environment, redacted, sqlite_path

_START_TIMEOUT_S = 60.0


def open_page(
    uri: str, *, study: str, host: str = "127.0.0.1", port: int = 5000, say: Callable[[str], None] = print
) -> None:
    """Serves the page of a study's runs until it is interrupted; where the tracker is a server, only says the address.

    Args:
        uri: The tracker.
        study: The study's name.
        host: Where to listen.
        port: Where to listen, 1 to 65535.
        say: Gets each line for the user.

    Raises:
        InputError: The tracker cannot be used, the port is taken, or the study was never tracked there.
        TissueclockError: The server ended by itself.
    """
    check_tracker(uri)
    if uri.startswith(("http:", "https:")):
        say(f"This study is logged to a server; open {runs_url(uri, study=study, base=redacted(uri))}")
        return
    with _ended_by_sigterm(), PageServer(uri, study=study, host=host, port=port) as server:
        say(f"Open {server.url} (Ctrl+C ends it)")
        server.wait()


def runs_url(uri: str, *, study: str, base: str) -> str:
    """The address of the table of a study's sweeps.

    Args:
        uri: The tracker.
        study: The study's name.
        base: The address that the server is reached at.

    Raises:
        InputError: The study has no runs there.
    """
    found = open_client(uri).get_experiment_by_name(study)
    if found is None:
        raise InputError(f"study {study!r}: nothing is logged at {redacted(uri)!r} yet; run `tissueclock sweep` first")
    return f"{base.rstrip('/')}/{table_path(found.experiment_id)}"


class PageServer:
    """An MLflow server on a study's own store, for as long as the block lasts; telemetry is off.

    Args:
        uri: The tracker: a database.
        study: The study's name.
        host: Where to listen.
        port: Where to listen.

    Attributes:
        url: The address of the table of runs.

    Raises:
        InputError: The port is taken, or the study was never tracked there.
        TissueclockError: The server ended by itself, or did not answer within a minute.
    """

    def __init__(self, uri: str, *, study: str, host: str, port: int) -> None:
        prepare_environment()
        _check_port(host, port)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 (compared, not bound)
        self._base = f"http://{shown}:{port}"
        self.url = runs_url(uri, study=study, base=self._base)
        path = sqlite_path(uri)
        self._options: dict[str, Any] = {"env": _environment(uri), "cwd": Path.cwd() if path is None else path.parent}
        self._command = _command(host, port)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PageServer":
        try:
            with _interrupted_later() as noted:  # a process that was started and is not known could not be ended
                self._process = subprocess.Popen(
                    self._command,
                    **self._options,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                self._wait_for_answer(self._process, noted)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        with _interrupted_later():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def wait(self) -> None:
        """Returns when the user interrupts.

        Raises:
            TissueclockError: The server ended by itself.
        """
        try:
            code = self._process.wait() if self._process else None
        except KeyboardInterrupt:
            return
        raise TissueclockError(f"the MLflow server at {self._base} ended with exit code {code}")

    def _wait_for_answer(self, process: "subprocess.Popen[bytes]", interruptions: Sequence[int]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not interruptions and not _answers(f"{self._base}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TissueclockError(f"the MLflow server at {self._base} did not start (`mlflow server` says why)")
            time.sleep(0.2)


def _command(host: str, port: int) -> list[str]:
    # without its own name among the allowed hosts, the server answers 403 to it
    names = {"localhost", "127.0.0.1", "[::1]", host, socket.gethostname(), socket.getfqdn()}
    allowed = ",".join(sorted({*names, *(f"{name}:{port}" for name in names)}))
    options = ("--host", host, "--port", str(port), "--workers", "1", "--allowed-hosts", allowed)
    return [sys.executable, "-m", "mlflow", "server", *options]


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise InputError(
            f"port {port} on {host}: cannot listen there ({error.strerror}); give another --port"
        ) from error


def _environment(uri: str) -> dict[str, str]:
    return {
        **os.environ,
        # not among the arguments, which everybody on the machine can read: a URI may hold a password
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        # eight more processes, for language models only
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl+C does; else the server would outlive this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:  # while the server was starting
        return
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _interrupted_later() -> Iterator[Sequence[int]]:
    """Holds an interruption back until the block has ended; yields those noted, for the block to end early.

    A signal that raises can be lost: where it meets a finaliser, Python drops the exception.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, lambda n, _: noted.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        raise KeyboardInterrupt


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (an address of our own making)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
