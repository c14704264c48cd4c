"""Connecting to Ray: what cannot work is one line at once, not a wait without end."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from tissueclock.errors import InputError
from tissueclock.settings import Resources
from tissueclock.sweeping import cluster


@pytest.fixture
def listener() -> Iterator[str]:
    """Something listens there that is no head node."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def init_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Failed to connect\nto Ray"), "Failed to connect"),
        (AuthenticationError("Token authentication is required"), "Token authentication is required"),
        (SystemExit(15), "what listens there did not answer like a head node"),
        (RuntimeError(), "RuntimeError"),
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
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no-such-host.invalid:6379", "127.0.0.1:99999"]
)
def test_where_nothing_listens_ray_is_not_even_tried(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    init_raises(monkeypatch, AssertionError("Ray would try for more than a minute"))

    with pytest.raises(InputError, match=rf"^Ray at {address}: nothing answers there \(.*\); allowed: auto, HOST:PORT"):
        cluster.connect(address=address)


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (Resources(cpus=8.0), "cpus_per_trial is 8, but the cluster on this machine has 2 CPUs; ask for less, or name"),
        (Resources(gpus=0.5), "gpus_per_trial is 0.5, but the cluster on this machine has 0 GPUs; ask for less"),
    ],
)
def test_a_trial_that_this_machine_has_no_room_for_would_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, trial: Resources, message: str
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))

    with pytest.raises(InputError, match=message):
        cluster.connect(address="local", trials=[Resources(), trial])

    assert ended, "the cluster that was started is not left behind"
