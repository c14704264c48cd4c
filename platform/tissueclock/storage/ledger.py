"""A sweep's ledger: append-only lines that say what was asked, started, reported and ended.

The ledger is the truth. One process writes it (it holds a lock); anyone may read it at any moment, the tracker follows
it and the report is made from it. A line is written whole and synced before what it says is acted on; a last line that
a killed writer left torn is dropped. Lines are never changed.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from tissueclock.errors import BusyError, InputError, StorageError
from tissueclock.storage.files import storage_error
from tissueclock.storage.locks import try_lock

SCHEMA = 1
Status = Literal["finished", "pruned", "failed"]
_LOCK_WAIT_S = 10.0


@dataclass(slots=True)
class TrialEntry:
    """What the ledger says of one trial, folded.

    Attributes:
        name: `t0001` and so on, in the order asked.
        hyperparameters: The configuration; where 0.1's population-based training changed it, the last one.
        seed: The trial's own seed.
        asked_s: When it was asked, seconds since the epoch.
        begun_s: When its attempt began: asked, or taken up anew after it had failed. An attempt's curve is its own.
        started: How many times a worker took it up.
        code: The code that last took it up, as lineage tells it; empty where the ledger does not say.
        metrics: What was reported, by epoch (a repeated epoch overwrites).
        recovered: One line for every failure after which it was taken up again.
        status: How it ended; None while it has not.
        error: One line, where it failed.
        ended_s: When it ended.
        confirms: The trial whose configuration it learns again, from another seed; None: it is one of the search.
        changed: The one hyperparameter in which it differs from that; None: none.
    """

    name: str
    hyperparameters: dict[str, Any]
    seed: int
    asked_s: float
    begun_s: float = 0.0
    started: int = 0
    code: dict[str, Any] = field(default_factory=dict)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    recovered: list[str] = field(default_factory=list)
    status: Status | None = None
    error: str | None = None
    ended_s: float | None = None
    confirms: str | None = None
    changed: str | None = None

    @property
    def best_value(self) -> float | None:
        """The best value of the phase's objective at any epoch so far (what promotion ranks by)."""
        return max((row["best_value"] for row in self.metrics.values()), default=None)

    @property
    def last_epoch(self) -> int:
        """The last epoch reported, 0 before the first."""
        return max(self.metrics, default=0)


@dataclass(slots=True)
class LedgerState:
    """A ledger, folded from its first line to its last.

    Attributes:
        facts: What the opening line says: inputs, lineage, arms.
        trials: Those of the search, by name, in the order asked.
        confirmations: Trials that learn the configuration of one of these again, from fresh seeds or with one knob
            changed; likewise.
        codes: The code that opened the sweep and that of each attempt, as lineage tells it; 0.1 wrote the first alone.
        promoted: By rank: the promoted checkpoint's trial and digest.
        closed: Whether the sweep is complete as last asked for.
        spent_min: The time budget that was used up last, minutes; None where none was.
        spent_h: The study's budget, device-hours, of which its share was used up last, or left; None where it was not.
        n_lines: Lines read.
        busy_s: Seconds between the first and the last line of each attempt, summed.
        bill: What it was to cost at most, as last asked for: `hours`, in the `unit` GPU or CPU; empty where unknown.
        slot: Devices that a trial was given after it had run out of memory on fewer, the most so far; 0: none has.
        device_s: What it has cost: seconds of all epochs, those of lost attempts too, times the devices of a trial.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    trials: dict[str, TrialEntry] = field(default_factory=dict)
    confirmations: dict[str, TrialEntry] = field(default_factory=dict)
    codes: list[dict[str, Any]] = field(default_factory=list)
    promoted: dict[int, dict[str, Any]] = field(default_factory=dict)
    closed: bool = False
    spent_min: float | None = None
    spent_h: float | None = None
    n_lines: int = 0
    busy_s: float = 0.0
    bill: dict[str, Any] = field(default_factory=dict)
    slot: float = 0.0
    device_s: float = 0.0
    _last_s: float | None = None

    def apply(self, line: Mapping[str, Any]) -> None:
        """Folds one more line in."""
        self.n_lines += 1
        self.codes += _codes(line)
        self._count_time(line)
        match line:
            case {"kind": "opened", **rest}:
                self.facts = dict(rest)
            case {"kind": "billed", **rest}:
                self.bill = dict(rest)
            case {"kind": "asked", "trial": name}:
                asked_s, confirms = line["time_s"], line.get("confirms")
                entry = TrialEntry(name, dict(line["hyperparameters"]), line["seed"], asked_s, asked_s)
                entry.confirms, entry.changed = confirms, line.get("changed")
                (self.trials if confirms is None else self.confirmations)[name] = entry
                self.closed = False
            case {"kind": "promoted", "rank": rank}:
                self.promoted[rank] = dict(line)
            case {"kind": "shared", "arms": arms}:
                self.facts["arms"] = list(arms)
            case {"kind": "spent", **rest}:
                self.spent_min = rest.get("time_budget_min", self.spent_min)
                self.spent_h = rest.get("study_budget_h", self.spent_h)
            case {"kind": "closed"}:
                self.closed = True
            case {"kind": "reopened"}:
                self.closed = False
                self.promoted.clear()
            case {"trial": name}:
                _apply_to_trial(self.entry(name), line, code=self.codes[-1] if self.codes else {})

    def _count_time(self, line: Mapping[str, Any]) -> None:
        """Adds up how long the sweep was at work, and what its epochs cost; a report that came twice counts once."""
        begins = line["kind"] in ("attempt", "billed", "opened", "reopened")
        if self._last_s is not None and not begins:
            self.busy_s += line["time_s"] - self._last_s
        if self._last_s is not None or begins:
            self._last_s = line["time_s"]
        if line["kind"] == "enlarged":
            self.slot = max(self.slot, line["devices"])
        if line["kind"] == "reported" and self.entry(line["trial"]).metrics.get(line["epoch"]) != line["metrics"]:
            self.device_s += line["metrics"].get("epoch_s", 0.0) * self.devices

    @property
    def devices(self) -> float:
        """How many devices a trial takes: GPUs, or CPUs where it takes none."""
        spec = self.facts.get("spec", {})
        asked = self.bill.get("devices") or spec.get("gpus_per_trial") or spec.get("cpus_per_trial", 1.0)
        return max(float(asked), self.slot)

    @property
    def unit(self) -> str:
        """The unit of these: `GPU` or `CPU`."""
        on_gpu = self.facts.get("spec", {}).get("gpus_per_trial")
        return str(self.bill.get("unit") or ("GPU" if on_gpu else "CPU"))

    def entry(self, name: str) -> TrialEntry:
        """A trial of the search, or one that confirms one."""
        return self.trials.get(name) or self.confirmations[name]

    def entries(self) -> list[TrialEntry]:
        """All trials: those of the search, then those that confirm them."""
        return [*self.trials.values(), *self.confirmations.values()]

    def confirmed(self, name: str) -> list[float]:
        """The best values that a trial's configuration reached from the fresh seeds that ended so far."""
        again = [entry for entry in self.confirmations.values() if entry.confirms == name and entry.changed is None]
        return [entry.best_value for entry in again if entry.status is not None and entry.best_value is not None]

    def with_status(self, *statuses: Status | None) -> list[TrialEntry]:
        """The trials of the search that ended so (None: that have not ended), in the order asked."""
        return [trial for trial in self.trials.values() if trial.status in statuses]

    def best(self) -> TrialEntry | None:
        """The trial with the best validation AUC at any epoch, ended or not."""
        ranked = [trial for trial in self.trials.values() if trial.best_value is not None]
        return max(ranked, key=lambda trial: trial.best_value or -math.inf, default=None)


def _codes(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The code that a line names, if it names one."""
    code = line.get("code") or line.get("lineage", {}).get("code")
    return [code] if code else []


def _apply_to_trial(trial: TrialEntry, line: Mapping[str, Any], *, code: dict[str, Any]) -> None:
    match line["kind"]:
        case "started":
            trial.started += 1
            trial.code = code
        case "reported":
            trial.metrics[line["epoch"]] = dict(line["metrics"])
        case "changed":
            trial.hyperparameters = dict(line["hyperparameters"])
        case "recovered":
            trial.recovered.append(line["error"])
        case "retried":
            trial.status = trial.error = trial.ended_s = None
            trial.begun_s, trial.metrics, trial.recovered = line["time_s"], {}, []
        case "ended":
            trial.status, trial.error, trial.ended_s = line["status"], line.get("error"), line["time_s"]


def read_lines(path: Path, *, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole lines of a ledger from a byte offset on, each with the offset behind it.

    A last line without its newline is one that is being written, or that a killed writer left torn: it is not given.

    Args:
        path: The ledger; a file that does not exist yet has no lines.
        offset: Where to begin, in bytes: 0 or an offset that this function gave.

    Raises:
        InputError: A line that has its newline is not a JSON object: the file was changed by hand.
    """
    if not path.exists():
        return
    with path.open("rb") as stream:
        stream.seek(offset)
        for raw in stream:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            try:
                line = json.loads(raw)
                line["kind"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}: the line that ends at byte {offset} is {raw[:40]!r}; a ledger holds one JSON object with "
                    "a kind on each line, and is never edited"
                ) from error
            yield line, offset


def read_ledger(path: Path) -> LedgerState:
    """A ledger, folded; empty where the file does not exist.

    Raises:
        InputError: A line is not a ledger's.
    """
    return LedgerReader(path).poll()


class LedgerReader:
    """A ledger that is being written, folded as far as it has come; each poll reads only what is new.

    Args:
        path: The ledger; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = LedgerState()
        self._offset = 0

    def poll(self) -> LedgerState:
        """The ledger up to its last whole line.

        Raises:
            InputError: A line is not a ledger's.
        """
        for line, offset in read_lines(self.path, offset=self._offset):
            self.state.apply(line)
            self._offset = offset
        return self.state


class LedgerWriter:
    """The one writer of a ledger, for as long as it is open.

    Opening takes the lock, drops a torn last line and folds what is there into `state`, which every append keeps true.

    Args:
        path: The ledger; its folder is made where it is missing.

    Raises:
        BusyError: Another process has been holding the lock for ten seconds.
        StorageError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
        if not try_lock(self._stream, wait_s=_LOCK_WAIT_S):
            self._stream.close()
            raise BusyError(f"{path}: another process is writing this sweep; let it end first")
        try:
            self.state = LedgerState()
            end = 0
            for line, offset in read_lines(path):
                self.state.apply(line)
                end = offset
            os.ftruncate(self._stream.fileno(), end)
        except BaseException:
            self._stream.close()
            raise

    def append(self, kind: str, /, **facts: Any) -> None:
        """Writes one line, synced to the disk before this returns.

        Raises:
            StorageError: The disk is full.
        """
        line = {"kind": kind, "time_s": round(time.time(), 3), **facts}
        raw = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self._stream.write(raw)
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from error
        self.state.apply(line)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles the searcher and callbacks that hold a writer, and never reads the copy: it cannot write."""
        return {"path": self.path, "state": self.state}

    def __enter__(self) -> "LedgerWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
