"""What Ray Train wraps around an error is taken off: what is told is what went wrong."""

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from tissueclock.errors import DiskFullError
from tissueclock.training.distributed import unwrapped

FULL, LOST = DiskFullError("disk full: ledger"), RayActorError()
NO_NCCL = RuntimeError("Distributed package doesn't have NCCL built in")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ControllerError(NO_NCCL), NO_NCCL),
        (ControllerError(RayTaskError("execute", "Traceback ...", NO_NCCL)), NO_NCCL),
        (WorkerGroupError("[Rank 1]", {1: UserExceptionWithTraceback(FULL, "Traceback ...")}), FULL),
        (WorkerGroupError("[Rank 0]", {0: WorkerHealthCheckFailedError("The worker died", LOST)}), LOST),
        (NO_NCCL, NO_NCCL),
    ],
)
def test_what_went_wrong_is_below_what_ray_wraps_around_it(error: Exception, cause: Exception) -> None:
    assert unwrapped(error) is cause
