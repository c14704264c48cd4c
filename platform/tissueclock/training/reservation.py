"""Ray Train's trainer, which gives back what it reserved for its workers whatever happens to them.

Ray (2.60) forgets a group of workers that fails after its processes are there and before they train, as where they do
not find each other: what is reserved for it stays so until the job ends, and the next trial waits for it.
"""

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback


class _GiveBack(ControllerCallback, WorkerGroupCallback):  # type: ignore[misc, unused-ignore]
    """Holds on to a group's reservation; one that Ray has given back by itself may be given back again."""

    _reservation: Any = None

    def after_worker_group_start(self, worker_group: Any) -> None:
        """The processes are there."""
        self._reservation = worker_group.get_worker_group_state().placement_group_handle

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        """Another group is about to be started, in place of one that failed."""
        self._give_back()

    async def before_controller_shutdown(self) -> None:
        """No other will be started."""
        self._give_back()

    def _give_back(self) -> None:
        if self._reservation is not None:
            self._reservation.shutdown()


class ReturningTrainer(TorchTrainer):  # type: ignore[misc, unused-ignore]
    """A `TorchTrainer`; its first callback is ours, since Ray calls none after one that fails."""

    def _create_default_callbacks(self) -> list[Any]:
        return [_GiveBack(), *super()._create_default_callbacks()]
