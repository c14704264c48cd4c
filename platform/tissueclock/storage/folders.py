"""Every file of a study, a sweep, a trial and a promoted checkpoint is a property of its folder.

Knows where files lie, and reads those that several rooms read; not what a sweep is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissueclock.errors import CheckpointError
from tissueclock.storage.files import digest_file, read_json

SEEN = ("rDWI", "dADC", "rFLAIR")
"""Columns of `holdout.tsv` and `validation.tsv`: what a network that reads both halves saw; see `side_ratios`."""

ONSET_MIN = "onset_to_mri_min"
"""A column of `validation.tsv`, of onset questions."""

_BY_FOLD = "logit_fold_"
"""Columns of `holdout.tsv`, where there are several folds: the logit by the networks of each; `logit` is their mean."""

WITHOUT_FLAIR = "logit_without_flair"
"""A column of `holdout.tsv`, where a network can do without: the logit of the same unit, its FLAIR taken away."""

PROMOTED_SCHEMA = 1


def fold_column(i_fold: int) -> str:
    """The column of a fold's logits, counted from 0."""
    return f"{_BY_FOLD}{i_fold + 1}"


def fold_columns(columns: Iterable[str]) -> list[str]:
    """Those of a table's columns that hold a fold's logits, in order."""
    return [name for name in columns if name.startswith(_BY_FOLD)]


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """A trial's state after an epoch, or (`best/`) what is kept of it: the best epoch's weights and the facts."""

    path: Path

    @property
    def weights(self) -> Path:
        """The network after the last epoch; in `best/` and in a promoted folder after the best one."""
        return self.path / "weights.safetensors"

    @property
    def best(self) -> Path:
        """The network after the best epoch so far."""
        return self.path / "best.safetensors"

    @property
    def optimiser(self) -> Path:
        """The optimiser's state after the last epoch."""
        return self.path / "optimiser.safetensors"

    @property
    def facts(self) -> Path:
        """Configuration, seed, network, the other files' digests; written last, so that it makes a checkpoint whole."""
        return self.path / "facts.json"

    @property
    def metrics(self) -> Path:
        """What the epoch reported."""
        return self.path / "metrics.json"


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """Every file of a trial: its latest checkpoints while it runs, `best/` once it has ended."""

    path: Path

    def checkpoint(self, epoch: int) -> CheckpointFolder:
        """The checkpoint of an epoch, from 1."""
        return CheckpointFolder(self.path / f"epoch-{epoch:04d}")

    def begun_checkpoints(self) -> list[CheckpointFolder]:
        """Every checkpoint, the latest epoch first; the first may be torn."""
        return [CheckpointFolder(path) for path in sorted(self.path.glob("epoch-*"), reverse=True)]

    def checkpoints(self) -> list[CheckpointFolder]:
        """The whole checkpoints, the latest epoch first."""
        return [checkpoint for checkpoint in self.begun_checkpoints() if checkpoint.facts.exists()]

    @property
    def best(self) -> CheckpointFolder:
        """What is kept of a trial that has ended."""
        return CheckpointFolder(self.path / "best")

    @property
    def first_weights(self) -> Path:
        """Where the first weights came from and how each tensor fitted; absent where they were drawn."""
        return self.path / "first_weights.json"

    @property
    def error(self) -> Path:
        """The traceback of the last failure."""
        return self.path / "error.txt"


@dataclass(frozen=True, slots=True)
class PromotedFolder:
    """Every file of a promoted checkpoint."""

    path: Path

    @property
    def weights(self) -> Path:
        """The network after the trial's best epoch."""
        return self.path / "weights.safetensors"

    @property
    def trial(self) -> Path:
        """Configuration, metrics and lineage."""
        return self.path / "trial.json"

    @property
    def holdout(self) -> Path:
        """What it scored on the holdout."""
        return self.path / "holdout.json"

    @property
    def holdout_scores(self) -> Path:
        """The logit of each unit of the holdout."""
        return self.path / "holdout.tsv"

    @property
    def validation_scores(self) -> Path:
        """The logit of each unit that judged it, given by replicas that did not learn from it."""
        return self.path / "validation.tsv"

    @property
    def looks(self) -> Path:
        """Pictures of where it looks, of some hemispheres of the holdout, where the lesions are known."""
        return self.path / "looks.npz"

    @property
    def intake(self) -> Path:
        """What its cohort was like and how the images were made: enough to use it without the cohort."""
        return self.path / "intake.json"

    def read_trial(self) -> dict[str, Any]:
        """What `trial.json` says.

        Raises:
            CheckpointError: The file is missing, is not JSON, has another schema or lacks a key.
        """
        return read_json(
            self.trial,
            schema=PROMOTED_SCHEMA,
            needed=("phase", "metrics", "network", "lineage"),
            error=CheckpointError,
            missing="no such file; a promoted checkpoint is a folder sweeps/SWEEP/promoted/RANK",
        )

    def read_holdout(self, *also: str) -> dict[str, Any]:
        """What `holdout.json` says.

        Args:
            also: Keys that must be there beside those of every phase.

        Raises:
            CheckpointError: The file is missing, is not JSON, has another schema or lacks a key; or the scores are not
                those that it was written with (0.1 kept no digest of them).
        """
        facts = read_json(
            self.holdout, schema=PROMOTED_SCHEMA, needed=("phase", "unit", "metrics", *also), error=CheckpointError
        )
        if (expected := facts.get("scores_digest")) is not None:
            _check_digest(self.holdout_scores, expected)
        return facts

    def fault(self, digest: str) -> str | None:
        """What is wrong with the checkpoint, in one line; None: it is what was promoted, and whole.

        Args:
            digest: SHA-256 of the weights that were promoted.
        """
        try:
            _check_digest(self.weights, digest)
            self.read_trial()
            if self.holdout.exists():
                self.read_holdout()
        except CheckpointError as error:
            return str(error)
        return None


def _check_digest(path: Path, expected: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if (found := digest_file(path)) != expected:
        raise CheckpointError(f"{path}: digest is {found[:12]}, not {expected[:12]}: it was altered or damaged")


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
        """What was asked for, resolved, when the sweep was opened."""
        return self.path / "sweep.json"

    @property
    def tune(self) -> Path:
        """Ray Tune's own files; removed once the sweep is complete."""
        return self.path / "tune"

    def trial(self, name: str) -> TrialFolder:
        """The folder of a trial."""
        return TrialFolder(self.path / "trials" / name)

    def promoted(self, rank: int) -> PromotedFolder:
        """The folder of the promoted checkpoint of this rank."""
        return PromotedFolder(self.path / "promoted" / str(rank))

    def promoted_ranks(self) -> list[int]:
        """The ranks that there are folders of, ascending; the ledger says which of them count."""
        return sorted(int(path.name) for path in (self.path / "promoted").glob("[0-9]*"))


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
    def tracking(self) -> Path:
        """The folder's identity on a tracker."""
        return self.path / "tracking.json"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts, where no server keeps them."""
        return self.path / "mlartifacts"

    @property
    def default_tracking_uri(self) -> str:
        """The SQLite store that is used where the study names no server."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    def sweep(self, name: str) -> SweepFolder:
        """The folder of the sweep of that name."""
        return SweepFolder(self.path / "sweeps" / name)

    def sweeps(self) -> list[SweepFolder]:
        """The folders of the sweeps that have been opened, by name; some may be of an earlier state of the study."""
        return [SweepFolder(path.parent) for path in sorted(self.path.glob("sweeps/*/ledger.jsonl"))]

    def read_graph(self) -> dict[str, Any]:
        """What `graph.json` says, its arms in the study's order (0.1 kept none: by name).

        Raises:
            InputError: The file is missing, is not a JSON object or lacks a key.
        """
        graph = read_json(self.graph, needed=("study", "seed", "cohort", "sweeps", "arms"))
        if sorted(order := graph.get("order", ())) == sorted(graph["arms"]):
            graph["arms"] = {arm: graph["arms"][arm] for arm in order}
        return graph
