"""The cluster file against Ray's own schema and defaults, and against what an open cluster would do to its owner."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

INFRA = Path(__file__).resolve().parents[2] / "infra"
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((INFRA / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def filled(cluster: dict[str, Any]) -> dict[str, Any]:
    """The cluster file as `ray up` sees it, Ray's defaults filled in."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    return util.prepare_config(copy.deepcopy(cluster))


def test_it_is_valid_by_rays_own_schema(filled: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(filled)

    (node,) = filled["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(filled["provider"]["worker_ips"])


def test_no_command_of_ours_or_of_rays_defaults_ends_other_rays(filled: dict[str, Any]) -> None:
    for key in COMMANDS:
        assert not re.search(
            r"ray\s+stop|pkill (?!-\$S -f '/tmp/\[t\]issueclock/ray/['|])|killall", " ".join(filled[key])
        ), key


def test_the_head_s_client_server_is_ended_too_and_nobody_else_s(cluster: dict[str, Any]) -> None:
    """It has no folder in its command line; as `ray` starts it (2.60)."""
    (pattern,) = re.findall(r"pkill -\$S -f '([^']+)'", cluster["head_start_ray_commands"][0])
    started = "/lib/ray/_private/workers/setup_worker.py -m ray.util.client.server --address=10.0.0.1:6379 --port=10001"
    assert re.search(pattern, f"/home/me/tissueclock/env/bin/python {started}")
    assert not re.search(pattern, f"/home/me/other/env/bin/python {started}")
    assert not re.search(pattern, cluster["head_start_ray_commands"][0]), "it would end itself"


@pytest.mark.parametrize("key", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_every_node_starts_with_the_token(cluster: dict[str, Any], key: str) -> None:
    starts = [command for command in cluster[key] if "ray start" in command]

    assert len(starts) == 1
    assert "RAY_AUTH_MODE=token" in starts[0].split("ray start")[0]
    assert "~/.ray/auth_token" in cluster["file_mounts"]


@pytest.mark.parametrize("script", ["submit.py", "submit_job.py"])
def test_every_client_asks_for_the_token(script: str) -> None:
    assert 'setdefault("RAY_AUTH_MODE", "token")' in (INFRA / script).read_text()


def test_the_job_server_listens_on_the_head_node_only(cluster: dict[str, Any]) -> None:
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][-1]


def test_every_command_is_a_line_that_a_shell_can_read(cluster: dict[str, Any]) -> None:
    for command in (command for key in COMMANDS for command in cluster.get(key, [])):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_what_is_mounted_is_what_the_setup_reads(cluster: dict[str, Any]) -> None:
    setup = " ".join(cluster["setup_commands"])

    assert "~/tissueclock/dist/tissueclock-*.whl" in setup
    assert "--constraint ~/tissueclock/constraints.txt" in setup
    assert cluster["file_mounts"]["~/tissueclock/dist"] == "infra/dist"
    assert (INFRA.parent / cluster["file_mounts"]["~/tissueclock/constraints.txt"]).is_file()
