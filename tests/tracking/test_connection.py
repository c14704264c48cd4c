import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tissueclock.errors import InputError
from tissueclock.tracking import connection
from tissueclock.tracking.connection import check_tracker, one_line, redacted


def test_a_store_that_does_not_exist_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    check_tracker(f"sqlite:///{tmp_path / 'deep' / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("./mlruns", "the scheme is missing; allowed are sqlite, postgresql"),
        ("file:///tmp/mlruns", "the scheme is file; allowed are sqlite, postgresql"),
        ("sqlite:///", "names no file; write sqlite:///path/to/mlflow.db"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"'postgresql://\*\*\*@127.0.0.1:1/x': cannot be reached"),
    ],
)
def test_a_uri_that_cannot_be_a_tracker_is_told_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_tracker(uri)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_asked_once_and_told() -> None:
    asked: list[int] = []

    def hang_up() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            asked.append(1)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        deaf = threading.Thread(target=hang_up)
        deaf.start()
        with pytest.raises(InputError, match=f"{port}': no MLflow server answers there .no connection.; start it"):
            check_tracker(f"http://127.0.0.1:{port}")
        server.shutdown(socket.SHUT_RDWR)  # accept ends
    deaf.join()
    assert len(asked) == 1, "MLflow's own client would ask for minutes"


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database at all")
    with pytest.raises(InputError, match=r"mlflow.db is not an SQLite database \(it begins with b'not a da'\)"):
        check_tracker(f"sqlite:///{path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        check_tracker(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_passwords_are_not_repeated() -> None:
    assert redacted("https://me:secret@host/path") == "https://***@host/path"
    assert redacted("https://me:s@cret@host/path") == "https://***@host/path"
    assert redacted("mysql://host/db?user=me&password=secret&ssl=1") == "mysql://host/db?user=***&password=***&ssl=1"
    assert redacted("sqlite:////me@home/mlflow.db") == "sqlite:////me@home/mlflow.db", "a folder is no user"
    assert one_line(ValueError("no way\n to postgresql://me:secret@host/db")) == "no way to postgresql://***@host/db"


def test_importing_the_follower_does_not_import_mlflow() -> None:
    code = "import sys, tissueclock.tracking.follower, tissueclock.tracking.page; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", r"answered 401 Unauthorized: its name and password "
         r"stand in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (b"", r"is there and does not answer in time: busy or paused"),
    ],
    ids=["a password is asked for", "paused"],
)  # fmt: skip
def test_a_server_that_does_not_serve_us_is_told_apart_from_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch, answers: bytes, message: str
) -> None:
    monkeypatch.setattr(connection, "_CHECK_TIMEOUT_S", 0.3)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # this machine is never proxied
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            asked, _ = server.accept()
            with asked:
                asked.recv(4096)
                asked.sendall(answers)
                while not answers and asked.recv(4096):
                    pass

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(InputError, match=message):
            check_tracker(f"http://127.0.0.1:{server.getsockname()[1]}")
        serving.join()


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    with pytest.raises(InputError, match=r"through http_proxy=http://\*\*\*@127\.0\.0\.1:9; name its host in NO_PROXY"):
        check_tracker("http://mlflow.example:5000")
