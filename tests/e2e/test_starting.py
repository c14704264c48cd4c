"""A first study: `init` writes it, `explain` says what its words mean."""

import re
from pathlib import Path

import pytest

from tests.e2e.commands import run
from tests.e2e.in_process import call
from tests.toy import write_toy_cohort

pytestmark = pytest.mark.e2e


def test_init_writes_a_study_that_plan_accepts(study_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_dir / "first.yaml"

    written = call(capsys, "init", study_dir / "cohort", study)
    planned = call(capsys, "plan", study)

    assert (written.code, planned.code) == (0, 0), planned.err
    assert f"next: tissueclock plan {study}" in written.out
    assert "Nothing is wrong" in planned.out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["cohort", "there.yaml"], "there.yaml: is there already, and stays as it is; name another file"),
        (["cohort", "study.txt"], "study.txt: a study file ends with .yaml"),
        (["cohort", "study.yaml", "--arms", "all"], "--arms is 'all'; allowed: quick, paper, table2"),
        (["nowhere", "study.yaml"], "nowhere/cohort.json"),
        (["cohort", f"{'x' * 300}.yaml"], "File name too long"),
    ],
)
def test_what_is_wrong_with_init_is_a_line(
    study_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(study_dir)
    (study_dir / "there.yaml").write_text("mine")

    answer = call(capsys, "init", *arguments)

    assert answer.code == 2
    assert line in " ".join(answer.lines)
    assert (study_dir / "there.yaml").read_text() == "mine"
    assert not (study_dir / "study.yaml").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tss_3h", r"phase tss_3h \(onset < 3 h\): .*networks: slice, volume, voxel.*freeze_depth"),
        ("voxel_onset", "search space voxel_onset: .*tuned.*within.*why"),
        ("slice", "network of kind slice: .*attn_level.*three readings.*slice_pooling.*noisy_or"),
        ("lr", "hyperparameter lr: .*default 0.001.*detection: 0.0003 to 0.01, by its logarithm. AdaBound's first"),
        ("trials", "sweep.trials.*24.*Trials asked for"),
        ("sweep.scheduler.grace_epochs", "No trial is stopped before this epoch"),
        ("width", "setting of a network of kind slice.*width.*setting of a network of kind voxel"),
        ("sweep", "sweep.trials.*sweep.epochs"),
        (" lr ", "hyperparameter lr"),
        ("attention", "phase attention .*search space attention.*hyperparameter attention"),
    ],
)
def test_explain_says_what_a_word_means(capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    answer = call(capsys, "explain", name)

    assert answer.code == 0, answer.err
    assert re.search(said, " ".join(answer.out.replace("│", " ").split())), answer.out


def test_explain_lists_all_that_can_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "explain")

    for word in ("phases:", "tss_4h5", "voxel_detection", "radiomics", "freeze_depth", "budget_h"):
        assert word in answer.out


def test_explain_of_a_word_that_is_none_says_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "explain", "freezedepth")

    assert answer.code == 2
    assert (
        "explain freezedepth: no phase, space, network, hyperparameter or key of that name; near it: freeze_depth"
        in (" ".join(answer.lines))
    )


def test_a_lab_s_phase_is_explained_too(tmp_path: Path) -> None:
    """In a process of its own: a lab's folder stays on the import path."""
    lab = Path(__file__).parents[2] / "infra" / "lab_example"

    done = run("explain", "tss_6h", "--extensions", lab, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "onset < 6 h" in done.stdout


def test_a_cohort_that_plan_would_refuse_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toy_cohort(tmp_path / "cohort", n_patients=14)

    answer = call(capsys, "init", tmp_path / "cohort", tmp_path / "study.yaml")

    assert answer.code == 2
    assert "both classes are needed in each split and fold" in " ".join(answer.lines)
    assert not (tmp_path / "study.yaml").exists()
