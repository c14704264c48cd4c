"""Every file of a study, a sweep, a trial and a promoted checkpoint is a property of its folder.

Knows where files lie and which of them are readers of their own; not what a sweep is.
"""

from dataclasses import dataclass
from pathlib import Path


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
