"""The log of one sweep: its ledger, folded, with the times of its lines and what is still to be sent to the tracker.

Reads files; knows nothing of MLflow.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerState, read_lines

SWEEP = ""  # stands among trial names for the sweep itself


@dataclass(frozen=True, slots=True)
class Summary:
    """A sweep after one of its trials has ended.

    Attributes:
        time_s: When it ended, seconds since the epoch.
        best_value: The best value of the objective of any trial so far, None before the first report.
        statuses: How many trials ended how.
    """

    time_s: float
    best_value: float | None
    statuses: Mapping[str, int]


@dataclass(slots=True)
class SweepLog:
    """A ledger, read as far as it is written.

    Attributes:
        name: The sweep's name.
        folder: The sweep's folder.
        offset: The bytes read.
        state: The ledger, folded.
        opened_s: When the sweep was opened, seconds since the epoch.
        last_s: The time of the last line.
        reported_s: When a trial reported an epoch; the first time counts.
        nodes: By trial, the node that reported last.
        summaries: By the number of `ended` lines: the sweep after it.
        dirty: The trials (`SWEEP`: the sweep) whose runs have something new to say.
        pending: How many lines of each of them are not logged.
    """

    name: str
    folder: SweepFolder
    offset: int = 0
    state: LedgerState = field(default_factory=LedgerState)
    opened_s: float = 0.0
    last_s: float = 0.0
    reported_s: dict[tuple[str, int], float] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    summaries: dict[int, Summary] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    pending: Counter[str] = field(default_factory=Counter)
    _best: float | None = None

    def read(self) -> None:
        """Takes in the lines written since.

        Raises:
            InputError: A line is not a ledger's.
        """
        for line, offset in read_lines(self.folder.ledger, offset=self.offset):
            self._apply(line)
            self.offset = offset

    def mark_logged(self, name: str) -> None:
        """Marks a trial (`SWEEP`: the sweep) as logged."""
        self.dirty.discard(name)
        self.pending.pop(name, None)

    def n_unread(self) -> int:
        """How many whole lines the ledger has that `read` has not seen."""
        return sum(1 for _ in read_lines(self.folder.ledger, offset=self.offset))

    def _apply(self, line: dict[str, Any]) -> None:
        self.state.apply(line)
        self.last_s = line["time_s"]
        trial = SWEEP if line["kind"] == "promoted" else line.get("trial", SWEEP)
        self.dirty.add(trial)
        self.pending[trial] += 1
        match line["kind"]:
            case "opened":
                self.opened_s = line["time_s"]
            case "reported":
                self.nodes[trial] = str(line.get("node", ""))
                self.reported_s.setdefault((trial, line["epoch"]), line["time_s"])
                value = line["metrics"].get("best_value")
                is_better = value is not None and (self._best is None or value > self._best)
                if is_better and trial in self.state.trials:  # what confirms a trial is none of the search
                    self._best = value
            case "retried":  # the curve of the attempt that failed is not the trial's
                self.reported_s = {key: time_s for key, time_s in self.reported_s.items() if key[0] != trial}
                values = [entry.best_value for entry in self.state.trials.values() if entry.best_value is not None]
                self._best = max(values, default=None)
            case "ended":
                statuses = Counter(str(entry.status) for entry in self.state.trials.values() if entry.status)
                self.summaries[len(self.summaries) + 1] = Summary(line["time_s"], self._best, dict(statuses))
                self.dirty.add(SWEEP)
