"""The sbatch file on a real Slurm of this machine: a controller, a munged and two slurmd, all of the test's.

Minutes, and slurmctld, slurmd and munged must be there: `make test-cluster` runs it.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import free_port
from tests.toy import write_toy_cohort

SBATCH_FILE = Path(__file__).resolve().parents[2] / "infra" / "slurm" / "study.sbatch"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)), reason="apt-get install slurm-wlm munge: a Slurm of this machine"
    ),
]
CONF = """\
ClusterName=tissueclock
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} CPUs=4
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""
SWEEP = {"trials": 4, "patience": 1000, "promote": 1, "searcher": "random", "scheduler": {"name": "none"}}


@dataclass(frozen=True)
class Slurm:
    """A cluster of two nodes on this machine."""

    folder: Path

    def run(self, *command: str) -> str:
        """What a command of Slurm's says."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        """Of who submits."""
        return os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "TISSUECLOCK_ENV": str(Path(sys.executable).parents[1]),
            "HEAD": "127.0.0.1",
        }

    def submit(self, study: Path, *options: str) -> int:
        """Submits a study; the job's number."""
        return int(self.run("sbatch", "--parsable", *options, str(SBATCH_FILE), str(study)))

    def facts(self, job: int) -> dict[str, str]:
        """What Slurm knows of a job."""
        return dict(re.findall(r"(\w+)=(\S+)", self.run("scontrol", "show", "job", str(job))))

    def wait_until_ended(self, *jobs: int, within_s: float) -> Counter[str]:
        """How often each job was put back into the queue; who waits there is let go at once."""
        requeued: Counter[str] = Counter()
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            told = {job: self.facts(job) for job in jobs}
            if all(one["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED") for one in told.values()):
                return requeued
            for job, one in told.items():
                requeued[str(job)] = int(one["Restarts"])
                if one["JobState"] == "PENDING" and one.get("Reason") == "BeginTime":
                    self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
            time.sleep(1)
        raise AssertionError(f"not ended: {told}; {self.log(jobs[0])}")

    def log(self, job: int) -> str:
        """What the job's user reads."""
        return (self.folder / f"tissueclock-{job}.log").read_text()


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="ts", dir="/tmp"))
    (folder / "state").mkdir()
    (folder / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "key").chmod(0o400)
    ports = [free_port(), free_port()]
    conf = CONF.format(host=socket.gethostname().split(".")[0], port=free_port(), folder=folder, ports=ports)
    (folder / "slurm.conf").write_text(conf)
    files = ["key-file=key", "socket=munge.sock", "pid-file=munge.pid", "log-file=munge.log", "seed-file=seed"]
    commands = [
        ["munged", "--foreground", "--force", *(f"--{name.replace('=', f'={folder}/')}" for name in files)],
        ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
        *(["slurmd", "-D", "-N", node, "-f", str(folder / "slurm.conf")] for node in ("n1", "n2")),
    ]
    started: list[subprocess.Popen[bytes]] = []
    made = Slurm(folder)
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("ab") as out:
                started.append(subprocess.Popen(command, stdout=out, stderr=out, env=made.environment))
            time.sleep(1)
        end_s = time.monotonic() + 60
        while "idle" not in (said := made.run("sinfo", "--noheader", "-o", "%t %D")) or not said.endswith("2"):
            assert time.monotonic() < end_s, said
            time.sleep(0.5)
        yield made
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            made.run("scancel", "--user=root")
            time.sleep(8)
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    write_toy_cohort(folder / "cohort", n_patients=40)
    return folder


def write_study(shared: Path, name: str, *, epochs: int, **more: object) -> Path:
    facts = {
        "name": name,
        "seed": 3,
        "cohort": "cohort",
        "networks": {"slices": {"width": 8}},
        "arms": {"chain": {"network": "slices", "phases": {"detection": "random"}}},
        "sweep": {**SWEEP, "epochs": epochs, **more},
    }
    (shared / f"{name}.yaml").write_text(yaml.safe_dump(facts))
    return shared / f"{name}.yaml"


def ledger(shared: Path, name: str) -> list[dict[str, object]]:
    (path,) = (shared / name / "sweeps").glob("detection-*/ledger.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_study_outlives_its_time_limit_and_ends_complete(slurm: Slurm, shared: Path) -> None:
    study = write_study(shared, "long", epochs=60)

    job = slurm.submit(study, "--time=2", "--signal=B:USR1@70", "--cpus-per-task=2")
    requeued = slurm.wait_until_ended(job, within_s=900)

    facts, log = slurm.facts(job), slurm.log(job)
    assert (facts["JobState"], facts["ExitCode"]) == ("COMPLETED", "0:0"), log
    assert requeued[str(job)] >= 1, log
    assert log.count("interrupted; the same command goes on from here") == requeued[str(job)]
    assert "complete, 4/4 trials" in log
    assert "Traceback" not in log
    reported = Counter((line["trial"], line["epoch"]) for line in ledger(shared, "long") if line["kind"] == "reported")
    assert len(reported) == 4 * 60
    again = sum(n - 1 for n in reported.values())
    assert again <= 2 * requeued[str(job)], "more than an epoch of each running trial was learned twice"


def test_two_studies_on_one_node_do_not_touch_each_other_s_ray(slurm: Slurm, shared: Path) -> None:
    studies = [write_study(shared, name, epochs=3) for name in ("one", "two")]

    jobs = [slurm.submit(each, "--nodes=1", "--nodelist=n1", "--cpus-per-task=2", "--time=5") for each in studies]
    slurm.wait_until_ended(*jobs, within_s=300)

    for job in jobs:
        assert slurm.facts(job)["ExitCode"] == "0:0", slurm.log(job)
        assert "complete, 4/4 trials" in slurm.log(job)


def test_a_wrong_study_ends_with_its_line_and_is_not_tried_again(slurm: Slurm, shared: Path) -> None:
    study = write_study(shared, "wrong", epochs=3, trails=1)

    job = slurm.submit(study, "--nodes=1", "--cpus-per-task=1", "--time=5")
    requeued = slurm.wait_until_ended(job, within_s=120)

    assert slurm.facts(job)["ExitCode"] == "2:0"
    assert not requeued[str(job)]
    assert "sweep.trails is not a key of a study" in " ".join(slurm.log(job).split())
