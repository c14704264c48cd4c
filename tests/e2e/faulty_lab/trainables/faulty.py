"""Detection in which some trials go wrong: once, or every time, according to a hyperparameter."""

import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np

from tissueclock.cohort.questions import HoldsLesion
from tissueclock.training.classification import Classification
from tissueclock.training.phase import Phase
from tissueclock.training.tunable import PhaseTrainable


class Faulty(PhaseTrainable):
    """`dropout` is the fault, at epoch 2: 0.1 none, 0.2 raises, 0.3 out of memory, 0.4 its worker is killed once."""

    phase = Phase(name="faulty", title="detection with faults", task=Classification(HoldsLesion()))

    def step(self) -> dict[str, Any]:
        fault = self.trial.course.hyperparameters.dropout
        if self.trial.course.epoch == 1:
            if fault == 0.2:
                raise RuntimeError("this trial always raises")
            if fault == 0.3:
                self._run_out_of_memory()
            if fault == 0.4 and self._first_time():
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step()

    def _run_out_of_memory(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 28), hard))
        try:
            np.ones(1 << 30, dtype=np.uint8)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def _first_time(self) -> bool:
        mark = self.trial.folder.path / "killed-once"
        first = not mark.exists()
        mark.touch()
        return first
