"""Tune's events, written to the ledger as they happen."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle as pickle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial

from tissueclock.errors import DiskFullError, SweepError
from tissueclock.settings import Resources
from tissueclock.storage.files import write_text
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.sweeping.memory import is_out_of_memory, larger_slot, slot, slot_devices, whole_slot
from tissueclock.sweeping.promotion import settle_trial

_RAISED = re.compile(r"(?:\w+\.)*(\w*(?:Error|Exception): .*)")


class Recorder(Callback):
    """Writes what Tune does with trials to the ledger.

    Args:
        writer: The sweep's ledger.
        names: Ledger names by Tune's trial ids; the searcher fills it.
        folder: The sweep's; a trial's tracebacks are kept in its folder.
        resources: What the study gives a trial.
    """

    def __init__(
        self, *, writer: LedgerWriter, names: Mapping[str, str], folder: SweepFolder, resources: Resources
    ) -> None:
        self._resources = resources
        self._writer = writer
        self._names = names
        self._folder = folder

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker took the trial up."""
        name = self._names[trial.trial_id]
        self._writer.append("started", trial=name, epoch=self._writer.state.entry(name).last_epoch)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch was reported.

        Raises:
            SweepError: What reported it trains for other inputs than the ledger's.
        """
        name = self._names[trial.trial_id]
        if (found := result["inputs"]) != (own := self._writer.state.facts["inputs"]):
            raise SweepError(
                f"{self._writer.path}: {name} reported an epoch of inputs {found[:12]}; ours are {own[:12]}"
            )
        metrics = {key: value for key, value in result["metrics"].items() if math.isfinite(value)}
        self._writer.append(
            "reported", trial=name, epoch=result["epoch"], metrics=metrics, node=result.get("hostname", "")
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial ended: by itself, or stopped by the scheduler."""
        name = self._names[trial.trial_id]
        if self._writer.state.entry(name).status is not None:
            return
        status = "finished" if trial.last_result.get("finished") else "pruned"
        self._end(trial, name, status=status)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A failure that the trial is taken up after; after one for want of memory, in a larger slot.

        Raises:
            DiskFullError: There is no room, and would be none for a retry: the trial stays open.
        """
        name = self._names[trial.trial_id]
        _stop_if_full(trial)
        self._keep_tracebacks(trial, name)
        self._writer.append("recovered", trial=name, error=one_line_error(trial) + self._enlarge(trial, name))

    def _enlarge(self, trial: Trial, name: str) -> str:
        """Gives a trial that ran out of memory a larger slot, which those after it get too; what was done, in words."""
        if not is_out_of_memory(_last_error(trial)):
            return ""
        unit = self._resources.unit
        had = slot_devices(self._resources, trial.placement_group_factory.required_resources)
        larger = larger_slot(self._resources, had, whole=whole_slot(self._resources))
        if larger is None:
            return ""
        trial.update_resources(slot(self._resources, larger))
        trial.run_metadata.num_failures -= 1  # doubling ends by itself: it is none of `max_failures`
        self._writer.append("enlarged", trial=name, devices=larger)
        return f" (out of memory on {had:g} {unit}: taken up on {larger:g})"

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A failure once too often.

        Raises:
            DiskFullError: There is no room: the trial stays open.
        """
        name = self._names[trial.trial_id]
        _stop_if_full(trial)
        self._keep_tracebacks(trial, name)
        self._end(trial, name, status="failed", error=one_line_error(trial))

    def _end(self, trial: Trial, name: str, **facts: Any) -> None:
        """Writes how it ended, and drops what is kept of it for nobody: Tune's averages of every number reported."""
        self._writer.append("ended", trial=name, **facts)
        settle_trial(self._folder.trial(name))
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()

    def _keep_tracebacks(self, trial: Trial, name: str) -> None:
        if trial.error_file and Path(trial.error_file).exists():
            write_text(self._folder.trial(name).error, Path(trial.error_file).read_text(errors="replace"))


def one_line_error(trial: Trial) -> str:
    """What went wrong in a trial, in one line of at most 300 characters.

    Tune writes the last error to files on the driver's disk; only some of them reach the storage.
    """
    error = _last_error(trial)
    if error is None:
        return "unknown: Tune kept no error"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    if not isinstance(error, RayActorError):
        return f"{type(error).__name__}: {lines[0]}"[:300]
    if error.actor_init_failed:  # a traceback: what was raised stands at its end, and may have further lines
        raised = [match[1] for match in map(_RAISED.match, lines) if match]
        return (raised or lines)[-1][:300]
    return _what_died(error)


def _what_died(error: RayActorError) -> str:
    """Of a trial whose worker is gone: the process, its node, or, before Ray has found out, the connection to it."""
    if isinstance(error, ActorUnavailableError):
        return "its worker died, or its node was lost (the connection broke)"
    if "node has died" not in str(error):
        return "its worker died (killed, or out of memory)"
    address = re.search(r"^\s*ip: (\S+)$", str(error), re.MULTILINE)
    return f"its node was lost ({address[1]})" if address else "its node was lost"


def _last_error(trial: Trial) -> BaseException | None:
    """What the trial raised last, if Tune kept it on the driver's disk."""
    if not (trial.pickled_error_file and Path(trial.pickled_error_file).exists()):
        return None
    error: BaseException = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error.cause if isinstance(error, RayTaskError) and error.cause is not None else error


def _stop_if_full(trial: Trial) -> None:
    if isinstance(error := _last_error(trial), DiskFullError):
        raise DiskFullError(str(error).splitlines()[0])
