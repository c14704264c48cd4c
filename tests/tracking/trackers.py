"""Trackers that answer like the real one, until they do not; and what a tracker holds, read by MLflow itself."""

from collections.abc import Callable
from typing import Any

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.connection import open_client
from tissueclock.tracking.follower import Follower

WRITES = (
    "create_run",
    "log_batch",
    "set_terminated",
    "update_run",
    "log_inputs",
    "set_tag",
    "create_logged_model",
    "log_model_artifact",
    "log_outputs",
    "finalize_logged_model",
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "log_artifact",
    "log_artifacts",
)


class Tampered:
    """A client whose calls go through `tamper(name, call)`; counts the writes."""

    def __init__(self, client: Any, tamper: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._client = client
        self._tamper = tamper

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._tamper(name, lambda: method(*args, **kwargs))


def follow(folder: StudyFolder, *, status: str = "finished", make_client: Any = open_client, **options: Any) -> int:
    """A follower's whole life; returns how many lines it left behind."""
    follower = Follower(
        uri=folder.default_tracking_uri, study="toy", folder=folder, make_client=make_client, poll_s=0.01, **options
    )
    follower.start()
    return follower.stop(timeout_s=60, status=status)  # type: ignore[arg-type]


class Store:
    """What is in a study folder's store."""

    def __init__(self, folder: StudyFolder) -> None:
        self.client = MlflowClient(folder.default_tracking_uri, registry_uri=folder.default_tracking_uri)

    @property
    def runs(self) -> list[Run]:
        """Every run that is not deleted."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, run_view_type=ViewType.ACTIVE_ONLY, max_results=1000))

    def named(self, name: str) -> Run:
        """The one run of this name."""
        (run,) = [run for run in self.runs if run.info.run_name == name]
        return run

    def steps(self, name: str, metric: str = "val_auc") -> list[int]:
        """The steps at which a run has a metric, sorted; one that is there twice is listed twice."""
        return sorted(point.step for point in self.client.get_metric_history(self.named(name).info.run_id, metric))

    def summary(self) -> dict[str, tuple[str, dict[str, str], dict[str, float], list[int]]]:
        """By name: the status, parameters, last metrics and steps of every run; fails where a name is there twice."""
        runs = self.runs
        assert len({run.info.run_name for run in runs}) == len(runs)
        return {
            run.info.run_name: (run.info.status, run.data.params, run.data.metrics, self.steps(run.info.run_name))
            for run in runs
        }
