"""The sync of a study with one tracker: the experiment, its runs, its models, its artifacts, as the ledgers have them.

Lives as long as the tracker answers; after a fault it is thrown away and made anew, and reads what is there.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from tissueclock.errors import InputError
from tissueclock.storage.files import read_json
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.tsv import MISSING, read_rows
from tissueclock.tracking.columns import AUC_TAG, shared_views
from tissueclock.tracking.connection import is_forbidden, one_line
from tissueclock.tracking.registry import ModelRegistry
from tissueclock.tracking.run_facts import StudyStatus, study_facts, sweep_facts, trial_facts
from tissueclock.tracking.runs import MirroredRun, RunMirror
from tissueclock.tracking.sweep_log import SWEEP, SweepLog

_AUC_COLUMNS = ("holdout_auc", "holdout_auc_delong_low", "holdout_auc_delong_high")

# what no second try can mend; everything else is tried again
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """What tells a study folder from every other: a name for people, an id for tags, when it began."""

    study: str
    study_id: str
    started_s: float


@dataclass(slots=True)
class Refusals:
    """What the tracker would not take, whatever the number of tries; the last reason stands for all."""

    n_lines: int = 0
    reason: str | None = None

    def add(self, error: BaseException, *, n_lines: int) -> None:
        """Counts the ledger lines that are not on the tracker, and keeps the reason as one line."""
        self.n_lines += n_lines
        self.reason = f"not accepted: {one_line(error)}"


@dataclass(slots=True)
class StudySync:
    """Keeps one tracker true to the ledgers of one study.

    Attributes:
        client: An `MlflowClient`.
        identity: The study folder's.
        folder: The study folder.
        artifact_root: Where artifacts go if no server takes them, a URI; None leaves it to the server.
        refusals: Where refusals are counted.
        check: Called between runs; raises where there is no time left.
    """

    client: Any
    identity: StudyIdentity
    folder: StudyFolder
    artifact_root: str | None
    refusals: Refusals
    check: Callable[[], None]
    _runs: RunMirror = field(init=False)
    _registry: ModelRegistry = field(init=False)
    _experiment_id: str = field(init=False)
    _synced: set[str] = field(init=False, default_factory=set)
    _params: dict[str, dict[str, None]] = field(init=False, default_factory=dict)
    _shown: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Finds or makes the experiment, and reads the runs that it holds of this study."""
        self._experiment_id = experiment_id = self._experiment()
        study, study_id = self.identity.study, self.identity.study_id
        self._runs = RunMirror(self.client, experiment_id=experiment_id, study_id=study_id)
        self._runs.load()
        self._registry = ModelRegistry(
            self.client,
            experiment_id=experiment_id,
            study=study,
            study_id=study_id,
            is_server=self.artifact_root is None,
        )

    def sync_study(self, status: StudyStatus) -> MirroredRun:
        """Brings the study's own run up to date."""
        facts = study_facts(study=self.identity.study, start_s=self.identity.started_s, status=status)
        return self._runs.sync(facts, parent=None)

    def sync_sweep(self, log: SweepLog, *, study: MirroredRun, live: bool, current: set[str] | None) -> None:
        """Brings a sweep's run, those of its trials and its models up to date.

        Args:
            log: The sweep's ledger, as far as it was read.
            study: The study's run.
            live: Whether somebody is at work on the sweep; where not, open runs are ended as interrupted.
            current: The sweeps that the study consists of now; None: all.
        """
        if not log.state.facts:
            return
        everything = not live or log.name not in self._synced
        names = {SWEEP, *(trial.name for trial in log.state.entries())} if everything else set(log.dirty)
        if not names:
            return
        sweep = self._runs.sync(sweep_facts(log, live=live), parent=study.run_id)
        for trial in [trial for trial in log.state.entries() if trial.name in names]:
            self.check()
            facts = trial_facts(log, trial, live=live)
            self._params.setdefault(facts.tags["phase"], {}).update(dict.fromkeys(facts.params))
            self._unless_refused(log, trial.name, partial(self._runs.sync, facts, parent=sweep.run_id))
        if SWEEP in names:
            self._unless_refused(log, SWEEP, partial(self._finish_sweep, log, study, sweep, current))
        self._show_views()
        self._synced.add(log.name)

    def log_artifacts(self, run: MirroredRun, path: Path, artifact_path: str | None) -> None:
        """Sends a file or a folder's content; one that is not there is counted as refused."""
        try:
            if path.is_dir():
                self.client.log_artifacts(run.run_id, str(path), artifact_path)
            else:
                self.client.log_artifact(run.run_id, str(path), artifact_path)
        except FileNotFoundError as error:
            self.refusals.add(error, n_lines=1)

    def log_intervals(self, report: Path) -> None:
        """Tags each sweep's run with the holdout AUC and its interval, as a report's table has them."""
        table = report / "results.tsv"
        if not table.is_file():
            return
        for row in read_rows(table, required=("sweep", *_AUC_COLUMNS)):
            auc, *ends = (row.cells[column] for column in _AUC_COLUMNS)
            run = self._runs.runs.get((row.cells["sweep"], SWEEP))
            if run is None or run.deleted or MISSING in (auc, *ends):
                continue
            text = f"{float(auc):.3f} [{', '.join(f'{float(end):.2f}' for end in ends)}]"
            if run.tags.get(AUC_TAG) != text:
                self.client.set_tag(run.run_id, AUC_TAG, text)
                run.tags[AUC_TAG] = text

    def _finish_sweep(self, log: SweepLog, study: MirroredRun, sweep: MirroredRun, current: set[str] | None) -> None:
        dataset = _dataset(log.state.facts)
        if dataset is not None:
            self._runs.log_dataset(sweep, **dataset)
            self._runs.log_dataset(study, **dataset)
        if log.state.closed:
            self._registry.promote(log, runs=self._runs, current=current)

    def _unless_refused(self, log: SweepLog, name: str, send: Callable[[], Any]) -> None:
        try:
            send()
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            self.refusals.add(error, n_lines=log.pending[name])
        except (FileNotFoundError, KeyError, ValueError) as error:  # a promoted checkpoint that is gone or foreign
            self.refusals.add(error, n_lines=log.pending[name])
        log.mark_logged(name)

    def _show_views(self) -> None:
        for tag, state in shared_views(self._params).items():
            if self._shown.get(tag) != state:
                self.client.set_experiment_tag(self._experiment_id, tag, state)
                self._shown[tag] = state

    def _experiment(self) -> str:
        name = self.identity.study
        try:
            found = self.client.get_experiment_by_name(name)
        except MlflowException as error:
            if not is_forbidden(error):
                raise
            raise InputError(
                f"experiment {name!r} is somebody's whose runs this user may not see; give the study another name, or "
                "ask its owner for permission"
            ) from error
        if found is None:
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(self.client.create_experiment(name, artifact_location=self.artifact_root, tags=tags))
        if found.lifecycle_stage != "active":
            raise InputError(
                f"experiment {name!r} was deleted on the tracker; restore it (`mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`) or give the study another name"
            )
        return str(found.experiment_id)


def _dataset(facts: Mapping[str, Any]) -> dict[str, str] | None:
    """The cohort as a dataset: its name, digest, place and size, without its data."""
    lineage, spec = facts.get("lineage", {}), facts.get("spec", {})
    if "cohort" not in lineage:
        return None
    source = Path(str(spec.get("cohort", "")))
    path = source / "cohort.json"
    cohort = read_json(path) if path.is_file() else {}
    profile = {name: cohort[name] for name in ("n_patients", "n_hemispheres", "shape", "spacing_mm") if name in cohort}
    return {
        "name": str(cohort.get("name", source.name or "cohort")),
        "digest": str(lineage["cohort"]),
        "source": json.dumps({"uri": str(source)}),
        "profile": json.dumps({**profile, "split": lineage.get("split", "")}),
    }
