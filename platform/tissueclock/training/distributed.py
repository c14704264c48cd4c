"""One trial on several devices: the phase's own trial in each of some processes, under Ray Train.

Tune sees a function that reports an epoch at a time, in the same words as a trial of one process. Normalisation
statistics are those of each process's share of a batch, and the first one's are kept. Ray Train is imported where it is
needed: it is heavy, and most trials have one process.
"""

from typing import Any

from ray import tune

from tissueclock.learning.shard import Shard
from tissueclock.records import SweepJob
from tissueclock.training.phase import Phase
from tissueclock.training.trial import Trial


def train_distributed(config: dict[str, Any], *, phase: Phase, job: SweepJob) -> None:
    """A Tune trial that trains on several processes; see `tissueclock.training.trial.Trial`."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    name = tune.get_context().get_trial_name()
    resources = job.spec.budget.resources
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
            failure_config=FailureConfig(max_failures=job.spec.budget.max_failures),
        ),
    ).fit()


def _train_worker(settings: dict[str, Any]) -> None:
    """One process: an epoch at a time, each reported by all; the first one's report is Tune's."""
    import ray.train

    context = ray.train.get_context()
    shard = Shard(rank=context.get_world_rank(), size=context.get_world_size())
    trial = Trial(settings["phase"], settings["job"], shard=shard)
    trial.begin(settings["trial"], settings["config"])
    finished = False
    while not finished:
        result = trial.step()
        finished = result["finished"]
        ray.train.report(result)
