"""Where a sweep ends before its last trial: its share of the study's budget is used up, or its best no longer grows."""

from typing import Any

from ray.tune import Stopper

from tissueclock.storage.ledger import LedgerState, LedgerWriter

_FEWEST_WITHOUT_A_BETTER = 8


def is_flat(state: LedgerState, *, n_wanted: int) -> bool:
    """Whether the last third of the trials wanted, and at least 8, ended without a better best value.

    Args:
        state: The sweep's ledger.
        n_wanted: Trials asked for.
    """
    n_last = max(_FEWEST_WITHOUT_A_BETTER, -(-n_wanted // 3))
    ended = sorted(state.with_status("finished", "pruned", "failed"), key=lambda trial: trial.ended_s or 0.0)
    values = [-1.0 if trial.best_value is None else trial.best_value for trial in ended]
    before, last = values[:-n_last], values[-n_last:]
    return bool(before) and max(last) <= max(before)


class ShareStopper(Stopper):
    """Ends a search that has cost its share of the study's budget, or whose best no longer grows.

    Never before a trial has ended with a value: without one there is nothing to promote, and all that follows would be
    skipped. So a sweep costs one trial at least, and at most its share and an epoch of the trials at work.

    Args:
        writer: The sweep's ledger.
        share_h: What the search may cost, device-hours, with all that it has cost before.
        n_wanted: Trials asked for.
    """

    def __init__(self, writer: LedgerWriter, *, share_h: float, n_wanted: int) -> None:
        self._writer, self._share_h, self._n_wanted = writer, share_h, n_wanted

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether the search is over."""
        state = self._writer.state
        if all(trial.best_value is None for trial in state.with_status("finished", "pruned")):
            return False
        return state.device_s / 3600 >= self._share_h or is_flat(state, n_wanted=self._n_wanted)
