"""One configuration learned several times in step, on other folds and from other seeds, and judged by the mean.

A configuration that is judged by one small validation split is chosen by luck: the standard error of an AUC of .7 over
64 patients is .06.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tissueclock.errors import CheckpointError
from tissueclock.learning.course import Course, LearningState
from tissueclock.weights.tensors import join_replicas, replica_tensors


class Replicas(Course):
    """Learners of one configuration, an epoch each in step.

    The best epoch is that of the mean curve, the same for all: a replica's own best would be luck again.

    Args:
        learners: In the order of folds, and within a fold of seeds; at least 2.
        n_seeds: Learners of each fold.
        epochs: Most epochs to run.
        patience: Epochs without a better mean after which to stop.
        smooth: Epochs that this mean is averaged over before it judges one.
        seed: The trial's.
    """

    def __init__(
        self, learners: Sequence[Course], *, n_seeds: int, epochs: int, patience: int, seed: int, smooth: int = 1
    ) -> None:
        super().__init__(epochs=epochs, patience=patience, objective=learners[0].objective, smooth=smooth)
        self.learners = tuple(learners)
        self._n_seeds, self._seed = n_seeds, seed

    def learn_epoch(self) -> dict[str, float]:
        """Trains one epoch of each replica and validates.

        Returns:
            The mean of each metric over the replicas (`epoch_s`: the sum); the objective of each fold,
            `OBJECTIVE_fold1` and so on, and its standard error over folds, `OBJECTIVE_se` (over seeds, where there is
            one fold; folds share training patients, so it is too small where they decide); and what `Course.pooled`
            gives.

        Raises:
            DivergedError: A loss or an output is not finite.
        """
        rows = [learner.learn_epoch() for learner in self.learners]
        self.epoch += 1
        metrics = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        metrics["epoch_s"] = sum(row["epoch_s"] for row in rows)
        name = self.learners[0].objective
        by_fold = np.array([row[name] for row in rows]).reshape(-1, self._n_seeds)
        values = by_fold.mean(axis=1) if len(by_fold) > 1 else by_fold[0]
        metrics[f"{name}_se"] = float(values.std(ddof=1) / np.sqrt(len(values)))
        if len(by_fold) > 1:
            metrics |= {f"{name}_fold{i}": float(value) for i, value in enumerate(values, start=1)}
        return metrics | type(self.learners[0]).pooled(self.learners)

    def keep(self) -> None:
        """Keeps every replica's weights."""
        for learner in self.learners:
            learner.keep()

    def state(self) -> LearningState:
        """The states of all, the names of their tensors behind `replica1.` and so on."""
        states = [learner.state() for learner in self.learners]
        return LearningState(
            weights=join_replicas([state.weights for state in states]),
            best=join_replicas([state.best for state in states]),
            optimiser=join_replicas([state.optimiser for state in states]),
            facts={**states[0].facts, "seed": self._seed, "replicas": [state.facts for state in states]},
        )

    def load(self, state: LearningState) -> None:
        """Goes on from a state.

        Raises:
            CheckpointError: It is of another number of replicas, of another network or of other parameters.
        """
        facts: Sequence[Mapping[str, Any]] = state.facts["replicas"]
        if len(facts) != len(self.learners):
            raise CheckpointError(f"{len(facts)} replicas found; this trial has {len(self.learners)}")
        for i, learner in enumerate(self.learners):
            learner.load(
                LearningState(
                    weights=replica_tensors(state.weights, i),
                    best=replica_tensors(state.best, i),
                    optimiser=replica_tensors(state.optimiser, i),
                    facts=facts[i],
                )
            )
