"""One trial on several devices: the phase's own trial in each of some processes, under Ray Train.

Tune sees a function that reports an epoch at a time, in the same words as a trial of one process. Normalisation
statistics are those of each process's share of a batch, and the first one's are kept. Ray Train is imported where it is
needed: it is heavy, and most trials have one process. Refuses to know what is learned.
"""

from typing import Any

from ray import tune

from tissueclock.learning.shard import Shard
from tissueclock.records import SweepJob


def train_distributed(config: dict[str, Any], *, phase: Any, job: SweepJob) -> None:
    """A Tune trial that trains on `job.spec.resources.workers` processes; see `tissueclock.training.trial.Trial`."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    name = tune.get_context().get_trial_name()
    resources = job.spec.resources
    each = {"CPU": resources.cpus / resources.workers}
    if resources.gpus:
        each["GPU"] = resources.gpus / resources.workers
    TorchTrainer(
        _train_worker,
        train_loop_config={"config": config, "phase": phase, "job": job, "trial": name},
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=bool(resources.gpus), resources_per_worker=each
        ),
        run_config=RunConfig(
            name=f"{name}-workers",
            storage_path=str(job.folder.tune.resolve()),
            callbacks=[TuneReportCallback()],
            failure_config=FailureConfig(max_failures=job.spec.max_failures),
        ),
    ).fit()


def _train_worker(settings: dict[str, Any]) -> None:
    """One process: an epoch at a time, each reported by all; the first one's report is Tune's."""
    import ray.train

    context = ray.train.get_context()
    trial = settings["phase"].__new__(settings["phase"])
    shard = Shard(rank=context.get_world_rank(), size=context.get_world_size())
    trial.begin_shard(settings["config"], settings["job"], name=settings["trial"], shard=shard)
    result: dict[str, Any] = {"done": False}
    while not result.pop("done"):
        result = trial.step()
        ray.train.report({name: value for name, value in result.items() if name != "done"})
