"""Tracking for a group, as infra/README.md has it: MLflow on PostgreSQL, users with passwords, artifacts by the server.

Minutes; needs root and PostgreSQL's own programs: `make test-cluster` runs it.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import free_port
from tests.toy import write_toy_cohort

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not BINARIES or os.geteuid() != 0, reason="apt-get install postgresql, and root to run it"),
]
ADMIN, PASSWORDS = "an-admins-secret", {"anna": "annas-long-secret", "ben": "bens-long-secret"}
SWEEP = {"trials": 2, "epochs": 3, "promote": 1, "searcher": "random", "scheduler": {"name": "none"}}


@dataclass
class Server:
    """A tracking server, which can be taken away and brought back."""

    folder: Path
    port: int
    database: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        store = f"postgresql+psycopg2://tracker@127.0.0.1:{self.database}"
        (self.folder / "auth.ini").write_text(
            f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {store}/auth\nadmin_username = admin\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        environment = os.environ | {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
        }
        command = ["--app-name", "basic-auth", "--port", str(self.port), "--workers", "1"]
        stores = ["--backend-store-uri", f"{store}/mlflow", "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *command, *stores],
                env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end_s = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            assert time.monotonic() < end_s, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.5)

    def stop(self) -> None:
        """Takes it away."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tp", dir="/tmp"))
    shutil.chown(folder, "postgres")
    port = free_port()
    data = folder / "data"

    def postgres(program: str, *arguments: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(BINARIES[-1] / program), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    postgres("initdb", "-D", str(data), "-A", "trust", "-U", "tracker")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    postgres("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "postgres.log"), "-w", "start")
    try:
        for name in ("mlflow", "auth"):
            postgres("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "tracker", name)
        made = Server(folder, free_port(), port)
        made.start()
        add_users(made.uri)
        yield made
        made.stop()
    finally:
        postgres("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def add_users(uri: str) -> None:
    """As the administrator does it, in a process of its own: MLflow reads the password from the environment."""
    program = (
        "import sys, json; from mlflow.server.auth.client import AuthServiceClient\n"
        "for name, word in json.loads(sys.argv[2]).items(): AuthServiceClient(sys.argv[1]).create_user(name, word)"
    )
    environment = os.environ | {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": ADMIN}
    command = [sys.executable, "-W", "ignore", "-c", program, uri, json.dumps(PASSWORDS)]
    subprocess.run(command, env=environment, check=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    write_toy_cohort(folder / "cohort", n_patients=40)
    return folder


def write_study(shared: Path, server: Server, name: str, **more: object) -> Path:
    facts = {
        "name": name,
        "seed": 3,
        "cohort": "cohort",
        "tracking": {"uri": server.uri},
        "networks": {"slices": {"width": 8}},
        "arms": {"chain": {"network": "slices", "phases": {"detection": "random"}}},
        "sweep": SWEEP,
        **more,
    }
    path = shared / f"{name}-{len(list(shared.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(facts))
    return path


def start(study: Path, user: str, password: str, command: str = "sweep") -> subprocess.Popen[str]:
    environment = os.environ | {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    options = ["--cpus", "1"] if command == "sweep" else []
    return subprocess.Popen(
        [sys.executable, "-m", "tissueclock", command, str(study), *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = " ".join(process.communicate(timeout=300)[0].split())
    return process.returncode, said


def test_two_people_track_two_studies_at_once_and_no_file_has_their_passwords(server: Server, shared: Path) -> None:
    studies = {name: write_study(shared, server, name) for name in PASSWORDS}
    running = [start(study, name, PASSWORDS[name]) for name, study in studies.items()]
    for code, said in map(ended, running):
        assert code == 0, said
        assert "behind" not in said
    for name in PASSWORDS:
        for path in (shared / name).rglob("*"):
            assert not path.is_file() or not any(word.encode() in path.read_bytes() for word in PASSWORDS.values()), (
                path
            )
    assert list((server.folder / "artifacts").rglob("weights.safetensors")), "artifacts go through the server"


def test_a_wrong_password_is_one_line_before_anything_starts(server: Server, shared: Path) -> None:
    study = write_study(shared, server, "wrong")
    code, said = ended(start(study, "anna", "not-hers"))
    assert code == 2
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said
    assert not (shared / "wrong" / "sweeps").exists()


def test_a_study_named_as_somebody_else_s_is_told_so(server: Server, shared: Path) -> None:
    study = write_study(shared, server, "anna", folder="bens")
    code, said = ended(start(study, "ben", PASSWORDS["ben"]))
    assert code == 0, said
    assert "experiment 'anna' is somebody's whose runs this user may not see" in said


def test_a_server_that_is_away_is_caught_up_with(server: Server, shared: Path) -> None:
    study = write_study(shared, server, "away", sweep={**SWEEP, "epochs": 40, "patience": 40})
    running = start(study, "anna", PASSWORDS["anna"])
    end_s = time.monotonic() + 120
    while not list((shared / "away").rglob("ledger.jsonl")):
        assert time.monotonic() < end_s
        time.sleep(0.2)
    server.stop()
    code, said = ended(running)
    server.start()

    assert code == 0, said
    assert "run the same command again to catch up" in said
    code, said = ended(start(study, "anna", PASSWORDS["anna"]))
    assert code == 0, said
    assert "behind" not in said
