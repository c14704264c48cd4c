"""What an epoch costs where this runs, found by running a few steps of it as a trial would."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions, Learner
from tissueclock.learning.precision import autocast
from tissueclock.learning.restoring import Restorer, Volumes
from tissueclock.learning.samples import Samples
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, SweepSpec, TrunkBill
from tissueclock.training.phase import LearningTask
from tissueclock.training.trial import worker_threads

_N_WARM, _N_STEPS = 1, 3
"""Steps that pay for allocation and are not timed, and steps that are; an odd number, so that one of them counts."""


def measure_as_trial(task: LearningTask, spec: SweepSpec, offered: Mapping[str, Sequence[Any]]) -> EpochBill:
    """What an epoch costs in this process, on as many threads as one of a trial's processes has.

    With all of a machine's threads, a step waits for the slowest: one core that is busy elsewhere made it many times
    slower than it is in a trial. A machine with fewer cores than that lends all of them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(worker_threads(spec.budget.resources), os.cpu_count() or 1))
    try:
        return task.epoch_bill(spec, offered)
    finally:
        torch.set_num_threads(before)


def measure_epoch(network: StagedNetwork, samples: Samples, spec: SweepSpec, *, depths: Sequence[int]) -> EpochBill:
    """What an epoch of an unfrozen network costs at most, and what its frozen stages would.

    Args:
        network: The sweep's network.
        samples: The task's training samples.
        spec: The sweep; `fix` may pin the batch size.
        depths: Freeze depths to measure.
    """
    batch_size = _batch_size(spec)
    few = few_of(samples, batch_size)
    learner = Classifier(
        network=network,
        train=few,
        validation=few,
        hyperparameters={"batch_size": batch_size},
        conditions=_conditions(spec),
    )
    epoch_s, n_bytes = _measure(learner, len(few), len(samples))
    image = few.view.read(few.rows[:batch_size])
    trunks = {depth: _measure_trunk(network, image, depth, len(samples), spec) for depth in depths if depth > 0}
    n = spec.inputs.n_replicas
    return EpochBill(epoch_s=n * epoch_s, checkpoint_bytes=n * n_bytes, trunks=trunks)


def measure_restoring_epoch(network: StagedNetwork, volumes: Volumes, spec: SweepSpec) -> EpochBill:
    """The same for a network that restores hemispheres; it has no frozen stages."""
    batch_size = _batch_size(spec)
    few = Volumes(volumes.view, volumes.rows[:batch_size])
    learner = Restorer(
        network=network,
        train=few,
        validation=few,
        hyperparameters={"batch_size": batch_size},
        conditions=_conditions(spec),
    )
    epoch_s, n_bytes = _measure(learner, len(few.rows), len(volumes.rows))
    n = spec.inputs.n_replicas
    return EpochBill(epoch_s=n * epoch_s, checkpoint_bytes=n * n_bytes, trunks={})


def offered_depths(offered: Mapping[str, Sequence[object]]) -> tuple[int, ...]:
    """The freeze depths that a sweep's trials may have; all five stages stand still where `learned` names parts."""
    if any(learned != "network" for learned in offered.get("learned", ())):
        return (5,)
    return tuple(depth for depth in offered.get("freeze_depth", (0,)) if isinstance(depth, int))


def _measure(learner: Learner, n_few: int, n_samples: int) -> tuple[float, int]:
    """Seconds of an epoch (training, and a quarter as much validation), and bytes of a checkpoint.

    An estimate from above: frozen stages and early stopping make trials cheaper. The learner's few samples are one
    batch, so that each of its epochs is a step; the median of some is not moved by one that had to wait.
    """
    steps = [learner.run_epoch() for _ in range(_N_WARM + _N_STEPS)][_N_WARM:]
    training_s = median(n_few / step["train_samples_per_s"] for step in steps)
    validation_s = median(step["epoch_s"] - n_few / step["train_samples_per_s"] for step in steps)
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        n_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    return n_samples * (training_s + validation_s / 4) / n_few, n_bytes


def _measure_trunk(
    network: StagedNetwork, image: torch.Tensor, depth: int, n_samples: int, spec: SweepSpec
) -> TrunkBill:
    device = network.device
    network.eval()
    with torch.no_grad(), autocast(spec.inputs.precision, device=device):
        elapsed_s = []
        for _ in range(_N_WARM + _N_STEPS):
            started = time.perf_counter()
            maps = network.before(image.to(device).float(), depth)
            sizes = [map_.float().cpu().numel() for map_ in maps]
            elapsed_s.append(time.perf_counter() - started)
    itemsize = np.dtype(np.float16).itemsize
    per_sample = 1.25 / len(image)  # validation has a quarter as many
    n_rows = n_samples * spec.inputs.n_replicas  # each replica has a trunk of its own
    return TrunkBill(
        epoch_s=n_rows * per_sample * median(elapsed_s[_N_WARM:]),
        view_bytes=int(n_rows / len(image) * sum(sizes) * itemsize),
    )


def _batch_size(spec: SweepSpec) -> int:
    return int(spec.inputs.fix.get("batch_size", 8))


def _conditions(spec: SweepSpec) -> Conditions:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Conditions(
        epochs=_N_WARM + _N_STEPS, patience=_N_WARM + _N_STEPS, seed=0, device=device, precision=spec.inputs.precision
    )


def few_of(samples: Samples, n: int) -> Samples:
    """The first samples of both classes, `n` or (where there are fewer) less; one of each at least."""
    positive = [i for i in range(len(samples)) if samples.labels[i] > 0]
    negative = [i for i in range(len(samples)) if samples.labels[i] <= 0]
    chosen = sorted(positive[: max(1, n // 2)] + negative[: max(1, n - n // 2)])
    return Samples(view=samples.view, rows=samples.rows[chosen], labels=samples.labels[chosen])
