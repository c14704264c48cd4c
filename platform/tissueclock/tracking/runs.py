"""The MLflow runs of a study, brought to what the ledgers say: found by their tags, each made once.

Knows runs, not ledgers nor threads. Every call may be cut off at any moment: what is true on the tracker is read again
before anything is repeated (`RunMirror.load`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType

from tissueclock.tracking.run_facts import RunFacts

ID_TAG = "tissueclock.study_id"
KEY_TAGS = ("tissueclock.sweep", "tissueclock.trial")
KIND_TAG = "tissueclock.kind"
SUPERSEDED_TAG = "tissueclock.superseded"
_METRICS_PER_BATCH = 1000
_ITEMS_PER_BATCH = 100
_PAGE = 1000


@dataclass(slots=True)
class MirroredRun:
    """What the tracker is known to hold of one run; `steps` is None until somebody has to know."""

    run_id: str
    status: str
    start_ms: int
    deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: set[int] | None = None
    has_inputs: bool = False


class RunMirror:
    """The runs of one study on a tracker.

    Args:
        client: An `MlflowClient`.
        experiment_id: The experiment they are in.
        study_id: The study folder's identity.
    """

    def __init__(self, client: Any, *, experiment_id: str, study_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._study_id = study_id
        self.runs: dict[tuple[str, str], MirroredRun] = {}

    def load(self) -> None:
        """Reads what is there; of two runs for one thing, the later is deleted.

        Two come about where a server answers so late that the driver has given the run up and made another.
        """
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self._search():
            if SUPERSEDED_TAG in run.data.tags:
                continue
            sweep, trial = (run.data.tags.get(tag, "") for tag in KEY_TAGS)
            found.setdefault((sweep, trial), []).append(run)
        for key, runs in found.items():
            kept, *doubles = sorted(runs, key=_is_deleted_then_age)
            for double in doubles:
                if double.info.lifecycle_stage == "active":
                    self._client.delete_run(double.info.run_id)
            self.runs[key] = _mirrored(kept)

    def sync(self, facts: RunFacts, *, parent: str | None) -> MirroredRun:
        """Makes the run if there is none, and sends what it lacks: nothing, if it lacks nothing.

        A run that a person deleted stays deleted. A run that began at another millisecond than the ledger says is
        another ledger's, which was deleted, or of an attempt that failed: it is named superseded, and a run of its own
        is made.

        Args:
            facts: What the run is to hold.
            parent: The run that it is nested in.
        """
        run = self.runs.get(facts.key)
        if run is not None and run.start_ms != facts.start_ms:
            self._supersede(facts)
            run = None
        run = run or self._create(facts, parent)
        if run.deleted:
            return run
        self._send(run, facts)
        if run.status != facts.status:
            if facts.status == "RUNNING":
                self._client.update_run(run.run_id, status="RUNNING")
            else:
                self._client.set_terminated(run.run_id, status=facts.status, end_time=facts.end_ms)
            run.status = facts.status
        return run

    def log_dataset(self, run: MirroredRun, *, name: str, digest: str, source: str, profile: str) -> None:
        """Names the cohort as the run's input, once; `source` and `profile` are JSON."""
        if run.has_inputs or run.deleted:
            return
        dataset = Dataset(name, digest[:12], "local", source, profile=profile)
        context = InputTag("mlflow.data.context", "training, validation")
        self._client.log_inputs(run.run_id, datasets=[DatasetInput(dataset, [context])])
        run.has_inputs = True

    def _search(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string=f"tags.`{ID_TAG}` = '{self._study_id}'",
                run_view_type=ViewType.ALL,
                max_results=_PAGE,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, facts: RunFacts, parent: str | None) -> MirroredRun:
        sweep, trial = facts.key
        tags = {
            **facts.tags,
            ID_TAG: self._study_id,
            KIND_TAG: "trial" if trial else "sweep" if sweep else "study",
            **{tag: value for tag, value in zip(KEY_TAGS, facts.key, strict=True) if value},
            **({"mlflow.parentRunId": parent} if parent else {}),
        }
        made = self._client.create_run(self._experiment_id, facts.start_ms, tags, facts.name)
        run = MirroredRun(made.info.run_id, "RUNNING", facts.start_ms, tags=dict(tags), steps=set())
        self.runs[facts.key] = run
        return run

    def _supersede(self, facts: RunFacts) -> None:
        """Closes the run under this key and, of a sweep, those of trials that its ledger cannot have asked."""
        sweep, trial = facts.key
        for key, run in list(self.runs.items()):
            is_trial_of_it = key[0] == sweep and not trial and run.start_ms < facts.start_ms
            if key != facts.key and not is_trial_of_it:
                continue
            del self.runs[key]
            if not run.deleted:
                self._client.set_tag(run.run_id, "status", "superseded")
                if run.status == "RUNNING":
                    self._client.set_terminated(run.run_id, status="KILLED")
                self._client.set_tag(
                    run.run_id, SUPERSEDED_TAG, "by another attempt of its trial, or another ledger of its sweep"
                )

    def _send(self, run: MirroredRun, facts: RunFacts) -> None:
        steps = self._new_steps(run, facts)
        tags = [RunTag(name, value) for name, value in facts.tags.items() if run.tags.get(name) != value]
        params = [Param(name, value) for name, value in facts.params.items() if name not in run.params]
        metrics = [
            [Metric(name, value, point.time_ms, step) for name, value in point.metrics.items()]
            for step, point in ((step, facts.point_at(step)) for step in steps)
        ]
        for batch in _batches(metrics, params, tags):
            self._client.log_batch(run.run_id, **batch, synchronous=True)
        run.tags.update(facts.tags)
        run.params.update(facts.params)
        if run.steps is not None:
            run.steps.update(steps)

    def _new_steps(self, run: MirroredRun, facts: RunFacts) -> list[int]:
        if not facts.steps:
            return []
        if run.steps is None:
            last = run.metrics.get(facts.marker)
            if last is None:
                run.steps = set()
            elif last >= facts.steps[-1] and run.status == facts.status != "RUNNING":
                return []  # it was ended after its last step was logged: nothing can be missing
            else:
                run.steps = {point.step for point in self._client.get_metric_history(run.run_id, facts.marker)}
        return [step for step in facts.steps if step not in run.steps]


def _batches(points: list[list[Metric]], params: list[Param], tags: list[RunTag]) -> Iterator[dict[str, Any]]:
    """Splits what is to be sent by MLflow's limits; the metrics of one step stay together, the tags come last."""
    rows = iter(points)
    metrics: list[Metric]
    row = next(rows, None)
    while row is not None or params:
        metrics = []
        while row is not None and len(metrics) + len(row) <= max(_METRICS_PER_BATCH, len(row)):
            metrics += row
            row = next(rows, None)
        some = list(islice(params, _ITEMS_PER_BATCH))
        params = params[_ITEMS_PER_BATCH:]
        is_last = row is None and not params
        last_tags = tags[: _ITEMS_PER_BATCH - len(some)] if is_last else []
        tags = tags[len(last_tags) :]
        yield {"metrics": metrics, "params": some, "tags": last_tags}
    while tags:
        yield {"metrics": [], "params": [], "tags": tags[:_ITEMS_PER_BATCH]}
        tags = tags[_ITEMS_PER_BATCH:]


def _is_deleted_then_age(run: Run) -> tuple[bool, int, str]:
    return run.info.lifecycle_stage != "active", run.info.start_time, run.info.run_id


def _mirrored(run: Run) -> MirroredRun:
    return MirroredRun(
        run.info.run_id,
        run.info.status,
        run.info.start_time,
        deleted=run.info.lifecycle_stage != "active",
        tags=dict(run.data.tags),
        params=set(run.data.params),
        metrics=run.data.metrics,
        has_inputs=bool(run.inputs and run.inputs.dataset_inputs),
    )
