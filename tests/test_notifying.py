"""Whoever a study names is told once that it ended, and nothing that goes wrong in that harms it."""

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tissueclock import notifying
from tissueclock.notifying import missing_program, notify
from tissueclock.study import NotifySettings

STATUS = {"study": "toy", "status": "complete", "sweeps": [{"name": "detection-0a", "best": 0.8}]}


@pytest.fixture(name="server")
def fixture_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, json.loads(body)))
            self.send_response(500 if "broken" in self.path else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stays silent."""

    taken: list[object] = []
    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        server.taken = taken  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_command_reads_the_status_and_an_address_is_sent_it(tmp_path: Path, server: HTTPServer) -> None:
    target = tmp_path / "with space.json"
    command = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.stdin.read())' '{target}'"

    assert notify(NotifySettings(command=command, url=f"http://127.0.0.1:{server.server_port}/told"), STATUS) == []

    assert json.loads(target.read_text()) == STATUS
    assert server.taken == [("/told", STATUS)]  # type: ignore[attr-defined]


def test_whoever_is_not_asked_for_is_not_told() -> None:
    assert notify(NotifySettings(), STATUS) == []
    assert missing_program(NotifySettings()) is None


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("no-such-program --now", "cannot be called (No such file or directory)"),
        (f"{sys.executable} -c 'raise SystemExit(3)'", "exit code 3"),
        (f"{sys.executable} -c 'import sys; sys.stdin.close()'", None),
        (f"{sys.executable} -c 'import time; time.sleep(60)'", "ended after 1 s: it had not by itself"),
    ],
)
def test_a_command_that_fails_is_a_line(command: str, fault: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "COMMAND_PATIENCE_S", 1.0 if "sleep" in command else 30.0)
    assert notify(NotifySettings(command=command), {**STATUS, "long": "x" * 1_000_000}) == (
        [f"notify.command: {fault}"] if fault else []
    )


def test_an_address_that_fails_is_a_line_without_what_may_be_a_secret(server: HTTPServer) -> None:
    (answered,) = notify(NotifySettings(url=f"http://127.0.0.1:{server.server_port}/broken/token"), STATUS)
    (refused,) = notify(NotifySettings(url="http://127.0.0.1:9/hooks/token"), STATUS)

    assert answered == "notify.url: 127.0.0.1: answered 500"
    assert refused.startswith("notify.url: 127.0.0.1: cannot be reached (")
    assert "token" not in refused


def test_a_program_that_is_missing_is_known_before() -> None:
    assert missing_program(NotifySettings(command="no-such-program --now")) == (
        "notify.command: no-such-program: no such program"
    )
    assert missing_program(NotifySettings(command=f"{sys.executable} -c pass")) is None
