import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tissueclock.errors import InputError
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
