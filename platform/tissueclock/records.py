"""Frozen facts that cross borders: what a sweep is asked to do, and where each of its files lies.

Plain data that pickles and prints; knows neither Ray, MLflow nor torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tissueclock.files import digest_facts

Status = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One network of the comparison: how hemispheres become a logit.

    Attributes:
        kind: `slice`, the 2D network; `volume`, the 3D network; `voxel`, a small one that looks at each voxel alone.
        width: Channels of `layer1`; 64 is ResNet-18 and Models Genesis, 8 or 16 trains on a laptop.
        stem_stride: Pixels that the slice network's stem condenses to one: 4 is ResNet-18, 2 or 1 for coarse grids.
        attn_level: Which reading of the paper's figure the attention gate follows: A, B or C.
        slice_pooling: How slices become a hemisphere, a name of `tissueclock.networks.slice_pooling`.
        readout: `mean`, the paper's way, over the last map; or `attended`, one attention over all voxels of the brain.
            What follows is for the latter; see `tissueclock.networks.attended_network`. Kind `voxel` is always so.
        read_at: The stage whose map is attended.
        cell: Pixels along each side that inputs are averaged over.
        inputs: What is seen of a voxel.
        mirror_cells: Cells along each side over which the ratio to the other half is taken.
        values: What is attended: `inputs`, `features` or `both`.
    """

    kind: Literal["slice", "volume", "voxel"] = "slice"
    width: int = 64
    stem_stride: Literal[1, 2, 4] = 4
    attn_level: Literal["A", "B", "C"] = "A"
    slice_pooling: str = "position"
    readout: Literal["mean", "attended"] = "mean"
    read_at: Literal["stem", "layer1", "layer2", "layer3", "layer4"] = "stem"
    cell: int = 2
    inputs: tuple[str, ...] = ("b0", "b1000", "flair", "adc")
    mirror_cells: int = 3
    values: Literal["inputs", "features", "both"] = "inputs"

    @property
    def attended(self) -> bool:
        """Whether voxels are attended."""
        return self.kind == "voxel" or self.readout == "attended"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial takes.

    Attributes:
        cpus: All its workers' together; at least a fraction of one.
        gpus: All its workers' together; 0.5: two trials share a device.
        workers: Processes that train it together, each on its part of a batch.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """First weights that a study takes from a file.

    Attributes:
        path: The user's file.
        digest: SHA-256 of it; empty where it is not there.
        layout: `auto`, a layout of `tissueclock.networks.layouts`, or `mapping`.
        mapping: Prefixes of names, theirs to ours, for `mapping`.
    """

    path: Path
    digest: str
    layout: str = "auto"
    mapping: Mapping[str, str] = field(default_factory=dict)

    def as_facts(self) -> dict[str, Any]:
        """All but where it lies, as JSON facts."""
        return {"digest": self.digest, "layout": self.layout, "mapping": dict(self.mapping)}


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """How trials on a node share what frozen stages compute.

    Attributes:
        share: Whether they do; a trial learns the same without, only slower.
        folder: On each node's own disk; None is `tissueclock-trunks-UID` in its temporary folder.
        limit_gb: The most that it may take; what was used longest ago goes first.
    """

    share: bool = True
    folder: Path | None = None
    limit_gb: float = 20.0


@dataclass(frozen=True, slots=True)
class SchedulerSpec:
    """Which Tune scheduler stops or perturbs trials, and how early.

    Attributes:
        name: `none`, `asha`, `hyperband` or `pbt` (whose population is drawn at random, whatever the searcher).
        grace_epochs: No trial is stopped (or perturbed) before this epoch.
        reduction_factor: One in this many trials survives a rung (`asha`, `hyperband`).
        perturb_epochs: Epochs between two exploit-and-explore steps (`pbt`).
    """

    name: Literal["none", "asha", "hyperband", "pbt"] = "asha"
    grace_epochs: int = 3
    reduction_factor: int = 3
    perturb_epochs: int = 3


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """One vertex of the study's graph: a phase of one or more arms, to be run as one Ray Tune experiment.

    The first block says what a trial means; it is digested into `key`. The second says how much of it is wanted and on
    what; changing it continues the same sweep. The key names what is known before anything runs; a sweep's folder is
    named after its inputs, parents' weights included, so that other inputs are another sweep.

    Attributes:
        phase: The phase's name: a module of `trainables`.
        space: The search space's name: a module of `search_spaces`.
        network: The network trained.
        weights: Where the first weights come from: `random`, `previous`, or the study's name for a file.
        weights_file: That file.
        upstream: The vertex whose promoted checkpoints are the parents, where `weights` is `previous`.
        fixed: Hyperparameters pinned by the study.
        epochs: Most epochs of a trial.
        patience: Epochs without a better validation AUC after which a trial ends by itself.
        searcher: `tpe`, `random` or `grid`.
        scheduler: What stops trials early.
        cohort: The packed cohort's folder.
        cohort_digest: Its identity.
        seed: The study's seed.
        precision: `auto`, `float32` or `bfloat16`.
        arms: The arms that share this sweep.
        trials: Trials asked for.
        promote: How many best checkpoints are promoted.
        max_concurrent: Most trials at once; None lets the resources decide.
        resources: What one trial takes.
        time_budget_min: Minutes after which no further trial is started and running ones are stopped; None: no limit.
        max_failures: How often a trial that lost its worker or raised is taken up again from its last checkpoint.
        checkpoint_every: Epochs between two checkpoints; also written whenever the trial improves.
        extensions: A lab's folder with `trainables/` and `search_spaces/` of its own, or None.
        trunks: How frozen stages are shared.
    """

    phase: str
    space: str
    network: NetworkSpec
    weights: str
    upstream: str | None
    fixed: Mapping[str, Any]
    epochs: int
    patience: int
    searcher: Literal["tpe", "random", "grid"]
    scheduler: SchedulerSpec
    cohort: Path
    cohort_digest: str
    seed: int
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    weights_file: WeightsFile | None = None

    arms: tuple[str, ...] = ()
    trials: int = 8
    promote: int = 2
    max_concurrent: int | None = None
    resources: Resources = field(default_factory=Resources)
    time_budget_min: float | None = None
    max_failures: int = 2
    checkpoint_every: int = 1
    extensions: Path | None = None
    trunks: TrunkSpec = field(default_factory=TrunkSpec)

    @property
    def key(self) -> str:
        """What a trial of this sweep means, digested (SHA-256); how much of it is wanted is left out."""
        facts = asdict(self)
        for name in ("arms", "cohort", *_QUANTITIES):
            del facts[name]
        facts["weights_file"] = self.weights_file and self.weights_file.as_facts()
        return digest_facts({**facts, "fixed": dict(self.fixed)})

    @property
    def vertex(self) -> str:
        """The vertex's name in the graph, for example `tss_3h.1f0c2a9b`."""
        return f"{self.phase}.{self.key[:8]}"


_QUANTITIES = (
    "trials",
    "promote",
    "max_concurrent",
    "resources",
    "time_budget_min",
    "max_failures",
    "checkpoint_every",
    "extensions",
    "trunks",
)


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
    """What an epoch of a sweep costs on this machine's device.

    Attributes:
        epoch_s: Seconds, with nothing frozen.
        checkpoint_bytes: Of one checkpoint.
        trunks: By freeze depth, of those that trials may have.
    """

    epoch_s: float
    checkpoint_bytes: int
    trunks: Mapping[int, TrunkBill]


@dataclass(frozen=True, slots=True)
class Parent:
    """A promoted checkpoint on offer to the next phase.

    Attributes:
        rank: 1 is the best of its sweep.
        folder: Holds `weights.safetensors` and `trial.json`.
        digest: SHA-256 of its weights file.
    """

    rank: int
    folder: Path
    digest: str


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Every file of a sweep is a property of this."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The truth about the sweep: what was asked, reported and ended, a line each."""
        return self.path / "ledger.jsonl"

    @property
    def spec(self) -> Path:
        """What was asked for, resolved."""
        return self.path / "sweep.json"

    @property
    def tune(self) -> Path:
        """Ray Tune's own files; removed once the sweep is complete."""
        return self.path / "tune"

    def trial(self, name: str) -> Path:
        """A trial's `epoch-0003/` and so on while it runs, `best/` once it has ended; `error.txt` after a failure."""
        return self.path / "trials" / name

    def promoted(self, rank: int) -> Path:
        """The checkpoint of this rank: `weights.safetensors`, `trial.json`, `holdout.json`, `holdout.tsv`."""
        return self.path / "promoted" / str(rank)


@dataclass(frozen=True, slots=True)
class SweepJob:
    """What every trial of a sweep is handed.

    Attributes:
        spec: What was asked for.
        folder: Where the sweep's files lie; storage that every node reaches. Its name is the sweep's.
        parents: The promoted checkpoints on offer, best first; empty where the first weights are random.
        study: The study's name.
        inputs: SHA-256 of all that a trial depends on: the spec's key, the space, the parents' weights.
        lineage: Cohort, split, seed, parents, code and environment, as the ledger's first line records them.
    """

    spec: SweepSpec
    folder: SweepFolder
    parents: tuple[Parent, ...]
    study: str
    inputs: str
    lineage: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The sweep's name in folders, tables and MLflow, for example `tss_3h-1f0c2a9b`."""
        return self.folder.path.name


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Every file of a study is a property of this."""

    path: Path

    @property
    def study(self) -> Path:
        """The study as resolved when it was last started."""
        return self.path / "study.json"

    @property
    def graph(self) -> Path:
        """The graph of sweeps."""
        return self.path / "graph.json"

    @property
    def lock(self) -> Path:
        """Held by the process that is at work on the study."""
        return self.path / "lock"

    @property
    def report(self) -> Path:
        """The report, with its figures beside it."""
        return self.path / "report"

    @property
    def default_tracking_uri(self) -> str:
        """The SQLite store that is used where the study names no server."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    def sweep(self, name: str) -> SweepFolder:
        """The folder of the sweep of that name."""
        return SweepFolder(self.path / "sweeps" / name)
