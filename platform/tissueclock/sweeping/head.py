"""The head node of a Ray cluster: whether it answers.

Ray itself tries for minutes to reach one that is not there, and ends the process from its C++ half where one is lost.
"""

import os
import socket
import time

from tissueclock.errors import SweepError

_LISTEN_TIMEOUT_S, _ANSWER_TIMEOUT_S = 5.0, 30.0
_ASK_EVERY_S = 5.0
_RAYS_PATIENCE, _RAYS_PATIENCE_S = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
_SHARE_OF_PATIENCE = 0.75
"""Of the time after which Ray ends the process: a head that is started again within it, with its state, is taken."""
_HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""An empty frame of settings, type 4: what each side of HTTP/2, and so of gRPC, sends first (RFC 9113, 3.4)."""
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _HTTP2_SETTINGS


def fault(address: str, *, timeout_s: float | None = None) -> str | None:
    """Why no head node answers there, in a few words; None: one does.

    Args:
        address: `HOST:PORT`.
        timeout_s: How long an answer may take; None: long enough for a head that is busy.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s or _LISTEN_TIMEOUT_S) as there:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return None
            there.settimeout(timeout_s or _ANSWER_TIMEOUT_S)
            there.sendall(_HTTP2_HELLO)
            answer = there.recv(len(_HTTP2_SETTINGS))
    except (OSError, OverflowError) as error:
        return f"nothing answers there ({error})"
    return None if answer[3:4] == _HTTP2_SETTINGS[3:4] else "what listens there is no head node"


class Head:
    """The head node that this process is connected to.

    Whoever waits for Ray asks here. A call to Ray itself that needs the head (its nodes, a new function) does not come
    back once the head is gone, and Ray ends the process: nobody asks then.

    Args:
        address: `HOST:PORT`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._asked_s, self._n_missed = time.monotonic(), 0

    def check(self) -> None:
        """Asks it now and then; to be called some times a second.

        Raises:
            SweepError: It has not answered so often in a row that Ray would soon end this process without a word.
        """
        if time.monotonic() < self._asked_s + _ASK_EVERY_S:
            return
        self._asked_s = time.monotonic()
        why = fault(self._address, timeout_s=_ASK_EVERY_S)
        self._n_missed = self._n_missed + 1 if why else 0
        patience_s = _SHARE_OF_PATIENCE * float(os.environ.get(_RAYS_PATIENCE) or _RAYS_PATIENCE_S)
        if why and self._n_missed * _ASK_EVERY_S >= patience_s:
            raise SweepError(
                f"Ray's head node {self._address} is gone or out of reach: asked {self._n_missed} times, {why}; once "
                "it is up again (ray up), the same command goes on from what is written"
            )
