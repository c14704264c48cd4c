"""The study file: what arms share, and what makes a sweep another one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tissueclock.errors import StudyError
from tissueclock.study import Study, read_study


def study(folder: Path, /, **changes: Any) -> Study:
    facts: dict[str, Any] = {
        "name": "s",
        "seed": 1,
        "cohort": "cohort",
        "networks": {"slice": {"width": 8}},
        "arms": {
            "chain": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}},
            "scratch": {"network": "slice", "phases": {"tss_3h": "random"}},
        },
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**facts, **changes}, sort_keys=False))
    return read_study(file)


def test_arms_that_agree_up_to_a_phase_share_its_sweep(tmp_path: Path) -> None:
    two_arms = {
        "short": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous"}},
        "long": {"network": "slice", "phases": {"detection": "random", "tss_3h": "previous", "tss_4h5": "previous"}},
    }

    read = study(tmp_path, arms=two_arms)

    assert len(read.vertices) == 3
    assert read.arms["long"][:2] == read.arms["short"]
    assert read.vertices[read.arms["short"][0]].arms == ("short", "long")


def test_first_weights_and_what_lies_before_make_another_sweep(tmp_path: Path) -> None:
    read = study(tmp_path)

    assert len(read.vertices) == 3
    chain, scratch = (read.vertices[read.arms[arm][-1]] for arm in ("chain", "scratch"))
    assert chain.phase == scratch.phase == "tss_3h"
    assert chain.inputs.upstream == read.arms["chain"][0]
    assert scratch.inputs.upstream is None


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"sweep": {"trials": 99}}, True),
        ({"sweep": {"gpus_per_trial": 0.5}}, True),
        ({"sweep": {"time_budget_min": 5}}, True),
        ({"sweep": {"epochs": 7}}, False),
        ({"sweep": {"folds": 5}}, False),
        ({"sweep": {"fix": {"lr": 0.001}}}, False),
        ({"sweep": {"narrow": {"lr": [1e-4, 1e-3]}}}, False),
        ({"seed": 2}, False),
        ({"networks": {"slice": {"width": 16}}}, False),
    ],
)
def test_how_much_is_wanted_continues_a_sweep_and_what_a_trial_means_starts_another(
    tmp_path: Path, changes: dict[str, Any], same: bool
) -> None:
    assert (set(study(tmp_path).vertices) == set(study(tmp_path, **changes).vertices)) is same


def test_a_phase_overrides_single_settings_and_joins_what_is_fixed(tmp_path: Path) -> None:
    read = study(
        tmp_path,
        sweep={"trials": 5, "fix": {"batch_size": 8}},
        phases={"detection": {"trials": 3, "fix": {"lr": 0.001}}},
    )

    detection = read.vertices[read.arms["chain"][0]]
    assert (detection.budget.trials, detection.inputs.fix) == (3, {"batch_size": 8, "lr": 0.001})
    assert read.vertices[read.arms["scratch"][0]].budget.trials == 5


def test_a_phase_has_the_last_word_on_what_is_pinned_and_what_is_narrowed(tmp_path: Path) -> None:
    read = study(
        tmp_path,
        sweep={"fix": {"batch_size": 8}, "narrow": {"lr": [1e-4, 1e-3], "gamma": [1e-3, 1e-2]}},
        phases={"detection": {"fix": {"lr": 0.001}, "narrow": {"batch_size": [8, 16]}}},
    )

    detection, onset = (read.vertices[name].inputs for name in read.arms["chain"])
    assert (detection.fix, detection.narrow) == ({"lr": 0.001}, {"gamma": (1e-3, 1e-2), "batch_size": (8, 16)})
    assert (onset.fix, onset.narrow) == ({"batch_size": 8}, {"lr": (1e-4, 1e-3), "gamma": (1e-3, 1e-2)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "three"}, r"seed is 'three' \(str\); input should be a valid integer"),
        (
            {"networks": {"slice": {"kind": "cube"}}},
            r"networks\.slice\.kind is cube; allowed: 'slice', 'volume', 'voxel'",
        ),
        (
            {"networks": {"slice": {"kind": "voxel", "stem_stride": 1}}},
            r"networks\.slice\.stem_stride is not a setting of a network of",
        ),
        (
            {"networks": {"slice": {"inputs": ["mirror"]}}},
            r"networks\.slice: inputs is read with readout attended only",
        ),
        (
            {"networks": {"slice": {"kind": "voxel", "inputs": ["b0", "b0"]}}},
            r"networks\.slice: inputs names one twice",
        ),
        ({"networks": {"slice": {"width": 6}}}, r"networks\.slice\.width is 6 \(int\); .*multiple of 4"),
        (
            {"sweep": {"time_budget_min": "1e2"}},
            r"sweep\.time_budget_min is '1e2' \(str\).*only with a point and a sign: write 1\.0e\+2",
        ),
        (
            {"sweep": {"narrow": {"lr": [1e-4]}}},
            r"sweep\.narrow\.lr is \[0.0001\] \(list\); allowed: a list of a least and a largest number",
        ),
        (
            {"phases": {"tss_3h": {"fix": 5}}, "sweep": {"narrow": {"lr": [1e-4, 1e-3]}}},
            r"phases\.tss_3h\.fix is 5 \(int\)",
        ),
        ({"sweep": {"narrow": {"lr": 1e-4}}}, r"sweep\.narrow\.lr is 0.0001 \(float\)"),
        (
            {"sweep": {"fix": {"lr": 1e-4}, "narrow": {"lr": [1e-4, 1e-3]}}},
            "sweep: lr stands under fix and under narrow; what is pinned is not searched",
        ),
        ({"sweep": {"fix": {"lr": "1e-4"}}}, r"sweep\.fix\.lr is '1e-4' \(str\); .*: write 1\.0e-4"),
        ({"phases": {"detection": {"fix": {"lr": "-25E6"}}}}, r"phases\.detection\.fix\.lr is .*: write -25\.0e\+6"),
        ({"sweep": {"fix": {"lr": "0.01"}}}, r"sweep\.fix\.lr is '0\.01' \(str\); .*; without quotes it is a number"),
        ({"cohort": "~nobody_here/c"}, r"cohort is '~nobody_here/c' \(str\); no home folder of ~nobody_here is known"),
        (
            {"tracking": {"uri": "sqlite:///~nobody_here/c"}},
            r"tracking\.uri is .*no home folder of ~nobody_here is known",
        ),
        (
            {"tracking": {"uri": "sqlite:///:memory:"}},
            r"tracking\.uri is .*gone with the command; allowed: sqlite:///FILE",
        ),
        (
            {"sweep": {"searcher": "bayes"}},
            r"sweep\.searcher is 'bayes' \(str\); input should be 'tpe', 'random' or 'grid'",
        ),
        (
            {"sweep": {"gpus_per_trial": 1.5}},
            r"sweep: gpus_per_trial above 1 must be a whole number for each of 1 workers",
        ),
        ({"arms": {}}, "arms is {}"),
        (
            {"phases": {"detection": {"gpus_per_trial": 1.5}}},
            r"phases\.detection: gpus_per_trial above 1 must be a whole number",
        ),
        (
            {"arms": {"a": {"network": "volume", "phases": {"detection": "random"}}}},
            r"arms\.a\.network is 'volume'; networks has slice",
        ),
        (
            {"arms": {"a": {"network": "slice", "phases": {"detection": "previous"}}}},
            r"arms\.a\.phases\.detection is 'previous', but no phase is before it; allowed: random",
        ),
        (
            {"phases": {"tss_3h": {"folds": 3}}},
            r"phase tss_3h has folds 3, but detection, which it starts from, has 1",
        ),
        ({"phases": {"attention": {"trials": 3}}}, r"phases\.attention is set, but no arm trains that phase"),
        ({"phases": {"detection": {"trails": 3}}}, r"phases\.detection\.trails is not a key"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=rf"study\.yaml: {message}"):
        study(tmp_path, **changes)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: a\nseed: 1\nseed: 2\n")

    with pytest.raises(StudyError, match=r"study\.yaml, line 3: not YAML \('seed' stands twice\)"):
        read_study(file)


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    read = study(
        tmp_path,
        cohort="~/cohort",
        folder="~/out",
        extensions="~/lab",
        trunks={"folder": "~/trunks"},
        tracking={"uri": "sqlite:///~/runs.db"},
        weights={"imagenet": {"file": "~/w.pt"}},
        arms={"a": {"network": "slice", "phases": {"detection": "imagenet"}}},
    )

    (spec,) = read.vertices.values()
    assert spec.inputs.weights_file
    found = (read.cohort, read.folder.path, read.extensions, spec.trunks.folder, spec.inputs.weights_file.path)
    assert [str(path) for path in found] == [f"/home/ann/{name}" for name in ("cohort", "out", "lab", "trunks", "w.pt")]
    assert read.tracking_uri == "sqlite:////home/ann/runs.db"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("sqlite:///runs.db", "sqlite:///{}/runs.db"),
        ("sqlite+pysqlite:///deep/runs.db?timeout=9", "sqlite+pysqlite:///{}/deep/runs.db?timeout=9"),
        ("sqlite:////abs/runs.db", "sqlite:////abs/runs.db"),
        ("http://tracker:5000", "http://tracker:5000"),
        ("postgresql:///runs", "postgresql:///runs"),
        (None, "sqlite:///{}/s/mlflow.db"),
    ],
)
def test_a_database_file_is_relative_to_the_study_file(tmp_path: Path, said: str | None, meant: str) -> None:
    assert study(tmp_path, tracking={"uri": said}).tracking_uri == meant.format(tmp_path)
