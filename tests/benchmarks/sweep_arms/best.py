"""The best script we can write: actors used again, no loggers of Tune's, one batched MLflow call a report."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune import Callback, CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.measuring import answer
from tests.benchmarks.sweep_arms import work


class Trial(tune.Trainable):
    def setup(self, config: dict[str, Any], cohort: Path) -> None:
        torch.set_num_threads(1)
        self.samples = work.Samples(cohort)
        self.learner = work.make_learner(self.samples, config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.learner = work.make_learner(self.samples, new_config)
        return True

    def step(self) -> dict[str, Any]:
        metrics = self.learner.run_epoch()
        return {
            "best_value": metrics["best_value"],
            "epoch": self.learner.epoch,
            "metrics": metrics,
            "done": self.learner.finished,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.learner.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.learner.restore(Path(checkpoint_dir))


class BatchedMlflow(Callback):
    """A run for each trial, nested in one for the sweep; parameters and each report in one call."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.create_experiment("bench")
        self.sweep = self.client.create_run(self.experiment, run_name="sweep").info.run_id
        self.runs: dict[str, str] = {}
        self.first_s = 0.0

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        from mlflow.entities import Param

        self.first_s = self.first_s or time.perf_counter()
        if trial.trial_id not in self.runs:
            tags = {"mlflow.parentRunId": self.sweep}
            run = self.client.create_run(self.experiment, tags=tags, run_name=trial.trial_id)
            self.runs[trial.trial_id] = run.info.run_id
            params = [Param(name, str(value)) for name, value in trial.config.items()]
            self.client.log_batch(run.info.run_id, params=params)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, value, now_ms, result["epoch"]) for name, value in result["metrics"].items()]
        self.client.log_batch(self.runs[trial.trial_id], metrics=metrics)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.client.set_terminated(self.runs[trial.trial_id])

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.client.set_terminated(self.sweep)

    def __getstate__(self) -> dict[str, Any]:
        return {"runs": self.runs}


def main(cohort: Path, folder: Path) -> None:
    work.open_cohort(cohort)
    uri = work.make_store(folder)
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_GLOBAL_CHECKPOINT_S": "60"}
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init(address="local", num_cpus=work.CONCURRENT, include_dashboard=False, log_to_driver=False)

    started = time.perf_counter()
    callback = BatchedMlflow(uri)
    tuner = Tuner(
        tune.with_resources(tune.with_parameters(Trial, cohort=cohort), {"cpu": 1}),
        param_space=work.TUNED,
        tune_config=TuneConfig(
            search_alg=OptunaSearch(
                metric="best_value", mode="max", sampler=optuna.samplers.RandomSampler(seed=work.SEED)
            ),
            num_samples=work.N_TRIALS,
            max_concurrent_trials=work.CONCURRENT,
            reuse_actors=True,
        ),
        run_config=RunConfig(
            name="best",
            storage_path=str(folder),
            callbacks=[callback],
            checkpoint_config=CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
            verbose=0,
        ),
    )
    tuner.fit()
    wall_s = time.perf_counter() - started

    answer(wall_s=wall_s, first_started_s=callback.first_s - started, **work.count_logged(folder))
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
