"""A run of a study along its graph: what is ready is run and promoted, and feeds the next; it goes on where it was.

Knows no phase by name: it is handed a function that gives a phase.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tissueclock.checking import PhaseLoader
from tissueclock.cohort.store import Cohort
from tissueclock.errors import TissueclockError
from tissueclock.lineage import code_facts, environment_facts
from tissueclock.records import Parent, SweepJob, SweepSpec
from tissueclock.storage.files import write_json
from tissueclock.storage.ledger import LedgerReader, LedgerState
from tissueclock.study import Study
from tissueclock.sweeping.cluster import RunningSweep
from tissueclock.sweeping.head import Head
from tissueclock.sweeping.phase import SweptPhase
from tissueclock.sweeping.promotion import read_parents
from tissueclock.sweeping.space import make_space
from tissueclock.sweeping.sweep import inputs_digest, is_complete
from tissueclock.training.phase import Phase

SweepState = Literal["waiting", "running", "complete", "failed", "skipped"]
_POLL_S = 0.25


@dataclass(slots=True)
class Vertex:
    """A sweep of the graph, as far as the run has come with it.

    Attributes:
        spec: What was asked for.
        phase: Its trainable and space.
        state: `skipped` where a sweep before it failed.
        job: Known once the parents are.
        ledger: Follows the sweep's ledger once the job is known.
        share_h: Its share of the study's budget, device-hours, where there is one; known once it runs.
        error: What went wrong, one line.
    """

    spec: SweepSpec
    phase: SweptPhase
    state: SweepState = "waiting"
    job: SweepJob | None = None
    ledger: LedgerReader | None = None
    share_h: float | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The sweep's name, or the vertex's while the parents are not known."""
        return self.job.name if self.job else self.spec.vertex

    def poll(self) -> LedgerState:
        """The ledger as far as it has come."""
        return self.ledger.poll() if self.ledger else LedgerState()

    @property
    def cost_h(self) -> float:
        """What its epochs have cost, device-hours."""
        return self.poll().device_s / 3600

    @property
    def weight(self) -> float:
        """What is left of it in epochs, networks and devices: the measure by which the study's budget is shared out."""
        budget, inputs = self.spec.budget, self.spec.inputs
        n_left = budget.trials + budget.confirming - sum(trial.status is not None for trial in self.poll().entries())
        return max(1, n_left) * inputs.epochs * inputs.n_replicas * budget.resources.devices


@dataclass(slots=True)
class StudyRun:
    """A run of a study.

    Args:
        study: The study, its cohort's identity known.
        load_phase: Gives the phase of a spec.
        cohort: The cohort's split and identity, for lineage.
        connect: Connects to Ray and gives its head node; called once, before the first sweep that is not complete.
    """

    study: Study
    load_phase: PhaseLoader
    cohort: Cohort
    connect: Callable[[], Head]
    vertices: dict[str, Vertex] = field(init=False)
    _lineage: dict[str, Any] = field(init=False)
    _graph: dict[str, Any] = field(init=False, default_factory=dict)
    _head: Head | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.vertices = {name: Vertex(spec, self.load_phase(spec)) for name, spec in self.study.vertices.items()}
        self._lineage = {
            "cohort": self.cohort.digest,
            "split": self.cohort.split_digest,
            "seed": self.study.settings.seed,
            "code": code_facts(),
            "environment": environment_facts(),
        }

    def record_study(self, *, tracker: str) -> None:
        """Writes `study.json`, the study as resolved.

        Args:
            tracker: Where MLflow's runs go, without credentials.
        """
        write_json(self.study.folder.study, _resolved(self.study, tracker=tracker))

    def run(self, watch: Callable[["StudyRun"], None], *, retry_failed: bool = False) -> None:
        """Runs every sweep that is not complete; one that fails takes down only those that it feeds.

        Args:
            watch: Called some times a second, and once at the end.
            retry_failed: Whether failed trials of sweeps are taken up once more.

        Raises:
            SweepError: Ray's head node is gone.
        """
        running: dict[str, RunningSweep] = {}
        while True:
            self._start_ready(running, retry_failed=retry_failed)
            self._write_graph()
            watch(self)
            if not running:
                return
            time.sleep(_POLL_S)
            if self._head is not None:
                self._head.check()
            for name in [name for name, sweep in running.items() if sweep.ended()]:
                error = running.pop(name).result()
                vertex = self.vertices[name]
                vertex.state, vertex.error = ("failed", str(error)) if error else ("complete", None)

    @property
    def has_worked(self) -> bool:
        """Whether there was something to do: a sweep was run, or could not be."""
        return self._head is not None or self.failed

    @property
    def failed(self) -> bool:
        """Whether a sweep failed."""
        return any(vertex.state in ("failed", "skipped") for vertex in self.vertices.values())

    def _start_ready(self, running: dict[str, RunningSweep], *, retry_failed: bool) -> None:
        self._resolve_known(retry_failed=retry_failed)
        for name, vertex in self.vertices.items():
            if vertex.state != "waiting" or vertex.job is None:
                continue
            if len(running) >= self.study.settings.parallel_sweeps:
                return
            if self._head is None:
                self._head = self.connect()
            vertex.share_h, vertex.state = self._share_h(vertex), "running"
            running[name] = RunningSweep(vertex.job, vertex.phase, retry_failed=retry_failed, share_h=vertex.share_h)

    def _share_h(self, vertex: Vertex) -> float | None:
        """A sweep's share of the study's budget as it starts, device-hours, with what it has cost before.

        What is left of the budget, less what sweeps at work may still cost, is shared out among the sweeps that have
        not begun by what is left of each (`Vertex.weight`). So what a sweep leaves goes to those after it.
        """
        if (budget_h := self.study.settings.budget_h) is None:
            return None
        spent_h = sum(each.cost_h for each in self.vertices.values())
        at_work = [each for each in self.vertices.values() if each.state == "running"]
        promised_h = sum(max(0.0, (each.share_h or 0.0) - each.cost_h) for each in at_work)
        weights = sum(each.weight for each in self.vertices.values() if each.state == "waiting")
        return vertex.cost_h + max(0.0, budget_h - spent_h - promised_h) * vertex.weight / weights

    def _resolve_known(self, *, retry_failed: bool) -> None:
        """Names the sweeps whose parents are there now, and tells which are complete and which will never run."""
        for vertex in self.vertices.values():
            if vertex.state != "waiting" or vertex.job is not None:
                continue
            above = self.vertices[vertex.spec.inputs.upstream] if vertex.spec.inputs.upstream else None
            if above is not None and above.state in ("failed", "skipped"):
                vertex.state, vertex.error = "skipped", f"{above.name} {above.state}"
            elif above is None or above.state == "complete":
                try:
                    job = self._resolve(vertex, above)
                except TissueclockError as error:
                    vertex.state, vertex.error = "failed", str(error)
                    continue
                if is_complete(job, vertex.phase) and not retry_failed:
                    vertex.state = "complete"

    def _resolve(self, vertex: Vertex, above: Vertex | None) -> SweepJob:
        """Names the sweep by its inputs, now that the parents are known."""
        spec, phase = vertex.spec, vertex.phase
        parents: tuple[Parent, ...] = ()
        if above is not None and above.job is not None:
            parents = read_parents(above.job.folder)
        space = make_space(phase.space, spec, accepted=phase.phase.task.accepted(), n_parents=len(parents))
        inputs = inputs_digest(spec, phase, space, tuple(parent.digest for parent in parents))
        job = SweepJob(
            spec=spec,
            folder=self.study.folder.sweep(f"{spec.phase}-{inputs[:8]}"),
            parents=parents,
            study=self.study.settings.name,
            inputs=inputs,
            phase=phase.facts,
            lineage={
                **self._lineage,
                "parents": [{"rank": parent.rank, "digest": parent.digest} for parent in parents],
            },
        )
        vertex.job, vertex.ledger = job, LedgerReader(job.folder.ledger)
        return job

    def _write_graph(self) -> None:
        """Writes `graph.json` where it changed: each arm's sweeps in order, by the names their folders have so far."""
        names = {vertex_name: vertex.name for vertex_name, vertex in self.vertices.items()}
        facts = {
            "study": self.study.settings.name,
            "seed": self.study.settings.seed,
            "cohort": str(self.study.cohort),
            "sweeps": {
                vertex.name: {
                    "phase": vertex.spec.phase,
                    **_promised(vertex.phase.phase),
                    "arms": list(vertex.spec.arms),
                    "weights": vertex.spec.inputs.weights,
                    "upstream": names[vertex.spec.inputs.upstream] if vertex.spec.inputs.upstream else None,
                    "network": vertex.spec.inputs.network.model_dump(),
                    "trials": vertex.spec.budget.trials,
                    "state": vertex.state,
                    "error": vertex.error,
                }
                for vertex in self.vertices.values()
            },
            "order": list(self.study.arms),
            "arms": {arm: [names[vertex] for vertex in vertices] for arm, vertices in self.study.arms.items()},
        }
        if facts != self._graph:
            write_json(self.study.folder.graph, facts)
            self._graph = facts


def _promised(phase: Phase) -> dict[str, Any]:
    """What a phase promises, for those who read the study and load no phase."""
    return {
        "title": phase.title,
        "objective": phase.task.objective,
        "unit": phase.task.unit,
        "onset_before_min": phase.task.onset_before_min,
    }


def _resolved(study: Study, *, tracker: str) -> dict[str, Any]:
    """What a study says, its paths absolute, and the vertices of each arm in the order trained."""
    base = study.file.resolve().parent
    settings = study.settings.model_dump(mode="json", exclude={"notify"})  # changes no result, and may hold secrets
    settings |= {
        "cohort": str(study.cohort),
        "folder": str(study.folder.path),
        "extensions": None if study.extensions is None else str(study.extensions),
    }
    settings["tracking"]["uri"] = tracker
    for weights in settings["weights"].values():
        weights["file"] = str((base / weights["file"]).resolve())
    if settings["trunks"]["folder"] is not None:
        settings["trunks"]["folder"] = str(base / settings["trunks"]["folder"])
    return {
        "schema": 1,
        "study": study.settings.name,
        "file": str(study.file.resolve()),
        "seed": study.settings.seed,
        "settings": settings,
        "arms": {arm: list(vertices) for arm, vertices in study.arms.items()},
    }
