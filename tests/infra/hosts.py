"""Three hosts on this machine: each has a network, process, name and mount namespace, a home, a /tmp and an sshd.

They stand on a bridge of their own (10.213.77.0/24, which reaches nothing else) and see this machine's files, so every
folder outside /tmp is storage that all of them share. Needs root; what is started here ends with its namespace, and
nothing outside it is touched.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NET, BRIDGE = "10.213.77", "tchosts"
PROGRAMS = ("ip", "unshare", "nsenter", "sshd", "ssh", "ssh-keygen", "rsync", "pkill")
_SSHD = """\
ListenAddress {address}
HostKey {folder}/hostkey
AuthorizedKeysFile {folder}/../key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile {folder}/sshd.pid
Subsystem sftp internal-sftp
"""
_INIT = """\
set -e
hostname {name}
ip link set lo up
mount --bind {folder}/tmp /tmp
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/hosts /etc/hosts
mount -t tmpfs -o size=2g tmpfs /dev/shm
mount -t tmpfs -o size=1m tmpfs /run
mkdir /run/sshd
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {sshd} -f {folder}/sshd_config
touch {folder}/up
exec sleep infinity
"""


def why_not() -> str | None:
    """Why there can be no hosts here; None: there can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"apt-get install openssh-server iproute2 rsync procps: {', '.join(missing)} missing"
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else f"no namespaces here: {probe.stderr.decode().strip()}"


@dataclass(slots=True)
class Host:
    """A host: its name, its address, and the folder that holds its home and its /tmp."""

    name: str
    address: str
    folder: Path
    init: subprocess.Popen[bytes] | None = None

    @property
    def link(self) -> str:
        """The bridge's end of its cable."""
        return f"tc-{self.name}"

    def start(self) -> None:
        """Starts it; a home that is there stays as it is."""
        for part in ("home", "tmp"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").chmod(0o1777)
        (self.folder / "up").unlink(missing_ok=True)
        (self.folder / "passwd").write_text(
            f"root:x:0:0:root:{self.folder}/home:/bin/bash\nsshd:x:110:65534::/:/bin/false\n"
        )
        names = [f"{NET}.{10 + i} h{i}" for i in range(1, 10)]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
        (self.folder / "sshd_config").write_text(_SSHD.format(address=self.address, folder=self.folder))
        if not (self.folder / "hostkey").exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "hostkey"))
        _run("ip", "netns", "add", self.link)
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.link)
        _run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        for command in (f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            _run("ip", "-n", self.link, *command.split())
        script = _INIT.format(name=self.name, folder=self.folder, sshd=shutil.which("sshd"))
        apart = ["unshare", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (self.folder / "init.log").open("ab") as log:
            self.init = subprocess.Popen(
                ["ip", "netns", "exec", self.link, *apart, "bash", "-c", script], stdout=log, stderr=log
            )
        end_s = time.monotonic() + 20
        while not (self.folder / "up").exists():
            came_up = self.init.poll() is None and time.monotonic() < end_s
            assert came_up, (self.folder / "init.log").read_text()
            time.sleep(0.1)

    def end(self) -> None:
        """Ends it as a power cut does: all its processes at once, and its cable."""
        if self.init is not None:
            for process in self.processes():
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            self.init.kill()
            self.init.wait(20)
            self.init = None
        for command in (("link", "del", self.link), ("netns", "del", self.link)):
            subprocess.run(["ip", *command], capture_output=True, check=False)

    def processes(self) -> list[int]:
        """All its processes, by the numbers that they have outside: whoever is in its network."""
        said = subprocess.run(["ip", "netns", "pids", self.link], capture_output=True, text=True, check=False)
        return [int(number) for number in said.stdout.split()]

    def cable(self, state: str) -> None:
        """Plugs its cable in (`up`) or out (`down`)."""
        _run("ip", "link", "set", self.link, state)

    def signal(self, number: signal.Signals) -> None:
        """Sends all its processes a signal."""
        for process in self.processes():
            with contextlib.suppress(OSError):
                os.kill(process, number)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts on a bridge, what they share, and who is at the keyboard."""

    folder: Path
    hosts: Sequence[Host]

    @property
    def shared(self) -> Path:
        """A folder that every host sees under this path."""
        return self.folder / "shared"

    def environment(self) -> dict[str, str]:
        """Of who is at the keyboard: a home with a key that the hosts let in, and nothing of ours on the path."""
        foreign = ("RAY_", "PYTHONPATH", "COV", "TUNE_", "MLFLOW_TRACKING")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**kept, "HOME": str(self.folder / "me"), "PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}

    def ssh(self, host: Host, command: str) -> list[str]:
        """What runs a command there."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        flags = [flag for option in options for flag in ("-o", option)]
        return ["ssh", *flags, "-i", str(self.folder / "key"), f"root@{host.address}", command]


@contextlib.contextmanager
def three_hosts() -> Iterator[Hosts]:
    """Makes them, and ends all that runs on them."""
    folder = Path(tempfile.mkdtemp(prefix="tc-hosts-", dir="/var/tmp"))
    made = Hosts(folder, [Host(f"h{i}", f"{NET}.{10 + i}", folder / f"h{i}") for i in (1, 2, 3)])
    (folder / "shared").mkdir()
    (folder / "me" / ".ssh").mkdir(parents=True)
    try:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
        shutil.copy(folder / "key", folder / "me" / ".ssh" / "id_ed25519")
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        for host in made.hosts:
            host.start()
        yield made
    finally:
        for host in made.hosts:
            host.end()
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def lend_environment(host: Host) -> None:
    """Puts an environment where `cluster.yaml` makes one, with this one's packages: three installations take long."""
    env = host.folder / "home" / "tissueclock" / "env"
    _run(sys.executable, "-m", "venv", str(env))
    (site,) = env.glob("lib/python3*/site-packages")
    own = Path(sys.prefix) / "lib" / site.parent.name / "site-packages"
    for old in site.glob("setuptools*"):  # torch asks for a newer one, which is among the lent ones
        shutil.rmtree(old)
    (site / "lent.pth").write_text(f"{own}\n")
    for name, entry in (("ray", "ray.scripts.scripts"), ("tissueclock", "tissueclock.cli")):
        script = env / "bin" / name
        script.write_text(f"#!{env}/bin/python\nfrom {entry} import main\nmain()\n")
        script.chmod(0o755)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
