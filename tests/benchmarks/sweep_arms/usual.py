"""The usual script: a new actor for each trial, Tune's default loggers, Ray's own MLflow callback."""

import sys
import time
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune import CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.measuring import answer
from tests.benchmarks.sweep_arms import work


class Trial(tune.Trainable):
    def setup(self, config: dict[str, Any], cohort: Path) -> None:
        torch.set_num_threads(1)
        self.learner = work.make_learner(work.Samples(cohort), config)

    def step(self) -> dict[str, Any]:
        return {**self.learner.run_epoch(), "done": self.learner.finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.learner.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.learner.restore(Path(checkpoint_dir))


def main(cohort: Path, folder: Path) -> None:
    work.open_cohort(cohort)
    uri = work.make_store(folder)
    ray.init(address="local", num_cpus=work.CONCURRENT, include_dashboard=False, log_to_driver=False)

    started = time.perf_counter()
    tuner = Tuner(
        tune.with_resources(tune.with_parameters(Trial, cohort=cohort), {"cpu": 1}),
        param_space=work.TUNED,
        tune_config=TuneConfig(
            search_alg=OptunaSearch(
                metric="best_value", mode="max", sampler=optuna.samplers.RandomSampler(seed=work.SEED)
            ),
            num_samples=work.N_TRIALS,
            max_concurrent_trials=work.CONCURRENT,
            reuse_actors=False,
        ),
        run_config=RunConfig(
            name="usual",
            storage_path=str(folder),
            callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="bench")],
            checkpoint_config=CheckpointConfig(
                checkpoint_frequency=1,
                num_to_keep=2,
                checkpoint_score_attribute="best_value",
                checkpoint_score_order="max",
            ),
        ),
    )
    tuner.fit()
    wall_s = time.perf_counter() - started

    answer(wall_s=wall_s, **work.count_logged(folder))
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
