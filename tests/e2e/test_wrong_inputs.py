"""Wrong inputs: each ends with exit code 2 and one line that says whose, what was found and what is allowed."""

import contextlib
import errno
import fcntl
import os
import pickle
import re
import resource
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import run, write_study
from tests.e2e.in_process import Answer, call
from tests.e2e.wrong_places import (
    change_facts,
    change_table,
    own_cohort,
    promoted_folder,
    redigest,
    scored_folder,
    set_onsets,
)
from tissueclock.cohort.store import Cohort
from tissueclock.tracking.follower import Follower

pytestmark = pytest.mark.e2e

CHAIN = {"detection": "random", "tss_3h": "previous"}


def arm(**phases: str) -> dict[str, Any]:
    return {"chain": {"network": "slice", "phases": phases}}


def assert_one_line(answer: Answer, message: str, folder: Path) -> None:
    assert answer.code == 2, answer
    assert len(answer.lines) == 1, answer.err
    assert re.search(message, answer.lines[0]), f"{answer.lines[0]}\ndoes not match {message}"
    assert answer.lines[0].startswith("error: ")
    assert not list(folder.rglob("*.part")), "something half-written was left"


STUDY_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"sed": 3}, r"study\.yaml: sed is not a key of a study"),
    "a pin that YAML reads as text": (
        {"sweep": {"fix": {"lr": "1e-4"}}},
        r"study\.yaml: sweep\.fix\.lr is '1e-4' \(str\); .*only with a point and a sign: write 1\.0e-4",
    ),
    "a pin that is no number": (
        {"sweep": {"fix": {"lr": float("nan")}}},
        r"study\.yaml: sweep\.fix\.lr is nan \(float\); allowed: a finite number, a word, true or false",
    ),
    "a pin outside the space's bounds": (
        {"sweep": {"fix": {"dropout": 0.9}}},
        r"phase detection, space detection: fix dropout is 0\.9; the space allows 0 to 0\.5",
    ),
    "a pin outside what is possible, in no space": (
        {"sweep": {"fix": {"beta1": 1.5}}},
        r"phase detection: fix beta1: 1\.5, but it must be a number from 0 to 1",
    ),
    "a pin that YAML reads as false": (
        {"sweep": {"fix": {"pos_weight": False}}},
        r"fix pos_weight: False, but it must be one of off, balanced; YAML reads a bare off as false: write 'off'",
    ),
    "a pin that the phase does not understand": (
        {"sweep": {"fix": {"momentum": 0.9}}},
        r"phase detection, space detection: momentum is unknown; this phase understands attention, augmentation, .*lr",
    ),
    "a parent that is not promoted": (
        {"arms": arm(**CHAIN), "phases": {"tss_3h": {"fix": {"parent": 5}}}},
        r"phase tss_3h, space tss_3h: fix parent is 5; allowed: a whole number from 1 to 2",
    ),
    "pins that leave nothing of what is to be learned": (
        {"arms": arm(**CHAIN), "phases": {"tss_3h": {"fix": {"attention": "off", "learned": "gates"}}}},
        r"phase tss_3h: fix learned: 'gates', but the network computes no gates \(attention is off\)",
    ),
    "unknown phase": (
        {"arms": arm(tss_6h="random")},
        r"phase tss_6h: no module trainables/tss_6h\.py; known: attention, detection, genesis, "
        r"radiomics_3h, radiomics_4h5, tss_3h, tss_4h5",
    ),
    "unknown space": (
        {"sweep": {"space": "narrow"}},
        r"space narrow: no module search_spaces/narrow\.py; known: attention, detection, genesis, "
        r"radiomics_3h, radiomics_4h5, tss_3h, tss_4h5",
    ),
    "grid over a continuous space": (
        {"sweep": {"searcher": "grid"}},
        r"phase detection, space detection: searcher is grid, but the space is continuous .*pin its continuous",
    ),
    "population-based training": (
        {"sweep": {"scheduler": {"name": "pbt", "perturb_epochs": 5}}},
        r"phase detection: scheduler pbt was removed: what it promoted had the metrics, .*; take asha or none",
    ),
    "a scheduler that compares only what has a slot": (
        {"sweep": {"scheduler": {"name": "hyperband"}}},
        r"phase detection: scheduler hyperband was removed: with fewer slots than trials .*; take asha or none",
    ),
    "unknown scheduler": (
        {"sweep": {"scheduler": {"name": "asah"}}},
        r"study\.yaml: sweep\.scheduler\.name is 'asah' \(str\); allowed: none, asha",
    ),
    "attention from random weights": (
        {"arms": arm(attention="random")},
        r"study\.yaml: phase attention has weights 'random'; it needs 'previous'",
    ),
    "cohort folder missing": ({"cohort": "nowhere"}, r"nowhere/cohort\.json: no such file; a packed cohort has one"),
    "tracker unreachable": (
        {"tracking": {"uri": "http://127.0.0.1:9"}},
        r"tracking URI 'http://127\.0\.0\.1:9': no MLflow server answers there \(no connection\); start it, or leave",
    ),
    "tracker of an unknown kind": (
        {"tracking": {"uri": "file:///tmp/mlruns"}},
        r"tracking URI 'file:///tmp/mlruns': the scheme is file; allowed are sqlite, postgresql",
    ),
    "extensions with neither package": (
        {"extensions": "lab"},
        r"lab: extensions has no trainables/ and no search_spaces/ in it; one of them is needed",
    ),
}


@pytest.mark.parametrize(("changes", "message"), STUDY_CASES.values(), ids=STUDY_CASES.keys())
def test_a_wrong_study(
    study_dir: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    study = write_study(study_dir, **changes)

    assert_one_line(call(capsys, "plan", study), message, study_dir)
    assert not (study_dir / "toy").exists(), "a study that is wrong makes nothing"


FILE_CASES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, r"study\.yaml: cannot be read \(No such file or directory\)"),
    "not YAML": (b"name: [toy", r"study\.yaml, line 1: not YAML \(expected ',' or '\]'"),
    "not text": (b"\xff\xfe\x00", r"study\.yaml: cannot be read \(not UTF-8 text\)"),
    "empty": (b"", r"study\.yaml: holds NoneType; a study is a mapping with name, seed, cohort"),
    "a list as a key": (b"? [a, b]\n: 1\n", r"study\.yaml, line 1: not YAML \(a key is a list or a mapping\)"),
    "a date that is none": (b"name: 2026-13-45\n", r"study\.yaml: not YAML \(month must be in 1\.\.12\)"),
    "Python in it": (b"!!python/object:os.system x", r"study\.yaml, line 1: not YAML \(could not determine"),
}


@pytest.mark.parametrize(("text", "message"), FILE_CASES.values(), ids=FILE_CASES.keys())
@pytest.mark.parametrize("command", ["plan", "sweep", "status", "report", "ui"])
def test_a_study_file_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, text: bytes | None, message: str
) -> None:
    study = tmp_path / "study.yaml"
    if text is not None:
        study.write_bytes(text)

    assert_one_line(call(capsys, command, study), message, tmp_path)


def _truncate(cohort: Path) -> None:
    array = cohort / "hemispheres.npy"
    os.truncate(array, array.stat().st_size - 1000)


def _flip(cohort: Path) -> None:
    with (cohort / "hemispheres.npy").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x7f")


def _drop_column(rows: list[list[str]]) -> None:
    i = rows[0].index("onset_to_mri_min")
    for row in rows:
        del row[i]


def _cell(i_row: int, column: str, value: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[i_row][rows[0].index(column)] = value

    return change


def _repeat_patient(rows: list[list[str]]) -> None:
    rows[2][rows[0].index("participant_id")] = rows[1][rows[0].index("participant_id")]


COHORT_CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "facts missing": (
        lambda c: (c / "cohort.json").unlink(),
        r"cohort/cohort\.json: no such file; a packed cohort has one",
    ),
    "facts cut short": (lambda c: os.truncate(c / "cohort.json", 40), r"cohort/cohort\.json: cannot be read as JSON"),
    "unknown schema": (
        lambda c: change_facts(c, lambda facts: facts.update(schema=99)),
        r"cohort/cohort\.json: schema 99 found; this version reads schema 1",
    ),
    "array truncated": (_truncate, r"hemispheres\.npy: truncated: \d+ bytes found; \d+ expected for float16"),
    "array altered": (_flip, r"hemispheres\.npy: SHA-256 \w+… found; cohort\.json says \w+…: the file was altered"),
    "array missing": (lambda c: (c / "hemispheres.npy").unlink(), r"hemispheres\.npy: no such file"),
    "manifest altered": (
        lambda c: (c / "participants.tsv").write_text("participant_id\n"),
        r"participants\.tsv: SHA-256 \w+… found; cohort\.json says",
    ),
    "column missing": (
        lambda c: change_table(c, "participants.tsv", _drop_column),
        r"participants\.tsv: column onset_to_mri_min missing; found participant_id, .*; needed participant_id, onset",
    ),
    "onset that is no number": (
        lambda c: change_table(c, "participants.tsv", _cell(3, "onset_to_mri_min", "NaN")),
        r"participants\.tsv, row 4 \(toy002\): onset_to_mri_min is NaN; allowed: minutes above 0 and at most 43200",
    ),
    "the same patient twice": (
        lambda c: change_table(c, "participants.tsv", _repeat_patient),
        r"participants\.tsv, row 3 \(toy000\): participant_id toy000 is already in row 2; each may appear once",
    ),
    "an onset taken out of one table": (
        lambda c: change_table(c, "participants.tsv", _cell(1, "onset_to_mri_min", "n/a")),
        r"hemispheres\.tsv: does not agree with participants\.tsv \(side, lesion or onset of a hemisphere\)",
    ),
    "one class only": (
        lambda c: set_onsets(c, "100.0"),
        r"cohort: phase tss_3h has \d+ positive and 0 negative hemispheres in train; both classes are needed in each",
    ),
}


@pytest.mark.parametrize(("damage", "message"), COHORT_CASES.values(), ids=COHORT_CASES.keys())
def test_a_damaged_cohort(
    study_dir: Path,
    toy_cohort: Cohort,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    damage(own_cohort(study_dir, toy_cohort))
    study = write_study(study_dir, arms=arm(**CHAIN))

    assert_one_line(call(capsys, "plan", study), message, study_dir)


def _other_width(promoted: Path) -> None:
    other = promoted_folder(promoted.parent / "other", width=8)
    shutil.copy(other / "weights.safetensors", promoted / "weights.safetensors")
    redigest(promoted)


def _other_weights(promoted: Path) -> None:
    raw = bytearray((promoted / "weights.safetensors").read_bytes())
    raw[-1] ^= 1
    (promoted / "weights.safetensors").write_bytes(raw)


def _cut(promoted: Path) -> None:
    weights = promoted / "weights.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)


CHECKPOINT_CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a foreign folder": (
        lambda p: (p / "trial.json").unlink(),
        r"promoted: neither a study that was started, nor a promoted checkpoint, nor models:/NAME@best",
    ),
    "not scored": (lambda p: (p / "holdout.json").unlink(), r"holdout\.json: no such file"),
    "scored by 0.1": (lambda p: (p / "intake.json").unlink(), r"intake\.json: no such file; delete holdout\.json"),
    "facts of something else": (
        lambda p: (p / "trial.json").write_text("{}"),
        r"trial\.json: schema None found; this version reads schema 1",
    ),
    "facts of another kind of network": (
        lambda p: (p / "trial.json").write_text((p / "trial.json").read_text().replace('"slice"', '"cube"')),
        r"trial\.json: network: kind is 'cube'; allowed: slice, volume, restoration",
    ),
    "facts of a network that cannot be": (
        lambda p: (p / "trial.json").write_text((p / "trial.json").read_text().replace('"off"', '"loud"')),
        r"trial\.json: network: attention is 'loud'; allowed: off, mean_flow, softmax, sigmoid",
    ),
    "weights missing": (lambda p: (p / "weights.safetensors").unlink(), r"weights\.safetensors: is missing"),
    "weights truncated": (_cut, r"weights\.safetensors: is truncated or no safetensors file"),
    "a pickle": (
        lambda p: (p / "weights.safetensors").write_bytes(pickle.dumps({"head.bias": 0})),
        r"weights\.safetensors: is a pickle, which can run code when read; only safetensors are read",
    ),
    "weights altered": (_other_weights, r"weights\.safetensors: digest is \w{12}; .*trial\.json says \w{12}"),
    "weights of another width": (
        _other_width,
        r"weights\.safetensors: does not fit the network: \d+ of its \d+ keys match, .* 8x3x7x7 for 4x3x7x7",
    ),
}


@pytest.mark.parametrize(("damage", "message"), CHECKPOINT_CASES.values(), ids=CHECKPOINT_CASES.keys())
def test_a_foreign_checkpoint(
    study_dir: Path,
    toy_cohort: Cohort,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    promoted = scored_folder(study_dir / "promoted", toy_cohort)
    damage(promoted)
    out = study_dir / "out"

    assert_one_line(call(capsys, "predict", promoted, study_dir / "cohort", out), message, study_dir)
    assert not out.exists()


def test_a_cohort_on_another_grid(study_dir: Path, toy_cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    promoted = scored_folder(study_dir / "promoted", toy_cohort)
    call(capsys, "phantom", study_dir / "other", "--patients", "2", "--grid", "6x16x8")

    answer = call(capsys, "predict", promoted, study_dir / "other", study_dir / "out")

    assert_one_line(answer, r"other: grid 6x16x8 at .* mm found; .*promoted\) was trained on 4x32x16", study_dir)


def test_patients_who_took_part_are_no_outside_validation(
    study_dir: Path, toy_cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted = scored_folder(study_dir / "promoted", toy_cohort)
    renamed = own_cohort(study_dir, toy_cohort)
    for how, options in (("by id", []), ("by the images, under another id", ["--ids-are-others"])):
        answer = call(capsys, "evaluate", promoted, renamed, study_dir / "out", *options)
        assert_one_line(answer, rf"60 of 60 patients were in the cohort that .* \(first toy000, {how}\)", study_dir)


PHANTOM_CASES: dict[str, tuple[list[str], str]] = {
    "a grid that is none": (["--grid", "24by48"], r"--grid is '24by48'; allowed: slices x rows x columns, such as 24x"),
    "a grid without voxels": (["--grid", "0x8x8"], r"--grid is '0x8x8'; each number must be at least 1"),
    "a grid too coarse": (["--grid", "1x8x8"], r"shape \(1, 8, 8\) found; each axis needs at least 2 voxels"),
    "unknown preset": (["--preset", "nice"], r"preset 'nice' found; allowed: easy, paper-like, hard"),
    "masks missing": (["--lesions", "nowhere"], r"nowhere: no such folder of lesion masks"),
    "no masks in the folder": (["--lesions", "."], r"\.: no \.nii or \.nii\.gz found; lesion masks in MNI space are"),
    "no patients": (["--patients", "0"], r"'--patients'.* 1; `tissueclock phantom --help` says what is allowed"),
    "an unknown option": (["--patient", "3"], r"No such option: --patient"),
}


@pytest.mark.parametrize(("options", "message"), PHANTOM_CASES.values(), ids=PHANTOM_CASES.keys())
def test_a_phantom_that_cannot_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    answer = call(capsys, "phantom", "made", "--patients", "3", "--grid", "4x8x8", *options)

    assert_one_line(answer, message, tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_phantom_into_a_folder_that_holds_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    answer = call(capsys, "phantom", tmp_path, "--patients", "3", "--grid", "4x8x8")

    assert_one_line(answer, r"exists already; a cohort is written to a new or empty folder", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_study_folder_where_a_file_is(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study_dir / "taken").write_text("mine")
    study = write_study(study_dir, name="toy")
    study.write_text(study.read_text() + "folder: taken/study\n")

    for command in ("plan", "sweep"):
        answer = call(capsys, command, study)
        assert_one_line(answer, r"taken: cannot be written; name another folder in the study", study_dir)
    assert (study_dir / "taken").read_text() == "mine"


def test_a_study_folder_that_this_user_may_not_write(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(study_dir)
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))  # root may write anywhere

    answer = call(capsys, "plan", study)

    assert_one_line(answer, rf"{re.escape(str(study_dir))}: cannot be written; name another folder", study_dir)


def test_a_disk_with_too_little_room_for_the_study(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(study_dir)
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))

    answer = call(capsys, "plan", study)

    assert_one_line(answer, r"toy: 0\.0 GB free; the study may need \d+\.\d GB", study_dir)
    assert not (study_dir / "toy").exists()


@contextlib.contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """The file system refuses to let any file grow beyond this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_while_a_cohort_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with files_of_at_most(3000):
        answer = call(capsys, "phantom", tmp_path / "made", "--patients", "3", "--grid", "4x8x8")

    assert_one_line(answer, r"made: cannot be written \(File too large\)", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_while_answers_are_written(
    study_dir: Path, toy_cohort: Cohort, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted = scored_folder(study_dir / "promoted", toy_cohort)
    out = study_dir / "out"
    out.mkdir()
    (out / "answers.tsv").write_text("what was there before\n")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    answer = call(capsys, "predict", promoted, study_dir / "cohort", out)

    assert_one_line(answer, r"disk full: \S+answers\.tsv cannot be written; make room", study_dir)
    assert (out / "answers.tsv").read_text() == "what was there before\n"


def test_a_disk_that_fills_up_where_nobody_looked(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(study_dir)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/scratch")

    monkeypatch.setattr("tissueclock.billing.bill_study", full)
    answer = call(capsys, "plan", study)

    assert_one_line(answer, r"/tmp/scratch: cannot be read or written \(No space left on device\)", study_dir)


def test_a_study_that_another_process_is_at_work_on(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(study_dir)
    (study_dir / "toy").mkdir()
    with (study_dir / "toy" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        answer = call(capsys, "sweep", study)

        assert_one_line(answer, r"toy: process 4711 is at work on this study", study_dir)
    assert [path.name for path in (study_dir / "toy").iterdir()] == ["lock"]


def test_a_lab_s_package_that_would_hide_ours(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study_dir / "lab" / "trainables").mkdir(parents=True)
    (study_dir / "lab" / "trainables" / "__init__.py").touch()
    study = write_study(study_dir, extensions="lab")

    message = r"lab/trainables/__init__\.py: hides the package trainables that is installed; remove the file"
    assert_one_line(call(capsys, "plan", study), message, study_dir)


def test_a_ray_address_where_nothing_answers(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Follower, "_follow", lambda follower: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    study = write_study(study_dir)

    answer = call(capsys, "sweep", study, "--ray-address", address)

    message = rf"Ray at {address}: nothing answers there \(.*refused\); allowed: auto, HOST:PORT .*RAY_AUTH_MODE=token"
    assert_one_line(answer, message, study_dir)
    assert not (study_dir / "toy" / "sweeps").exists()


def test_a_ray_address_that_is_none(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Follower, "_follow", lambda follower: None)
    study = write_study(study_dir)
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")

    answer = call(capsys, "sweep", study)

    message = r"Ray at nonsense \(RAY_ADDRESS\): no cluster lets us in \(Invalid address format: nonsense\); allowed:"
    assert_one_line(answer, message, study_dir)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report", r"toy: nothing was started yet; run tissueclock sweep .*study\.yaml first"),
        ("ui", r"toy/mlflow\.db: nothing is logged yet; run tissueclock sweep .*study\.yaml first"),
    ],
)
def test_a_study_that_was_never_started(
    study_dir: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    study = write_study(study_dir)

    assert_one_line(call(capsys, command, study), message, study_dir)
    assert not (study_dir / "toy").exists()


def test_a_name_with_marks_in_it_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    answer = call(capsys, "plan", "[red]a:warning:[/b] study.yaml")

    assert_one_line(answer, re.escape("error: [red]a:warning:[/b] study.yaml: cannot be read"), tmp_path)


def test_a_process_of_its_own_says_the_same(study_dir: Path) -> None:
    changes, message = STUDY_CASES["unknown key"]

    done = run("plan", write_study(study_dir, **changes), cwd=study_dir)

    assert_one_line(Answer(done.returncode, done.stdout, done.stderr), message, study_dir)
    assert done.stdout.strip() == ""
