"""The Ray Tune trainable that wraps a phase: a trial in an actor of Tune's.

Tune's checkpoints hold no weights: a trial goes on from those in its own folder, and from no other's.
"""

import inspect
from pathlib import Path
from typing import Any, ClassVar

from ray import tune

from tissueclock.errors import SweepError
from tissueclock.lineage import code_digests
from tissueclock.records import SweepJob
from tissueclock.storage.files import digest_facts
from tissueclock.training.distributed import train_distributed
from tissueclock.training.phase import Phase
from tissueclock.training.trial import Trial


class PhaseTrainable(tune.Trainable):  # type: ignore[misc, unused-ignore]
    """A phase as Tune runs it; a subclass names its phase.

    By hand: `Tuner(Detection.for_job(job), param_space={"hyperparameters": SPACE, "seed": 1}, ...)`.

    Attributes:
        phase: What is learned.
    """

    phase: ClassVar[Phase]
    trial: Trial

    @classmethod
    def as_facts(cls) -> dict[str, Any]:
        """What of the phase a result depends on, as JSON facts: what it declares, and its code.

        A phase of ours is one module over the platform; to a lab's belongs what it imports from the lab's folder.
        """
        own = next(kind for kind in cls.__mro__ if not kind.__module__.startswith("ray."))  # Tune derives one for a job
        file = Path(inspect.getfile(own))
        room = file.parents[1] if file.stem == "__init__" else file.parent
        lab = None if (room / "__init__.py").exists() else room.parent
        return {**cls.phase.as_facts(), "code": code_digests(own.__module__, file, folder=lab, title=cls.phase.title)}

    @classmethod
    def for_job(cls, job: SweepJob) -> Any:
        """What Tune is handed: this class, or a function that runs it on several devices; under the sweep's own name.

        Tune registers it by its `__name__` for the whole Ray job, which all sweeps of a study share: under one name,
        the last sweep to register would train the others' trials.

        Raises:
            SweepError: The phase was edited since the sweep was named by it.
        """
        cls._check_unchanged(job)
        if job.spec.budget.resources.workers == 1:
            tunable = tune.with_parameters(cls, job=job)
        else:
            tunable = tune.with_parameters(train_distributed, phase=cls.phase, job=job)
        tunable.__name__ = f"{cls.__name__}_{digest_facts([str(job.folder.path), job.inputs])[:16]}"
        return tunable

    @classmethod
    def _check_unchanged(cls, job: SweepJob) -> None:
        """A worker imports the phase when it starts: an edit in between would train another question's trials."""
        if job.phase and cls.as_facts() != job.phase:
            raise SweepError(
                f"sweep {job.name}: phase {job.spec.phase} was edited meanwhile; run the same command again"
            )

    def setup(self, config: dict[str, Any], job: SweepJob) -> None:
        """Opens the cohort, which all later trials of this actor share, and begins the first of them."""
        self._check_unchanged(job)
        self.trial = Trial(self.phase, job)
        self.trial.begin(self.trial_name, config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in the same actor."""
        self.trial.begin(self.trial_name, new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Trains one epoch; see `Trial.step`."""
        result = self.trial.step()
        return {**result, "done": result["finished"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Names the trial, for Tune; its folder holds the weights."""
        return {"trial": self.trial_name}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Does nothing: the trial has gone on from its folder already.

        Raises:
            SweepError: It is another trial's: population-based training copies weights between trials.
        """
        if checkpoint is not None and (found := checkpoint["trial"]) != self.trial_name:
            raise SweepError(f"trial {self.trial_name}: cannot go on from {found}; take a scheduler that copies none")
