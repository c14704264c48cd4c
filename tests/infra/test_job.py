"""A study as a job on a head node that is a process of its own, with the wheel shipped to it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from infra.submit_job import build_wheel, entry_point, follow, hand_over, unpack
from tests.infra.conftest import Head
from tests.toy import write_toy_cohort

ROOT = Path(__file__).resolve().parents[2]
STUDY = """\
name: shipped
seed: 3
cohort: cohort
extensions: lab
networks: {slices: {width: 8}}
arms: {chain: {network: slices, phases: {witness: random}}}
sweep: {trials: 1, epochs: 1, promote: 1, searcher: random, scheduler: {name: none}}
"""
# A lab's own phase: detection that writes down which code a worker runs.
WITNESS = '''\
import json
import tissueclock
import trainables.detection
from tissueclock.cohort.questions import HoldsLesion
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable

class Witness(PhaseTrainable):
    """Writes down where its worker imports from."""
    phase = Phase(name="witness", title="witness", task=Classification(HoldsLesion()))

    def setup(self, config, job):
        super().setup(config, job)
        files = {module.__name__: module.__file__ for module in (tissueclock, trainables.detection)}
        (job.spec.cohort.parent / "witness.json").write_text(json.dumps(files))
'''
SPACE = """\
from ray import tune
SPACE = {"lr": tune.loguniform(1e-3, 1e-2)}
REASONS = {"lr": "any will do"}
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage that all nodes see: a study, its cohort and a lab's extensions."""
    folder = tmp_path_factory.mktemp("shared")
    write_toy_cohort(folder / "cohort", n_patients=40)
    for room, text in (("trainables", WITNESS), ("search_spaces", SPACE)):
        (folder / "lab" / room).mkdir(parents=True)
        (folder / "lab" / room / "witness.py").write_text(text)
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def submit(head: Head, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `infra/submit_job.py` as a user would, behind a proxy that knows nothing of this machine."""
    return subprocess.run(
        [sys.executable, ROOT / "infra" / "submit_job.py", "--address", head.address, *arguments],
        env=head.environment | {"http_proxy": "http://127.0.0.1:9"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.ray
@pytest.mark.e2e
def test_a_study_runs_as_a_job_with_the_code_of_the_shipped_wheel(head: Head, shared: Path, wheel: Path) -> None:
    done = submit(head, shared / "study.yaml", "--wheel", wheel)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete, 1/1 trials" in done.stdout
    (ledger,) = (shared / "shipped" / "sweeps").glob("witness-*/ledger.jsonl")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [line["status"] for line in lines if line["kind"] == "ended"] == ["finished"]
    assert lines[-1]["kind"] == "closed"
    for module, file in json.loads((shared / "witness.json").read_text()).items():
        assert f"{head.folder}/" in file, f"{module} was imported from {file}"
        assert "py_modules_files" in file, f"{module} was imported from {file}"


@pytest.mark.ray
@pytest.mark.e2e
def test_a_wrong_study_gives_its_line_and_its_exit_code_through(head: Head, shared: Path, wheel: Path) -> None:
    wrong = shared / "wrong.yaml"
    wrong.write_text(STUDY.replace("trials: 1", "trails: 1"))

    done = submit(head, wrong, "--wheel", wheel)

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"error: {wrong}: sweep.trails is not a key of a study" in done.stdout.replace("\n", " ")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.ray
def test_without_the_token_no_job_is_taken(head: Head, shared: Path, wheel: Path, tmp_path: Path) -> None:
    done = submit(head, shared / "study.yaml", "--wheel", wheel, HOME=str(tmp_path))

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"error: {head.address}: no job was submitted" in done.stderr
    assert "Traceback" not in done.stderr


class Flaky:
    """A job server, as its client sees it, that does what a list says: an error, or an answer, call by call."""

    def __init__(self, *answers: JobStatus | Exception) -> None:
        self._answers = list(answers)

    def get_job_info(self, _: str) -> SimpleNamespace:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status=answer, driver_exit_code=0, message="")

    async def tail_job_logs(self, _: str) -> AsyncIterator[str]:
        """A log in which nothing stands for a quarter of an hour."""
        clock.now_s += 900
        yield "a line\n"

    def submit_job(self, **_: object) -> str:
        return str(self.get_job_info("").status)


class clock:  # noqa: N801 - stands in for the module `time`
    """Time that goes on by itself only when somebody sleeps."""

    now_s = 0.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now_s

    @classmethod
    def sleep(cls, duration_s: float) -> None:
        cls.now_s += duration_s


def test_a_connection_lost_after_a_silent_quarter_of_an_hour_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("infra.submit_job.time", clock)
    lost = ConnectionError("reset by peer")
    server = Flaky(JobStatus.RUNNING, lost, lost, JobStatus.RUNNING, lost, JobStatus.RUNNING, JobStatus.SUCCEEDED)

    assert follow(cast("JobSubmissionClient", server), "job") == 0
    assert capsys.readouterr().out == "a line\n"


def test_a_connection_that_stays_lost_is_given_up_after_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("infra.submit_job.time", clock)
    server = Flaky(JobStatus.RUNNING, *[ConnectionError("reset by peer")] * 1000)

    assert follow(cast("JobSubmissionClient", server), "job") == 1
    assert "nothing heard for 300 s (reset by peer); it may still go on" in capsys.readouterr().err


def test_a_head_whose_job_agent_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.submit_job.time", clock)
    not_yet = RuntimeError("Request failed with status code 500: No available agent to submit job")

    assert hand_over(cast("JobSubmissionClient", Flaky(not_yet, not_yet, JobStatus.PENDING)), "true", [])
    with pytest.raises(RuntimeError, match="No available agent"):
        hand_over(cast("JobSubmissionClient", Flaky(*[not_yet] * 1000)), "true", [])


def test_a_wheel_unpacks_to_the_packages_that_ray_ships(wheel: Path, tmp_path: Path) -> None:
    packages = unpack(wheel, tmp_path)

    assert [package.name for package in packages] == ["search_spaces", "tissueclock", "trainables"]
    assert all((package / "__init__.py").is_file() for package in packages)


def test_a_study_whose_path_has_a_space_reaches_the_sweep_whole() -> None:
    line = entry_point("python", Path("/shared/my studies/a.yaml"), ["--retry-failed"])

    assert line == "cd / && exec python -P -m tissueclock sweep '/shared/my studies/a.yaml' --retry-failed"
