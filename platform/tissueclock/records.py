"""Frozen facts that cross borders: what a sweep is asked to do, and what its trials are handed.

Plain data that pickles and prints; knows neither Ray, MLflow nor torch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticUndefined, to_jsonable_python

from tissueclock.networks.settings import AnyNetwork
from tissueclock.settings import Budget, LearningSettings, TrunkSettings, WeightsSettings
from tissueclock.storage.files import digest_facts
from tissueclock.storage.folders import PromotedFolder, SweepFolder

_IN_0_1: Mapping[str, Mapping[str, Any]] = {
    "network": {"width": 64, "stem_stride": 4, "attn_level": "A", "slice_pooling": "position"},
    "scheduler": {"grace_epochs": 3, "reduction_factor": 3, "perturb_epochs": 3},
}
"""Settings that a sweep's key always names, as 0.1 did for every kind. One that came later is named where it is not the
default, so that a sweep of an older study keeps its key, and its folder."""


class WeightsFile(BaseModel):
    """First weights that a study takes from a file.

    Attributes:
        settings: The file, where it lies, and its layout.
        digest: SHA-256 of the file; empty where it is not there.
    """

    model_config = ConfigDict(frozen=True)

    settings: WeightsSettings
    digest: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(self.settings.file)

    def as_facts(self) -> dict[str, Any]:
        """All but where it lies, as JSON facts."""
        return {"digest": self.digest, "layout": self.settings.layout, "mapping": dict(self.settings.mapping)}


class Dealing(TypedDict):
    """How patients are dealt into folds; see `make_folds`."""

    n_folds: int
    seed: int
    by_site: bool


class SweepInputs(LearningSettings):
    """What a trial of a sweep means, as far as the study says it; digested whole, into the sweep's key.

    A sweep's name digests more (`sweeping.sweep.inputs_digest`): what the phase declares and its code, the space's
    bounds, the parents' weights. The rule: whatever may change a result names the sweep (task, question and label,
    objective, defaults, a lab's code); what changes none does not (titles, comments, docstrings, layout, how much is
    wanted). Our own code below the phases does not either: the lineage tells its version, sweep by sweep.

    Attributes:
        phase: The phase's name: a module of `trainables`.
        space: The search space's name: a module of `search_spaces`.
        network: The network trained.
        weights: Where the first weights come from: `random`, `previous`, or the study's name for a file.
        weights_file: That file.
        upstream: The vertex whose promoted checkpoints are the parents, where `weights` is `previous`.
        cohort_digest: The packed cohort's identity; empty while it is not known.
        seed: The study's seed.

    The others are those of `LearningSettings`.
    """

    phase: str
    space: str
    network: AnyNetwork
    weights: str = "random"
    weights_file: WeightsFile | None = None
    upstream: str | None = None
    cohort_digest: str = ""
    seed: int

    def dealing(self) -> Dealing:
        """How patients are dealt into folds: what `make_folds` needs to know."""
        return {"n_folds": self.folds, "seed": self.seed, "by_site": self.leave_one_site_out}

    def as_facts(self) -> dict[str, Any]:
        """All of it as JSON facts, under the names of 0.1; what was added since only where it is not the default."""
        facts = self.model_dump(mode="json", exclude={"network", "scheduler", "fix", "weights_file"})
        return {
            **_without_new_defaults(self, facts, of_0_1=_INPUTS_OF_0_1),
            "fixed": dict(self.fix),
            "network": _part_facts(self.network, _IN_0_1["network"]) | {"kind": self.network.kind},
            "scheduler": _part_facts(self.scheduler, _IN_0_1["scheduler"]) | {"name": self.scheduler.name},
            "weights_file": self.weights_file and self.weights_file.as_facts(),
        }


_INPUTS_OF_0_1 = (
    "phase", "space", "weights", "upstream", "cohort_digest", "seed", "epochs", "patience", "searcher", "precision",
)  # fmt: skip


def _part_facts(part: BaseModel, of_0_1: Mapping[str, Any]) -> dict[str, Any]:
    """A part's settings: those of 0.1 always, later ones where they are not the default."""
    return {**of_0_1, **_without_new_defaults(part, part.model_dump(mode="json"), of_0_1=of_0_1)}


def _without_new_defaults(part: BaseModel, facts: Mapping[str, Any], *, of_0_1: Collection[str]) -> dict[str, Any]:
    """The facts without those that came after 0.1 and are the default; both are compared as JSON has them."""
    fields = type(part).model_fields
    default = {n: to_jsonable_python(f.default) for n, f in fields.items() if f.default is not PydanticUndefined}
    return {name: value for name, value in facts.items() if name in of_0_1 or value != default.get(name, part)}


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """One vertex of the study's graph: a phase of one or more arms, to be run as one Ray Tune experiment.

    The key names what is known before anything runs; a sweep's folder is named after its inputs, parents' weights
    included, so that other inputs are another sweep.

    Attributes:
        inputs: What a trial means.
        budget: How much is wanted, and on what.
        cohort: The packed cohort's folder.
        arms: The arms that share this sweep.
        extensions: A lab's folder with `trainables/` and `search_spaces/` of its own, or None.
        trunks: How frozen stages are shared.
        study_budget_h: What all of the study's sweeps may cost together, device-hours; None: no limit.
    """

    inputs: SweepInputs
    budget: Budget
    cohort: Path
    arms: tuple[str, ...] = ()
    extensions: Path | None = None
    trunks: TrunkSettings = field(default_factory=TrunkSettings)
    study_budget_h: float | None = None

    @property
    def phase(self) -> str:
        """The phase's name."""
        return self.inputs.phase

    @property
    def key(self) -> str:
        """What a trial of this sweep means, digested (SHA-256); how much of it is wanted is left out."""
        return digest_facts(self.inputs.as_facts())

    @property
    def vertex(self) -> str:
        """The vertex's name in the graph, for example `tss_3h.1f0c2a9b`."""
        return f"{self.phase}.{self.key[:8]}"

    def as_facts(self) -> dict[str, Any]:
        """All of it as JSON facts, for the ledger and the tracker."""
        return {
            **self.inputs.as_facts(),
            **self.budget.model_dump(mode="json"),
            "cohort": str(self.cohort),
            "arms": list(self.arms),
            "extensions": None if self.extensions is None else str(self.extensions),
            "trunks": self.trunks.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class TrunkBill:
    """What the frozen stages of one depth cost where they are not shared.

    Attributes:
        epoch_s: Seconds an epoch.
        view_bytes: Their maps of one view of the training samples, on disk.
    """

    epoch_s: float
    view_bytes: int


@dataclass(frozen=True, slots=True)
class EpochBill:
    """What an epoch of a sweep costs in one of a trial's processes.

    Attributes:
        epoch_s: Seconds, with nothing frozen.
        checkpoint_bytes: Of one checkpoint.
        trunks: By freeze depth, of those that trials may have.
    """

    epoch_s: float
    checkpoint_bytes: int
    trunks: Mapping[int, TrunkBill]


@dataclass(frozen=True, slots=True)
class SweepBill:
    """What one sweep costs at most: no trial stopped early, nothing frozen.

    Attributes:
        vertex: The sweep's name in the graph.
        arms: The arms that share it.
        trials: Trials asked for; a grid may have fewer points.
        confirming: Runs that confirm the best of them.
        at_once: Trials that run at once where no other sweep is at work.
        epochs: Most epochs of a trial.
        epoch_s: Seconds of one epoch of a trial; several workers share it evenly.
        hours: Hours of device time: runs * epochs * seconds, times the devices that a trial takes; of the search not
            more than a time budget leaves.
        disk_bytes: Checkpoints of running trials, and the best weights of every trial.
        saved_hours: Hours of these that sharing frozen trunks is expected to save, freeze depths drawn evenly.
        trunk_bytes: Disk that the shared trunks take on each node, at most.
    """

    vertex: str
    arms: tuple[str, ...]
    trials: int
    confirming: int
    at_once: int
    epochs: int
    epoch_s: float
    hours: float
    disk_bytes: int
    saved_hours: float
    trunk_bytes: int


@dataclass(frozen=True, slots=True)
class Parent:
    """A promoted checkpoint on offer to the next phase.

    Attributes:
        rank: 1 is the best of its sweep.
        folder: Its files.
        digest: SHA-256 of its weights file.
    """

    rank: int
    folder: PromotedFolder
    digest: str


@dataclass(frozen=True, slots=True)
class SweepJob:
    """What every trial of a sweep is handed.

    Attributes:
        spec: What was asked for.
        folder: Where the sweep's files lie; storage that every node reaches. Its name is the sweep's.
        parents: The promoted checkpoints on offer, best first; empty where the first weights are random.
        study: The study's name.
        inputs: SHA-256 of all that a trial depends on: the spec's key, the phase, the space, the parents' weights.
        phase: What the phase declares and its code, as JSON facts; where it is empty, nobody checks them.
        lineage: Cohort, split, seed, parents, code and environment, as the ledger's first line records them.
    """

    spec: SweepSpec
    folder: SweepFolder
    parents: tuple[Parent, ...] = ()
    study: str = "by hand"
    inputs: str = ""
    phase: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The sweep's name in folders, tables and MLflow, for example `tss_3h-1f0c2a9b`."""
        return self.folder.path.name
