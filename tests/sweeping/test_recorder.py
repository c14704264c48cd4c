"""What Tune reports, on its way to the ledger."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tissueclock.errors import SweepError
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.sweeping.recorder import Recorder


def test_an_epoch_that_another_sweep_trained_is_refused(tmp_path: Path) -> None:
    tune_trial: Any = SimpleNamespace(trial_id="x", config={"hyperparameters": {}})
    with LedgerWriter(tmp_path / "ledger.jsonl") as writer:
        writer.append("opened", inputs="ours")
        writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
        recorder = Recorder(writer=writer, names={"x": "t0001"}, folder=SweepFolder(tmp_path))

        with pytest.raises(SweepError, match="t0001 reported an epoch of inputs theirs; ours are ours"):
            recorder.on_trial_result(1, [], tune_trial, {"epoch": 1, "metrics": {"val_auc": 0.9}, "inputs": "theirs"})

        assert not writer.state.trials["t0001"].metrics
