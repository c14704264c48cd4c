"""One trial on several devices: the phase's own trial in each of some processes, under Ray Train.

Tune sees a function that reports an epoch at a time, in the same words as a trial of one process. Normalisation
statistics are those of each process's share of a batch, and the first one's are kept. Ray Train is imported where it is
needed: it is heavy, and most trials have one process.
"""

from typing import Any

from ray import tune
from torch import distributed

from tissueclock.learning.shard import Shard
from tissueclock.records import SweepJob
from tissueclock.training.phase import Phase
from tissueclock.training.trial import Trial


def train_distributed(config: dict[str, Any], *, phase: Phase, job: SweepJob) -> None:
    """A Tune trial that trains on several processes; see `tissueclock.training.trial.Trial`.

    Raises:
        Exception: What a worker raised, or what kept Ray Train from starting it.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig
    from ray.tune.integration.ray_train import TuneReportCallback

    from tissueclock.training.reservation import ReturningTrainer

    name = tune.get_context().get_trial_name()
    resources = job.spec.budget.resources
    each = {"CPU": resources.cpus / resources.workers}
    if resources.gpus:
        each["GPU"] = resources.gpus / resources.workers
    # Ray would ask for NCCL wherever GPUs are reserved: it takes a whole one for each process, and a build that has it.
    has_nccl = each.get("GPU", 0.0) >= 1 and distributed.is_nccl_available()
    trainer = ReturningTrainer(
        _train_worker,
        train_loop_config={"config": config, "phase": phase, "job": job, "trial": name},
        torch_config=TorchConfig(backend="nccl" if has_nccl else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=bool(resources.gpus), resources_per_worker=each
        ),
        run_config=RunConfig(
            name=f"{name}-workers",
            storage_path=str(job.folder.tune.resolve()),
            callbacks=[TuneReportCallback()],
            failure_config=FailureConfig(max_failures=job.spec.budget.max_failures),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise unwrapped(error) from error


def unwrapped(error: BaseException) -> BaseException:
    """What went wrong, below all that Ray wraps around it: of several workers, what the first one raised."""
    failures = getattr(error, "worker_failures", None)
    inner = next(iter(failures.values())) if failures else None
    for name in ("controller_failure", "health_check_failure", "cause", "_base_exc"):
        inner = inner or getattr(error, name, None)
    return unwrapped(inner) if isinstance(inner, BaseException) else error


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
