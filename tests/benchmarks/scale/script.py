"""The best script for trials that cost nothing: actors used again, TPE, no loggers, a JSON checkpoint an epoch.

Usage: python -m tests.benchmarks.scale.script FOLDER N_TRIALS EPOCHS AT_ONCE tracked|untracked
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune import Callback, CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.search.optuna import OptunaSearch


class Trial(tune.Trainable):
    def setup(self, config: dict[str, Any], epochs: int) -> None:
        torch.set_num_threads(1)  # a trial that learned would need torch, and its seconds of imports
        self.epochs = epochs
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.epoch, self.tuned, self.noise = 0, new_config, random.Random(1)
        return True

    def step(self) -> dict[str, Any]:
        self.epoch += 1
        far = (self.tuned["lr"] + 3) ** 2 + self.tuned["dropout"]
        value = 1 / (1 + far) + self.noise.gauss(0, 0.01)
        return {"val_auc": value, "train_loss": far, "val_loss": far, "done": self.epoch >= self.epochs}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "state.json").write_text(json.dumps({"epoch": self.epoch, "weights": [0.0] * 4}))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.epoch = json.loads(Path(checkpoint_dir, "state.json").read_text())["epoch"]


class BatchedMlflow(Callback):
    """A run for each trial; parameters and each report in one call."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.create_experiment("bench")
        self.runs: dict[str, str] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        from mlflow.entities import Param

        self.runs[trial.trial_id] = self.client.create_run(self.experiment).info.run_id
        params = [Param(name, str(value)) for name, value in trial.config.items()]
        self.client.log_batch(self.runs[trial.trial_id], params=params)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        from mlflow.entities import Metric

        step = result["training_iteration"]
        metrics = [Metric(name, result[name], 0, step) for name in ("val_auc", "train_loss", "val_loss")]
        self.client.log_batch(self.runs[trial.trial_id], metrics=metrics)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.client.set_terminated(self.runs[trial.trial_id])

    def __getstate__(self) -> dict[str, Any]:
        return {"runs": self.runs}


def main(folder: Path, n_trials: int, epochs: int, at_once: int, is_tracked: bool) -> None:
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_GLOBAL_CHECKPOINT_S": "60"}
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    n_cpus = os.cpu_count() or 1
    ray.init(address="local", num_cpus=n_cpus, include_dashboard=False, log_to_driver=False)
    space = {"lr": tune.uniform(-5, -1), "dropout": tune.uniform(0.0, 0.9)}
    Tuner(
        tune.with_resources(tune.with_parameters(Trial, epochs=epochs), {"cpu": n_cpus / at_once}),
        param_space=space,
        tune_config=TuneConfig(
            search_alg=OptunaSearch(metric="val_auc", mode="max", sampler=optuna.samplers.TPESampler(seed=1)),
            num_samples=n_trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
        ),
        run_config=RunConfig(
            name="script",
            storage_path=str(folder),
            callbacks=[BatchedMlflow(f"sqlite:///{folder / 'mlflow.db'}")] if is_tracked else [],
            checkpoint_config=CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
            verbose=0,
        ),
    ).fit()
    ray.shutdown()


if __name__ == "__main__":
    where, n, of_epochs, side_by_side, tracked = sys.argv[1:]
    main(Path(where), int(n), int(of_epochs), int(side_by_side), is_tracked=tracked == "tracked")
