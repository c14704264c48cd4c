"""Connecting to Ray: what cannot work is one line at once, not a wait without end."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from tissueclock.errors import InputError, SweepError
from tissueclock.settings import Resources
from tissueclock.sweeping import cluster
from tissueclock.sweeping import head as heads

HELLO = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Something listens there, and gives each who connects the same answer."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # the server was closed
            while True:
                connection, _ = server.accept()
                connection.sendall(answer)
                connections.append(connection)

    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in connections:
        connection.close()


@pytest.fixture
def listener() -> Iterator[str]:
    """Something listens there that speaks HTTP/2, as a head node does."""
    with answering(HELLO) as address:
        yield address


def init_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Failed to connect\nto Ray"), "Failed to connect"),
        (AuthenticationError("Token authentication is required"), "Token authentication is required"),
        (RuntimeError(), "RuntimeError"),
        (Exception("Head node temp_dir not found in NodeInfo"), "Head node temp_dir not found in NodeInfo"),
    ],
)
def test_whatever_ray_raises_is_one_line_that_tells_of_tokens(
    monkeypatch: pytest.MonkeyPatch, listener: str, error: BaseException, reason: str
) -> None:
    init_raises(monkeypatch, error)

    with pytest.raises(
        InputError, match=rf"^Ray at {listener}: no cluster lets us in \({reason}\); .*RAY_AUTH_MODE=tok"
    ):
        cluster.connect(address=listener)


def test_what_ray_writes_past_python_is_read_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, listener: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def init(**_: Any) -> None:
        os.write(2, b"[gcs_client.cc:210] Unauthenticated: RPC error: InvalidAuthToken\n")
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(ray, "init", init)

    with pytest.raises(InputError, match=r"lets us in \(it asks for a token, and ours is missing or another\)"):
        cluster.connect(address=listener)

    os.write(2, b"afterwards it is shown again")
    assert capfd.readouterr().err == "afterwards it is shown again"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "what listens there is no head node"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there is no head node"),
        (b"", r"nothing answers there \(timed out\)"),
    ],
)
def test_where_no_head_node_answers_ray_is_not_even_tried(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, message: str
) -> None:
    init_raises(monkeypatch, AssertionError("Ray would try for many minutes, deaf to signals"))
    monkeypatch.setattr(heads, "_ANSWER_TIMEOUT_S", 0.2)

    with answering(answer) as address, pytest.raises(InputError, match=rf"^Ray at {address}: {message}; allowed: auto"):
        cluster.connect(address=address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no-such-host.invalid:6379", "127.0.0.1:99999"]
)
def test_where_nothing_listens_ray_is_not_even_tried(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    init_raises(monkeypatch, AssertionError("Ray would try for more than a minute"))

    with pytest.raises(InputError, match=rf"^Ray at {address}: nothing answers there \(.*\); allowed: auto, HOST:PORT"):
        cluster.connect(address=address)


def test_a_head_that_is_gone_is_told_before_ray_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    every_s = 0.2
    monkeypatch.setattr(heads, "_ASK_EVERY_S", every_s)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", str(4 * every_s))
    n_asked = 0

    def ask(times: int) -> None:
        nonlocal n_asked
        for n_asked in range(1, times + 1):  # noqa: B007 (it tells how far it came)
            time.sleep(every_s)
            head.check()

    with answering(HELLO) as address:
        head = heads.Head(address)
        ask(2)

    with pytest.raises(SweepError, match=rf"^Ray's head node {address} is gone .*: asked 3 times, nothing answers"):
        ask(5)
    assert n_asked == 3


NODES = [{"Alive": True, "Resources": {"CPU": 2.0}}]


def starts(monkeypatch: pytest.MonkeyPatch, *outcomes: BaseException | None) -> list[dict[str, Any]]:
    """Each `ray.init` ends as given, with a handler of SIGTERM of its own as Ray's has; returns what each was asked."""
    asked: list[dict[str, Any]] = []
    left = list(outcomes)

    def init(**options: Any) -> None:
        asked.append(options)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        if (outcome := left.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:6379"))
    return asked


@pytest.mark.parametrize("address", ["local", "listener"])
def test_a_trial_that_no_node_can_hold_would_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, listener: str, address: str
) -> None:
    left: list[bool] = []
    starts(monkeypatch, None)
    monkeypatch.setattr(ray, "shutdown", lambda: left.append(True))
    address = listener if address == "listener" else address

    with pytest.raises(
        InputError, match=r"^no room for a trial of 8 CPUs \(.*\) on 1 node, which has 2 CPUs and 0 GPUs"
    ):
        cluster.connect(address=address, trials=[Resources(), Resources(cpus=8.0)])

    assert left, "the cluster that was started is not left behind"


def test_whoever_asks_to_wait_for_a_node_is_told_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    told: list[str] = []
    starts(monkeypatch, None)

    cluster.connect(address=listener, trials=[Resources(gpus=1.0)] * 4, wait_for_nodes=True, say=told.append)

    assert told == [
        "no room for a trial of 1 CPU and 1 GPU (cpus_per_trial, gpus_per_trial) on 1 node, which has 2 CPUs and "
        "0 GPUs; it waits for a node"
    ]


SLOW = Exception("The current node timed out during startup. This could happen because the GCS is overloaded.")


def test_a_ray_that_starts_too_slowly_is_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    starts(monkeypatch, SLOW, None)

    cluster.connect(address="local", say=told.append)

    assert told == [f"Ray did not start on this machine ({SLOW}); trying once more"]


def test_a_ray_that_starts_too_slowly_twice_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = starts(monkeypatch, SLOW, SLOW)

    with pytest.raises(InputError, match=r"^Ray did not start .* twice \(The current node timed out .*; .* too busy"):
        cluster.connect(address="local")

    assert len(asked) == 2


def test_sockets_that_have_no_room_below_tmpdir_are_put_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    asked = starts(monkeypatch, OSError("AF_UNIX path length cannot exceed 107 bytes: /scratch/..."), None)

    cluster.connect(address="local", say=told.append)

    (line,) = told
    assert line == f"TMPDIR is too long a path for Ray's sockets; they are in {asked[1]['_temp_dir']}"
    assert len(asked[1]["_temp_dir"]) < 30


@pytest.mark.parametrize("outcome", [None, SystemExit(15)])
def test_sigterm_interrupts_while_ray_starts_and_afterwards(
    monkeypatch: pytest.MonkeyPatch, outcome: BaseException | None
) -> None:
    """Ray's own handler raises SystemExit at once, and is left behind where it was not called."""
    starts(monkeypatch, outcome)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the signal comes during the first or after it)
            cluster.connect(address="local")
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
