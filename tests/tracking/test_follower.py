import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils as mlflow_utils

from tests.tracking.synthetic import SyntheticSweep
from tests.tracking.trackers import WRITES, Store, Tampered, follow
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking import follower as follower_module
from tissueclock.tracking.connection import open_client
from tissueclock.tracking.follower import Follower


def write_sweep(folder: StudyFolder) -> SyntheticSweep:
    """Three trials that ended in three ways, two of them promoted."""
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.run("t0001", auc=0.8)
    sweep.run("t0002", epochs=2, status="pruned")
    sweep.run("t0003", epochs=1, status="failed", error="ValueError: boom")
    sweep.promote(1, "t0001", digest="d1" * 32, value=0.83, holdout=0.79)
    sweep.promote(2, "t0002", digest="d2" * 32, value=0.72, holdout=0.7)
    sweep.close()
    return sweep


def test_runs_are_nested_study_sweep_trial(folder: StudyFolder) -> None:
    write_sweep(folder)
    assert follow(folder) == 0
    store = Store(folder)
    study, sweep, trial = store.named("toy"), store.named("detection (a)"), store.named("detection t0001")
    assert "mlflow.parentRunId" not in study.data.tags
    assert sweep.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert trial.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert len(store.runs) == 5


def test_every_epoch_is_a_step_and_every_hyperparameter_a_parameter(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    store = Store(folder)
    assert store.steps("detection t0001") == [1, 2, 3]
    trial = store.named("detection t0001")
    assert trial.data.metrics["val_auc"] == pytest.approx(0.83)
    assert trial.data.params == {"lr": "0.001", "log10_lr": "-3.0", "freeze_depth": "1", "use_attention": "False"}
    sweep = store.named("detection (a)").data
    assert {name: sweep.metrics[name] for name in ("n_finished", "n_pruned", "n_failed", "best_value")} == {
        "n_finished": 1,
        "n_pruned": 1,
        "n_failed": 1,
        "best_value": pytest.approx(0.83),
    }
    assert sweep.metrics["holdout_auc"] == 0.79  # of the best rank, though the second was promoted after it
    assert (sweep.tags["split"], sweep.tags["env.torch"]) == ("5a" * 32, "2.13.0")


def test_a_trial_ends_as_its_ledger_says(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    found = {
        run.info.run_name: (run.info.status, run.data.tags["status"], run.data.tags.get("error"))
        for run in Store(folder).runs
        if "t00" in run.info.run_name
    }
    assert found == {
        "detection t0001": ("FINISHED", "finished", ""),
        "detection t0002": ("FINISHED", "pruned", ""),
        "detection t0003": ("FAILED", "failed", "ValueError: boom"),
    }


def test_the_cohort_is_the_input_of_the_sweep(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    follow(folder)
    (found,) = Store(folder).named("detection (a)").inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("toy cohort", "c0" * 6)


def test_a_second_follower_finds_everything_and_writes_nothing(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    before, writes = Store(folder).summary(), []

    def count(name: str, call: Callable[[], Any]) -> Any:
        writes.append(name)
        return call()

    assert follow(folder, make_client=lambda uri: Tampered(open_client(uri), count)) == 0
    assert Store(folder).summary() == before
    # the study's run goes on and ends again, and its two files are sent again
    assert sorted(set(writes) & {"create_run", "create_model_version", "create_logged_model", "log_inputs"}) == []
    assert writes.count("log_batch") == 2


@pytest.mark.parametrize("n_writes", [1, 7, 18, 28])
def test_a_driver_killed_after_any_write_leaves_nothing_doubled(
    folder: StudyFolder, n_writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_CLOSING_PAUSE_S", 0.0)
    write_sweep(folder)
    done = 0

    def die(name: str, call: Callable[[], Any]) -> Any:
        nonlocal done
        if name in WRITES:
            done += 1
            if done > n_writes:
                call()  # it reached the server; the driver never hears of it
                raise MlflowException("killed")
        elif done > n_writes:
            raise MlflowException("killed")
        return call()

    assert follow(folder, make_client=lambda uri: Tampered(open_client(uri), die)) > 0
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder)
    follower.start()
    assert (follower.stop(timeout_s=30), follower.fault) == (0, None)
    store = Store(folder)
    expected = {"toy": [], "detection (a)": [0, 0], "detection t0001": [1, 2, 3], "detection t0002": [1, 2]}
    assert {name: steps for name, (_, _, _, steps) in store.summary().items()} == {
        **expected,
        "detection t0003": [1],
    }
    assert {run.info.status for run in store.runs} == {"FINISHED", "FAILED"}
    assert len(store.client.search_model_versions("name = 'tissueclock.toy.detection'")) == 2
    assert len(store.client.search_logged_models(["1"])) == 2


def test_a_tracker_that_goes_away_is_caught_up_with(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_FIRST_PAUSE_S", 0.02)
    sweep = SyntheticSweep(folder, "detection-1")
    is_away = False

    def answer(name: str, call: Callable[[], Any]) -> Any:
        if is_away:
            raise ConnectionError("connection refused")
        return call()

    follower = Follower(
        uri=folder.default_tracking_uri,
        study="toy",
        folder=folder,
        make_client=lambda uri: Tampered(open_client(uri), answer),
        poll_s=0.01,
    )
    follower.start()
    sweep.ask("t0001")
    sweep.report("t0001", 1)
    _wait_until(lambda: any(run.info.run_name == "detection t0001" for run in Store(folder).runs))
    is_away = True
    sweep.report("t0001", 2)
    _wait_until(lambda: follower.fault is not None)
    assert follower.fault == "connection refused"
    sweep.report("t0001", 3)
    is_away = False
    _wait_until(lambda: follower.fault is None)
    sweep.end("t0001")
    sweep.close()
    assert follower.stop(timeout_s=30) == 0
    assert Store(folder).steps("detection t0001") == [1, 2, 3]


def test_a_sweep_does_not_wait_for_the_tracker(folder: StudyFolder) -> None:
    swept = threading.Event()
    waited: list[bool] = []

    def connector(uri: str) -> Any:
        waited.append(swept.wait(60))
        return open_client(uri)

    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder, make_client=connector, poll_s=0.01)
    follower.start()
    write_sweep(folder)
    swept.set()
    assert follower.stop(timeout_s=30) == 0
    assert waited == [True]


def test_a_closed_port_is_told_with_what_is_not_logged(folder: StudyFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    follower = Follower(uri=f"http://127.0.0.1:{port}", study="toy", folder=folder)
    follower.start()
    sweep = write_sweep(folder)
    n_lines = sweep.state.n_lines
    assert follower.stop(timeout_s=20) >= n_lines
    assert follower.fault == f"no MLflow server answers at http://127.0.0.1:{port}"


def test_a_follower_that_never_started_stops(folder: StudyFolder) -> None:
    sweep = write_sweep(folder)
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder)
    assert follower.stop(timeout_s=1) == sweep.state.n_lines


def test_reports_that_wait_are_sent_in_one_batch(folder: StudyFolder) -> None:
    write_sweep(folder)
    batches = []

    def count(name: str, call: Callable[[], Any]) -> Any:
        batches.append(name)
        return call()

    follow(folder, make_client=lambda uri: Tampered(open_client(uri), count))
    # three trials, the sweep's summary, two models, the status of the study when it ended
    assert batches.count("log_batch") == 7


def test_an_interrupted_study_is_killed_and_goes_on_as_the_same_runs(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.ask("t0001")
    sweep.report("t0001", 1)
    follow(folder, status="interrupted")
    store = Store(folder)
    assert {run.info.status for run in store.runs} == {"KILLED"}
    assert store.named("detection t0001").data.tags["status"] == "interrupted"
    ids = {run.info.run_id for run in store.runs}
    sweep.report("t0001", 2)
    sweep.end("t0001")
    sweep.close()
    follow(folder)
    assert {run.info.run_id for run in store.runs} == ids
    assert {run.info.status for run in store.runs} == {"FINISHED"}
    assert store.steps("detection t0001") == [1, 2]


def test_a_retried_trial_has_a_run_of_its_own_and_the_failed_one_is_superseded(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.run("t0001", epochs=2, status="failed", error="boom", auc=0.9)
    follow(folder)
    time.sleep(0.002)  # another millisecond
    sweep.append("retried", trial="t0001")
    sweep.report("t0001", 1, auc=0.5)
    sweep.end("t0001")
    sweep.close()
    follow(folder)
    runs = {run.data.tags["status"]: run for run in Store(folder).runs if run.info.run_name == "detection t0001"}
    assert set(runs) == {"superseded", "finished"}
    assert runs["superseded"].data.tags["error"] == "boom"
    assert (runs["finished"].data.metrics["val_auc"], runs["finished"].data.tags["error"]) == (0.51, "")
    assert Store(folder).named("detection (a)").data.metrics["best_value"] == 0.51


def test_two_runs_of_one_trial_become_one_and_the_first_stays(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    store = Store(folder)
    first = store.named("detection t0002")
    store.client.create_run(first.info.experiment_id, first.info.start_time + 1, first.data.tags)
    follow(folder)
    assert store.named("detection t0002").info.run_id == first.info.run_id
    assert len(store.runs) == 5


def test_a_run_that_a_person_deleted_stays_deleted(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    store = Store(folder)
    store.client.delete_run(store.named("detection t0003").info.run_id)
    assert follow(folder) == 0
    assert len(store.runs) == 4


def test_two_studies_of_one_name_share_a_server_and_nothing_else(folder: StudyFolder, tmp_path: Any) -> None:
    other = StudyFolder(tmp_path / "other")
    other.path.mkdir()
    for one in (folder, other):
        SyntheticSweep(one, "detection-1").run("t0001")
        follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=one, poll_s=0.01)
        follower.start()
        assert follower.stop(timeout_s=30) == 0
    assert sorted(run.info.run_name for run in Store(folder).runs) == sorted(
        2 * ["toy", "detection (a)", "detection t0001"]
    )


def test_one_refused_trial_does_not_hold_up_the_others(folder: StudyFolder) -> None:
    sweep = write_sweep(folder)
    n_batches = 0

    def refuse(name: str, call: Callable[[], Any]) -> Any:
        nonlocal n_batches
        n_batches += name == "log_batch"
        if name == "log_batch" and n_batches == 3:  # the sweep's, t0001's, t0002's
            raise MlflowException.invalid_parameter_value("a parameter is too long")
        return call()

    follower = Follower(
        uri=folder.default_tracking_uri,
        study="toy",
        folder=folder,
        make_client=lambda uri: Tampered(open_client(uri), refuse),
        poll_s=0.01,
    )
    follower.start()
    assert follower.stop(timeout_s=30) == 5  # the lines of t0002
    assert follower.fault == "not accepted: a parameter is too long"
    assert Store(folder).steps("detection t0003") == [1]
    assert sweep.state.closed


def test_a_deleted_experiment_is_told_with_its_remedy(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    Store(folder).client.delete_experiment("1")
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder)
    follower.start()
    follower.stop(timeout_s=30)
    assert follower.fault is not None
    assert follower.fault.startswith("experiment 'toy' was deleted on the tracker; restore it")


def test_a_sweep_that_the_study_no_longer_has_does_not_run(folder: StudyFolder) -> None:
    SyntheticSweep(folder, "detection-1").ask("t0001")
    folder.graph.write_text('{"sweeps": {"tss_3h-2": {}}}')
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder, poll_s=0.01)
    follower.start()
    _wait_until(lambda: len(Store(folder).runs) == 3)
    _wait_until(lambda: Store(folder).named("detection (a)").info.status == "KILLED")
    assert Store(folder).named("toy").info.status == "RUNNING"
    follower.stop(timeout_s=30)


def test_the_report_is_an_artifact_of_the_study(folder: StudyFolder) -> None:
    write_sweep(folder)
    folder.report.mkdir()
    (folder.report / "report.html").write_text("<p>report</p>")
    follower = Follower(uri=folder.default_tracking_uri, study="toy", folder=folder, poll_s=0.01)
    follower.start()
    follower.log_report(folder.report)
    assert follower.stop(timeout_s=30) == 0
    store = Store(folder)
    found = [item.path for item in store.client.list_artifacts(store.named("toy").info.run_id, "report")]
    assert found == ["report/report.html"]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sweep_that_was_deleted_and_run_again_has_runs_of_its_own(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder, status="interrupted")
    before = {run.info.run_id for run in Store(folder).runs if run.info.run_name != "toy"}
    shutil.rmtree(folder.sweep("detection-1").path)
    time.sleep(0.002)  # another millisecond
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.ask("t0001", lr=0.5)
    sweep.report("t0001", 1, auc=0.59)
    sweep.end("t0001")
    follow(folder)

    ours = [run for run in Store(folder).runs if "tissueclock.superseded" not in run.data.tags]
    assert {run.info.run_name for run in ours} == {"toy", "detection (a)", "detection t0001"}
    trial = next(run for run in ours if run.info.run_name == "detection t0001")
    assert (trial.data.params["lr"], trial.data.metrics["val_auc"]) == ("0.5", 0.6)
    superseded = [run for run in Store(folder).runs if run.info.run_id in before]
    old = {run.info.run_name: run.data.tags["status"] for run in superseded}
    assert (old["detection (a)"], old["detection t0001"]) == ("superseded", "superseded")


@pytest.mark.parametrize("change", ["moved", "copied"])
def test_artifacts_follow_a_study_folder(folder: StudyFolder, change: str) -> None:
    write_sweep(folder)
    follow(folder)
    elsewhere = StudyFolder(folder.path.with_name("elsewhere"))
    (shutil.move if change == "moved" else shutil.copytree)(folder.path, elsewhere.path)
    mlflow_utils._artifact_repos_cache.clear()  # as in a process of its own
    was_there = sorted(folder.path.rglob("*"))
    (elsewhere.path / "report").mkdir()
    (elsewhere.path / "report" / "index.html").write_text("<p>")

    follower = Follower(uri=elsewhere.default_tracking_uri, study="toy", folder=elsewhere, poll_s=0.01)
    follower.start()
    follower.log_report(elsewhere.report)
    assert follower.stop(timeout_s=60) == 0

    assert sorted(folder.path.rglob("*")) == was_there, "the old place is left alone"
    study = Store(elsewhere).named("toy")
    assert Path(study.info.artifact_uri.removeprefix("file://"), "report", "index.html").is_file()
    assert str(elsewhere.path) in study.info.artifact_uri
    model = Store(elsewhere).client.search_logged_models(["1"])[0]
    assert Path(model.artifact_location.removeprefix("file://"), "weights.safetensors").is_file()
    assert str(elsewhere.path) in model.artifact_location


def test_a_damaged_identity_is_put_aside_and_all_is_logged_anew(folder: StudyFolder) -> None:
    write_sweep(folder)
    follow(folder)
    folder.tracking.write_text('{"schema"')
    assert follow(folder) == 0
    assert folder.tracking.with_suffix(".damaged").is_file()
    assert sum(run.info.run_name == "toy" for run in Store(folder).runs) == 2
