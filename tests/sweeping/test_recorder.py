"""What Tune reports, on its way to the ledger."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from tissueclock.errors import CohortError, SweepError
from tissueclock.settings import Resources
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.sweeping.recorder import Recorder, one_line_error
from tissueclock.sweeping.sweep import TrialNames


def test_an_epoch_that_another_sweep_trained_is_refused(tmp_path: Path) -> None:
    tune_trial: Any = SimpleNamespace(trial_id="x", config={"hyperparameters": {}})
    with LedgerWriter(tmp_path / "ledger.jsonl") as writer:
        writer.append("opened", inputs="ours")
        writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
        recorder = Recorder(writer=writer, names={"x": "t0001"}, folder=SweepFolder(tmp_path), resources=Resources())

        with pytest.raises(SweepError, match="t0001 reported an epoch of inputs theirs; ours are ours"):
            recorder.on_trial_result(1, [], tune_trial, {"epoch": 1, "metrics": {"val_auc": 0.9}, "inputs": "theirs"})

        assert not writer.state.trials["t0001"].metrics


ACTOR = "The actor died unexpectedly before finishing this task.\n\tactor_id: 5f\n\tpid: 81\n\tip: 10.0.0.3\n"
CHANGED = "Traceback (most recent call last): ...\ntissueclock.errors.CohortError: it was changed\nmeanwhile"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RayActorError("5f", f"{ACTOR}The actor died because its node has died. Node Id: 3a"),
            "its node was lost (10.0.0.3)",
        ),
        (
            RayActorError("5f", f"{ACTOR}The actor is dead because its worker process has died."),
            "its worker died (killed, or out of memory)",
        ),
        (
            ActorUnavailableError("RpcError: Socket closed rpc_code: 14", bytes(16)),
            "its worker died, or its node was lost (the connection broke)",
        ),
        (RayTaskError("train", "Traceback ...", ValueError("lr is -1\nallowed: above 0")), "ValueError: lr is -1"),
        (
            ActorDiedError(RayTaskError("__init__", CHANGED, CohortError("it was changed"))),
            "CohortError: it was changed",
        ),
    ],
)
def test_a_trial_s_last_error_is_one_line_that_says_what_was_lost(tmp_path: Path, error: Exception, line: str) -> None:
    (tmp_path / "error.pkl").write_bytes(cloudpickle.dumps(error))
    tune_trial: Any = SimpleNamespace(pickled_error_file=str(tmp_path / "error.pkl"))

    assert one_line_error(tune_trial) == line


def test_tune_s_copies_for_each_trial_share_the_names_of_all() -> None:
    """Each would hold those of all trials before it: some gigabytes for 10,000."""
    names: dict[str, str] = {}
    copied: Any = copy.deepcopy(TrialNames(names, "-attempt"))

    names["x"] = "t0001"

    assert copied(SimpleNamespace(trial_id="x")) == "t0001-attempt"
