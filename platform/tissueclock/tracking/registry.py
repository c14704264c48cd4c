"""The model registry: promoted checkpoints as logged models and registered versions, each once, by its weights' digest.

The metrics of a model are logged on its sweep's run, with the time falling from the best rank to the last, so that the
sweep's row shows those of its best checkpoint.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mlflow.entities import LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException

from tissueclock.storage.folders import PromotedFolder
from tissueclock.tracking.connection import is_forbidden
from tissueclock.tracking.run_facts import parameters
from tissueclock.tracking.runs import ID_TAG, MirroredRun, RunMirror
from tissueclock.tracking.sweep_log import SweepLog
from tissueclock.tracking.unnamed import unnamed_files

ALIAS = "best"
RANK_TAG = "rank"
DIGEST_TAG = "tissueclock.weights"
PROMOTED_TAG = "tissueclock.promoted"


class ModelRegistry:
    """The models of one study on a tracker.

    Args:
        client: An `MlflowClient`.
        experiment_id: The study's experiment.
        study: The study's name.
        study_id: The study folder's identity.
        is_server: Whether the tracker is a server; a store opened directly resolves `models:/` by MLflow's global
            tracking URI, which is not ours (mlflow 3.17).
    """

    def __init__(self, client: Any, *, experiment_id: str, study: str, study_id: str, is_server: bool) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._study = study
        self._study_id = study_id
        self._is_server = is_server

    def promote(self, log: SweepLog, *, runs: RunMirror, current: set[str] | None) -> None:
        """Registers what a closed sweep promoted; nothing is sent where all of it is known already.

        Args:
            log: The sweep's ledger, closed.
            runs: The study's runs; the sweep's and the promoted trials' are there.
            current: The sweeps that the study consists of now; only they are considered for the alias. None: all.

        Raises:
            OSError: A promoted checkpoint's files are missing.
        """
        sweep = runs.runs[log.name, ""]
        fingerprint = _fingerprint(log)
        if not log.state.promoted or sweep.deleted or sweep.tags.get(PROMOTED_TAG) == fingerprint:
            return
        name = self._registered_name(str(log.state.facts["phase"]))
        for rank, line in sorted(log.state.promoted.items()):
            trial = runs.runs[log.name, line["trial"]]
            self._promote(log, rank, name=name, sweep=sweep, trial=trial)
        self._mark_versions(log, name)
        self._set_alias(name, current)
        self._client.set_tag(sweep.run_id, PROMOTED_TAG, fingerprint)
        sweep.tags[PROMOTED_TAG] = fingerprint

    def _promote(self, log: SweepLog, rank: int, *, name: str, sweep: MirroredRun, trial: MirroredRun) -> None:
        line, folder = log.state.promoted[rank], log.folder.promoted(rank)
        facts = folder.read_trial()
        model = self._find_model(line["digest"])
        if model is None:
            model = self._client.create_logged_model(
                self._experiment_id,
                name=f"{log.name}-{line['trial']}",
                source_run_id=trial.run_id,
                tags={ID_TAG: self._study_id, DIGEST_TAG: line["digest"], "sweep": log.name},
                params={**parameters(facts["hyperparameters"]), "epoch": str(facts["epoch"])},
                model_type=str(facts["phase"]),
            )
        if str(model.status) != "READY":
            with tempfile.TemporaryDirectory() as temporary:
                for file in unnamed_files(folder, Path(temporary)):
                    self._client.log_model_artifact(model.model_id, str(file))
            self._log_output(trial.run_id, LoggedModelOutput(model.model_id, facts["epoch"]))
            self._client.finalize_logged_model(model.model_id, "READY")
        time_ms = round(max(line["time_s"] for line in log.state.promoted.values()) * 1000) - rank
        metrics = {**_numbers(facts["metrics"]), **_holdout(folder)}
        self._client.log_batch(
            sweep.run_id,
            metrics=[Metric(key, value, time_ms, 0, model_id=model.model_id) for key, value in metrics.items()],
            synchronous=True,
        )
        chain = facts.get("lineage", {}).get("chain", ())
        self._register(name, line, folder=folder, chain=chain, sweep=log.name, model=model, trial=trial)

    def _log_output(self, run_id: str, output: LoggedModelOutput) -> None:
        """Names the model as the run's output; a store refuses a second time (mlflow 3.17)."""
        outputs = self._client.get_run(run_id).outputs
        if output.model_id not in {known.model_id for known in (outputs.model_outputs if outputs else ())}:
            self._client.log_outputs(run_id, [output])

    def _find_model(self, digest: str) -> Any | None:
        found = self._client.search_logged_models(
            [self._experiment_id],
            filter_string=f"tags.`{DIGEST_TAG}` = '{digest}' AND tags.`{ID_TAG}` = '{self._study_id}'",
        )
        return found[0] if found else None

    def _registered_name(self, phase: str) -> str:
        """The registered model of a phase; a namesake of another study folder is left alone."""
        name = f"tissueclock.{self._study}.{phase}".replace("/", "_").replace(":", "_")
        for candidate in (name, f"{name}.{self._study_id[:8]}"):
            try:
                model = self._client.get_registered_model(candidate)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST" or is_forbidden(error):
                    if self._create(candidate, phase):
                        return candidate
                    continue
                raise
            if model.tags.get(ID_TAG) == self._study_id:
                return candidate
        raise ValueError(f"registered model {name!r} belongs to another study")

    def _create(self, name: str, phase: str) -> bool:
        """Makes a registered model; False where somebody whose models this user may not see has one of that name."""
        try:
            self._client.create_registered_model(name, tags={ID_TAG: self._study_id, "phase": phase})
        except MlflowException as error:
            if error.error_code == "RESOURCE_ALREADY_EXISTS":
                return False
            raise
        return True

    def _register(
        self,
        name: str,
        line: Mapping[str, Any],
        *,
        folder: PromotedFolder,
        chain: Sequence[str],
        sweep: str,
        model: Any,
        trial: MirroredRun,
    ) -> None:
        if any(version.tags.get(DIGEST_TAG) == line["digest"] for version in self._versions(name)):
            return
        tags = {
            DIGEST_TAG: line["digest"],
            "sweep": sweep,
            "trial": line["trial"],
            "best_value": repr(line["value"]),
            "model_id": model.model_id,
            **{tag: repr(value) for tag, value in _holdout(folder).items() if tag == "holdout_auc"},
            "lineage": " > ".join(digest[:12] for digest in (*chain, line["digest"])),
        }
        source = f"models:/{model.model_id}" if self._is_server else model.artifact_location
        made = self._client.create_model_version(
            name, source=source, run_id=trial.run_id, tags=tags, model_id=model.model_id
        )
        # the tag by which MLflow's page names a model's versions
        versions = json.dumps([{"name": name, "version": made.version}])
        self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": versions})

    def _mark_versions(self, log: SweepLog, name: str) -> None:
        """Says of each version of a sweep its rank among what is promoted now (0: it gave way), and its value."""
        ranks = {line["digest"]: rank for rank, line in log.state.promoted.items()}
        for version in self._versions(name):
            if version.tags.get("sweep") != log.name:
                continue
            rank = ranks.get(version.tags[DIGEST_TAG], 0)
            marks = {RANK_TAG: str(rank)} | ({"best_value": repr(_value(log, rank))} if rank else {})
            for key, mark in marks.items():
                if version.tags.get(key) != mark:
                    self._client.set_model_version_tag(name, version.version, key, mark)

    def _set_alias(self, name: str, current: set[str] | None) -> None:
        promoted = [version for version in self._versions(name) if version.tags.get(RANK_TAG) != "0"]
        versions = [version for version in promoted if current is None or version.tags.get("sweep") in current]
        if versions:
            best = max(versions, key=lambda version: (float(version.tags["best_value"]), -int(version.version)))
            self._client.set_registered_model_alias(name, ALIAS, best.version)

    def _versions(self, name: str) -> list[Any]:
        versions: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{name}'", page_token=token)
            versions += [version for version in page if DIGEST_TAG in version.tags]
            token = page.token
            if not token:
                return versions


def _value(log: SweepLog, rank: int) -> float:
    """What a promoted checkpoint is ranked by: what its configuration reached from fresh seeds, or its best value."""
    line = log.state.promoted[rank]
    again = log.state.confirmed(line["trial"])
    return fmean(again) if again else float(line["value"])


def _fingerprint(log: SweepLog) -> str:
    """What is promoted, by what it was confirmed, and whether it is scored, in a line."""
    parts = []
    for rank, line in sorted(log.state.promoted.items()):
        confirmed = f"~{_value(log, rank):.6f}" if log.state.confirmed(line["trial"]) else ""
        scored = "+holdout" * log.folder.promoted(rank).holdout.exists()
        parts.append(f"{rank}:{line['digest'][:16]}{confirmed}{scored}")
    return " ".join(parts)


def _holdout(folder: PromotedFolder) -> dict[str, float]:
    if not folder.holdout.exists():
        return {}
    return {f"holdout_{name}": value for name, value in _numbers(folder.read_holdout()["metrics"]).items()}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)
    }
