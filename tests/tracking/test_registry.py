import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.wrong_places import scored_folder
from tests.tracking.synthetic import SyntheticSweep
from tests.tracking.trackers import Store, follow
from tissueclock.answering.model import model_of_checkpoint
from tissueclock.cohort.store import Cohort
from tissueclock.errors import InputError
from tissueclock.storage.folders import PromotedFolder, StudyFolder
from tissueclock.tracking.download import fetch_model
from tissueclock.tracking.follower import Follower
from tissueclock.tracking.unnamed import unnamed_files
from tissueclock.training.intake import digest_id

NAME = "tissueclock.toy.detection"


def promoted_sweep(folder: StudyFolder, name: str = "detection-1", *, value: float = 0.8) -> SyntheticSweep:
    sweep = SyntheticSweep(folder, name)
    sweep.run("t0001")
    sweep.promote(1, "t0001", digest=name * 4, value=value, holdout=value - 0.1)
    sweep.close()
    return sweep


def test_a_promoted_checkpoint_is_a_model_a_version_and_the_best(folder: StudyFolder) -> None:
    promoted_sweep(folder)
    follow(folder)
    store = Store(folder)
    best = store.client.get_model_version_by_alias(NAME, "best")
    model = store.client.get_logged_model(best.tags["model_id"])
    assert str(model.status) == "READY"
    assert model.source_run_id == best.run_id == store.named("detection t0001").info.run_id
    assert {metric.key: metric.value for metric in model.metrics}["holdout_auc"] == 0.8 - 0.1
    assert model.params["log10_lr"] == "-3.0"
    files = {item.path for item in store.client.list_logged_model_artifacts(model.model_id)}
    assert files == {"weights.safetensors", "trial.json", "holdout.json"}


def test_a_registered_model_is_fetched_with_the_files_of_its_checkpoint(folder: StudyFolder, tmp_path: Path) -> None:
    promoted_sweep(folder)
    follow(folder)
    for uri in (f"models:/{NAME}@best", f"models:/{NAME}/1"):
        fetched = fetch_model(uri, folder.default_tracking_uri, tmp_path / "model")
        assert {path.name for path in fetched.iterdir()} == {"weights.safetensors", "trial.json", "holdout.json"}
    for uri, message in (
        (f"models:/{NAME}", "allowed: models:/NAME@ALIAS"),
        ("models:/other@best", "does not give it"),
    ):
        with pytest.raises(InputError, match=message):
            fetch_model(uri, folder.default_tracking_uri, tmp_path / "model")


def test_running_again_registers_nothing_twice(folder: StudyFolder) -> None:
    promoted_sweep(folder)
    follow(folder)
    follow(folder)
    assert [version.version for version in Store(folder).client.search_model_versions(f"name = '{NAME}'")] == [1]


def test_the_alias_moves_to_a_better_checkpoint_of_any_sweep_of_the_phase(folder: StudyFolder) -> None:
    promoted_sweep(folder, value=0.7)
    follow(folder)
    promoted_sweep(folder, "detection-2", value=0.9)
    promoted_sweep(folder, "detection-3", value=0.8)
    follow(folder)
    best = Store(folder).client.get_model_version_by_alias(NAME, "best")
    assert best.tags["sweep"] == "detection-2"


def test_a_sweep_that_the_study_no_longer_has_is_not_the_best(folder: StudyFolder) -> None:
    promoted_sweep(folder, value=0.9)
    promoted_sweep(folder, "detection-2", value=0.7)
    folder.graph.write_text('{"sweeps": {"detection-2": {}}}')
    follow(folder)
    assert Store(folder).client.get_model_version_by_alias(NAME, "best").tags["sweep"] == "detection-2"


def test_a_checkpoint_that_gave_way_is_not_the_best_however_good_it_looked(folder: StudyFolder) -> None:
    sweep = promoted_sweep(folder, value=0.9)
    follow(folder)
    sweep.append("reopened")
    sweep.run("t0002", auc=0.8)
    for i, (name, value) in enumerate((("t0001", 0.6), ("t0002", 0.75)), start=1):
        again = {"trial": f"{name}c1", "confirms": name, "hyperparameters": {}, "seed": i}
        sweep.append("asked", **again)
        sweep.append("reported", trial=f"{name}c1", epoch=1, metrics={"best_value": value})
        sweep.append("ended", trial=f"{name}c1", status="finished")
    sweep.promote(1, "t0002", digest="new" * 8, value=0.8, holdout=0.7)
    sweep.close()

    follow(folder)

    best = Store(folder).client.get_model_version_by_alias(NAME, "best")
    assert best.tags["trial"] == "t0002"
    assert float(best.tags["best_value"]) == 0.75


def test_a_checkpoint_promoted_after_reopening_is_another_version(folder: StudyFolder) -> None:
    sweep = promoted_sweep(folder)
    follow(folder)
    sweep.append("reopened")
    sweep.run("t0002", auc=0.9)
    sweep.promote(1, "t0002", digest="new" * 8, value=0.93, holdout=0.85)
    sweep.promote(2, "t0001", digest="detection-1" * 4, value=0.8, holdout=0.7)
    sweep.close()
    follow(folder)
    store = Store(folder)
    versions = store.client.search_model_versions(f"name = '{NAME}'")
    assert sorted(version.tags["trial"] for version in versions) == ["t0001", "t0002"]
    assert store.client.get_model_version_by_alias(NAME, "best").tags["trial"] == "t0002"
    assert store.named("detection (a)").data.metrics["holdout_auc"] == 0.85


def test_weights_that_are_gone_are_told_and_hold_up_nothing_else(folder: StudyFolder) -> None:
    sweep = promoted_sweep(folder)
    shutil.rmtree(sweep.folder.promoted(1).path)
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder)
    follower.start()
    assert follower.stop(timeout_s=30) > 0
    assert follower.fault is not None
    assert "promoted/1/trial.json" in follower.fault
    assert {run.info.status for run in Store(folder).runs} == {"FINISHED"}


def test_a_namesake_from_another_study_folder_is_left_alone(folder: StudyFolder) -> None:
    store = Store(folder)
    store.client.create_registered_model(NAME, tags={"tissueclock.study_id": "someone else's"})
    promoted_sweep(folder)
    follow(folder)
    names = sorted(model.name for model in store.client.search_registered_models())
    assert names[0] == NAME
    assert names[1].startswith(f"{NAME}.")
    assert store.client.search_model_versions(f"name = '{NAME}'") == []


def test_what_goes_to_the_tracker_names_nobody_and_answers_as_before(toy_cohort: Cohort, tmp_path: Path) -> None:
    promoted = PromotedFolder(scored_folder(tmp_path / "promoted", toy_cohort))
    (tmp_path / "sent").mkdir()
    facts = json.loads(promoted.intake.read_text())
    facts |= {"preprocessing": {"reference": "sub-toy007"}, "histogram": {"subject": "sub-toy007", "quantiles": {}}}
    promoted.intake.write_text(json.dumps(facts))

    sent = list(unnamed_files(promoted, tmp_path / "sent"))

    kept = {"weights.safetensors", "trial.json"}
    assert {path.name for path in sent} == {*kept, "holdout.json", "holdout.tsv", "validation.tsv", "intake.json"}
    (tmp_path / "model").mkdir()
    for path in sent:
        assert path.name in kept or "toy0" not in path.read_text(), path.name
        shutil.copy(path, tmp_path / "model")
    own, other = model_of_checkpoint(promoted), model_of_checkpoint(PromotedFolder(tmp_path / "model"))
    assert own.side_temperature == other.side_temperature
    assert own.detection is not None
    assert other.detection is not None
    assert own.detection.judges.credibility(np.array([0.3])) == other.detection.judges.credibility(np.array([0.3]))
    assert own.intake.knows("toy000", "") == "by id"
    assert other.intake.knows("toy000", "") is None
    assert other.intake.knows("x", own.intake.patients[digest_id("toy000")]) == "by the images, under another id"
