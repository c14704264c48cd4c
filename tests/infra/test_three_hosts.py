"""`infra/README.md` on three hosts, by its own commands: `ray up`, `ray submit`, jobs, and what hosts do at night.

Needs root; a quarter of an hour: `make test-cluster` runs it, and prints a table.
Only the environment on each host is lent, not installed; all else is what `cluster.yaml` and the README say.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.conftest import free_port
from tests.infra.hosts import Host, Hosts, lend_environment, three_hosts, why_not
from tests.toy import write_toy_cohort

ROOT = Path(__file__).resolve().parents[2]
REASON = why_not()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(REASON is not None, reason=REASON or "")]
SHIPPED = ("platform", "trainables", "search_spaces", "infra")
AWAY_S = 60
MOST_LOST = 2
"""Epochs that a trial may learn twice: the one at work, and one whose report was on its way."""


@dataclass
class Told:
    """A command at work, and what its user has read so far."""

    process: subprocess.Popen[str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip()))

    def wait(self, within_s: float) -> int:
        """Its exit code."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"not ended within {within_s:g} s: {self.text}") from None
        finally:
            self._reader.join(10)
            if self.process.stdout is not None and not self._reader.is_alive():
                self.process.stdout.close()
        return code

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(line for _, line in self.lines)

    @property
    def last_line(self) -> str:
        """The last thing said on the head, before ssh says that it is gone."""
        lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for _, line in self.lines]
        end = next((i for i, line in enumerate(lines) if line.startswith("Shared connection")), len(lines))
        return ([""] + [line for line in lines[:end] if line.strip("│┃┏┓└┘├┤━─┡┩╇┴┼ ")])[-1]

    @property
    def plain(self) -> str:
        """The same without colours and rules of tables: `ray submit` gives the sweep a terminal."""
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[│┃┏┓└┘├┤━─┡┩╇┴┼]", " ", self.text).split())


@dataclass
class Cluster:
    """Three hosts with a checkout at hand whose `cluster.yaml` has its CHANGE lines changed."""

    hosts: Hosts
    checkout: Path
    table: list[str] = field(default_factory=list)

    def start(self, command: str) -> Told:
        """Begins a command at the checkout's root, as its user would."""
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.checkout, env=self.hosts.environment(), text=True, bufsize=1,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        return Told(process)

    def run(self, command: str, *, within_s: float = 300) -> Told:
        """Runs a command to its end."""
        told = self.start(command)
        told.wait(within_s)
        return told

    def command(self, beginning: str, *, study: Path | None = None) -> str:
        """The command of `cluster.yaml`'s header that has these words, on a study where it names one."""
        found = [line for line in header_commands(self.checkout) if beginning in line]
        assert len(found) == 1, found
        return found[0].replace("/shared/studies/paper.yaml", str(study))

    def submit(self, study: Path) -> Told:
        """`ray submit`, as the header has it."""
        return self.start(self.command("ray submit", study=study))

    def up(self) -> None:
        """`ray up`, and waits until all three nodes are there."""
        told = self.run(self.command("ray up -y"), within_s=600)
        assert told.process.returncode == 0, told.text
        end_s = time.monotonic() + 120
        while self.n_nodes() < 3:
            assert time.monotonic() < end_s, "the workers have not joined"
            time.sleep(2)

    def n_nodes(self) -> int:
        """How many nodes the head knows to be alive."""
        told = self.run("RAY_UP_enable_autoscaler_v2=0 ray exec infra/cluster.yaml 'ray status'", within_s=60)
        active = told.text.replace("\r", "").partition("Active:")[2].partition("Pending:")[0]
        return sum(int(n) for n in re.findall(r"^ *(\d+) ", active, re.MULTILINE))


def header_commands(checkout: Path) -> list[str]:
    """The commands in `cluster.yaml`'s header, without their comments."""
    header = (checkout / "infra" / "cluster.yaml").read_text().split("\ncluster_name:")[0]
    return [line[4:].split("  #")[0].strip() for line in header.splitlines() if line.startswith("#   ")]


@pytest.fixture(scope="module")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    with three_hosts() as hosts:
        checkout = hosts.folder / "checkout"
        for name in SHIPPED:
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "dist"))
        for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, checkout / name)
        (checkout / "infra" / "cluster.yaml").write_text(changed((ROOT / "infra" / "cluster.yaml").read_text(), hosts))
        write_toy_cohort(hosts.shared / "cohort", n_patients=40)
        for host in hosts.hosts:
            lend_environment(host)
        made = Cluster(hosts, checkout)
        for command in header_commands(checkout)[:2]:  # the wheel, the token
            told = made.run(command)
            assert told.process.returncode == 0, told.text
        made.up()
        yield made
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("\n| scenario | lost | seconds | what the user reads |\n|---|---|---|---|", *made.table, sep="\n")


def changed(text: str, hosts: Hosts) -> str:
    """`cluster.yaml` with the lines marked CHANGE changed, and no others."""
    head, *workers = [host.address for host in hosts.hosts]
    said = {
        "head_ip": head,
        "worker_ips": f"[{', '.join(workers)}]",
        "min_workers": "2",
        "ssh_user": "root",
        "ssh_private_key": str(hosts.folder / "key"),
    }
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if "# CHANGE" in line and ":" in line.split("# CHANGE")[0]:
            key = line.strip().split(":")[0]
            lines[i] = f"{line[: line.index(key)]}{key}: {said.pop(key)}"
    assert set(said) <= {"min_workers"}, f"no line marked CHANGE: {said}"
    return "\n".join(lines) + "\n"


def write_study(cluster: Cluster, name: str, *, epochs: int, trials: int = 3, **more: Any) -> Path:
    study = {
        "name": name,
        "seed": 3,
        "cohort": "cohort",
        "networks": {"slices": {"width": 8}},
        "arms": {"chain": {"network": "slices", "phases": {"detection": "random"}}},
        "sweep": {
            "trials": trials, "epochs": epochs, "patience": 1000, "promote": 1, "searcher": "random",
            "scheduler": {"name": "none"}, **more,
            "cpus_per_trial": more.get("cpus_per_trial", 1.5),  # one a host, on one thread: hosts share two cores
        },
    }  # fmt: skip
    path = cluster.hosts.shared / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def ledger(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Its whole lines so far."""
    lines = []
    for path in (cluster.hosts.shared / name / "sweeps").glob("detection-*/ledger.jsonl"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def reports(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    return [line for line in ledger(cluster, name) if line["kind"] == "reported"]


def wait_until(true: Callable[[], bool], told: Told, *, within_s: float = 240) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert told.process.poll() is None, told.text
        assert time.monotonic() < end_s, told.text
        time.sleep(0.5)


def lost_epochs(cluster: Cluster, name: str) -> dict[str, int]:
    """Epochs that were learned more than once, by trial; a report that only came twice is no epoch."""
    learned = {(line["trial"], line["epoch"], json.dumps(line["metrics"])) for line in reports(cluster, name)}
    again = Counter((trial, epoch) for trial, epoch, _ in learned)
    return dict(Counter(trial for (trial, _), n in again.items() for _ in range(n - 1)))


def test_a_submitted_study_has_trials_on_all_three(cluster: Cluster) -> None:
    study = write_study(cluster, "all", epochs=100)  # no trial ends before the last host has begun one

    told = cluster.submit(study)

    assert told.wait(300) == 0, told.text
    assert {line["node"] for line in reports(cluster, "all")} == {"h1", "h2", "h3"}
    assert "chain complete 3/3" in told.plain
    cluster.table.append("| `ray submit` | nothing | | complete 3/3 |")


def test_a_job_brings_its_own_wheel(cluster: Cluster) -> None:
    """Through ssh, as the README has it."""
    study, port = write_study(cluster, "job", epochs=3), free_port()
    head = cluster.hosts.hosts[0]
    tunnel = subprocess.Popen([*cluster.hosts.ssh(head, "sleep 600")[:-2], "-N", "-L", f"{port}:127.0.0.1:8265",
                               f"root@{head.address}"])  # fmt: skip
    try:
        python = f"{head.folder}/home/tissueclock/env/bin/python"
        for i in range(2):
            line = f"python infra/submit_job.py --address http://127.0.0.1:{port} --python {python} {study}"
            told = cluster.run(line, within_s=300)
            assert told.process.returncode == 0, told.text
            assert i == 0 or "3/3 trials" in told.text, told.text
    finally:
        tunnel.terminate()
        tunnel.wait(10)


def test_the_two_processes_of_a_trial_are_on_two_hosts(cluster: Cluster) -> None:
    """Each takes both CPUs of its host; they talk over gloo."""
    told = cluster.submit(write_study(cluster, "two", epochs=3, trials=1, cpus_per_trial=4, workers_per_trial=2))

    assert told.wait(300) == 0, told.text
    assert "chain complete 1/1" in told.plain
    cluster.table.append("| a trial of two processes on two hosts | nothing | | complete 1/1 |")


@dataclass(frozen=True)
class Fault:
    """Something that happens to a worker host: what begins it, and what ends it, if anything does."""

    name: str
    begin: Callable[[Host], None]
    mend: Callable[[Host], None] | None


FAULTS = [
    Fault("worker frozen for 60 s", lambda host: host.signal(signal.SIGSTOP), lambda host: host.signal(signal.SIGCONT)),
    Fault("link down for 60 s", lambda host: host.cable("down"), lambda host: host.cable("up")),
    Fault("worker host killed", Host.end, None),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_worker_host_that_fails_costs_an_epoch_a_trial(cluster: Cluster, fault: Fault) -> None:
    if cluster.n_nodes() < 3:
        cluster.up()
    worker, name = cluster.hosts.hosts[2], fault.name.replace(" ", "_")
    told = cluster.submit(write_study(cluster, name, epochs=150))

    wait_until(lambda: sum(line["node"] == worker.name for line in reports(cluster, name)) >= 5, told)
    begun_s = time.time()
    fault.begin(worker)
    if fault.mend is not None:
        time.sleep(AWAY_S)
        fault.mend(worker)
    assert told.wait(900) == 0, told.text

    lines, lost = ledger(cluster, name), lost_epochs(cluster, name)
    noticed = [line["time_s"] - begun_s for line in lines if line["kind"] == "recovered"]
    hit = {line["trial"] for line in lines if line["kind"] == "recovered"} or {
        line["trial"] for line in lines if line["kind"] == "reported" and line["node"] == worker.name
    }
    goes_on = min(line["time_s"] - begun_s for line in lines if line["kind"] == "reported" and line["trial"] in hit
                  and line["time_s"] > begun_s + (noticed[0] if noticed else 5))  # fmt: skip
    read = (re.findall(r"\d/3(?:, \d running)?, \d taken up again", told.plain) or ["nothing"])[0]
    seconds = f"{f'noticed {noticed[0]:.0f}, ' if noticed else ''}goes on {goes_on:.0f}"
    cluster.table.append(f"| {fault.name} | {max(lost.values(), default=0)} epochs of a trial | {seconds} | {read} |")
    assert max(lost.values(), default=0) <= MOST_LOST
    assert "chain complete 3/3" in told.plain
    assert "Traceback" not in told.text
    assert "(raylet)" not in told.text
    if worker.init is None:
        worker.start()


def test_the_head_s_ray_is_killed_and_the_same_command_goes_on(cluster: Cluster) -> None:
    if cluster.n_nodes() < 3:
        cluster.up()
    head, study = cluster.hosts.hosts[0], write_study(cluster, "head", epochs=100)
    told = cluster.submit(study)
    wait_until(lambda: len(reports(cluster, "head")) >= 15, told)

    begun_s = time.time()
    subprocess.run(cluster.hosts.ssh(head, "pkill -KILL gcs_server; pkill -KILL raylet"), check=False)
    code = told.wait(300)
    ended_s = time.time() - begun_s
    said = told.last_line
    cluster.up()
    again = cluster.submit(study)

    assert again.wait(900) == 0, again.text
    assert code == 1, told.text
    assert "Traceback" not in told.text
    assert "Ray's head node" in told.plain
    lost = lost_epochs(cluster, "head")
    cluster.table.append(
        f"| head's Ray killed | {max(lost.values(), default=0)} epochs of a trial | ended {ended_s:.0f} | {said} |"
    )
    assert max(lost.values(), default=0) <= MOST_LOST
    assert "chain complete 3/3" in again.plain


def test_scans_are_preprocessed_on_all_hosts(cluster: Cluster) -> None:
    if cluster.n_nodes() < 3:
        cluster.up()
    head, shared = cluster.hosts.hosts[0], cluster.hosts.shared
    made = cluster.run(f"tissueclock phantom {shared}/raw --raw --patients 4 --seed 1", within_s=300)
    assert made.process.returncode == 0, made.text

    begun_s = time.monotonic()
    line = f"tissueclock preprocess {shared}/raw {shared}/derivatives --ray-address auto"
    login = shlex.join(cluster.hosts.ssh(head, f". ~/tissueclock/rc; cd /; {line}"))
    told = cluster.run(login, within_s=900)

    assert told.process.returncode == 0, told.text
    assert len(list((shared / "derivatives").glob("sub-*"))) >= 3, told.text
    took_s = time.monotonic() - begun_s
    cluster.table.append(f"| `preprocess --ray-address` | nothing | {took_s:.0f} | {told.lines[-1][1]} |")
    assert (shared / "derivatives" / "qc.html").exists()
