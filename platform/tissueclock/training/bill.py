"""What an epoch costs on this machine, found by running a few steps of it."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions, Learner
from tissueclock.learning.precision import autocast
from tissueclock.learning.restoring import Restorer, Volumes
from tissueclock.learning.samples import Samples
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import EpochBill, SweepSpec, TrunkBill

_N_STEPS = 3


def measure_epoch(network: StagedNetwork, samples: Samples, spec: SweepSpec, *, depths: Sequence[int]) -> EpochBill:
    """What an epoch of an unfrozen network costs at most, and what its frozen stages would.

    Args:
        network: The sweep's network.
        samples: The task's training samples.
        spec: The sweep; `fix` may pin the batch size.
        depths: Freeze depths to measure.
    """
    batch_size = _batch_size(spec)
    few = _few(samples, batch_size * _N_STEPS)
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
    few = Volumes(volumes.view, volumes.rows[: batch_size * _N_STEPS])
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

    An estimate from above: frozen stages and early stopping make trials cheaper.
    """
    learner.run_epoch()  # the first pays for allocation
    started = time.perf_counter()
    metrics = learner.run_epoch()
    elapsed_s = time.perf_counter() - started
    training_s = n_few / metrics["train_samples_per_s"]
    validation_s = max(0.0, elapsed_s - training_s)
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        n_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    return n_samples * (training_s + validation_s / 4) / n_few, n_bytes


def _measure_trunk(
    network: StagedNetwork, image: torch.Tensor, depth: int, n_samples: int, spec: SweepSpec
) -> TrunkBill:
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad(), autocast(spec.inputs.precision, device=device):
        for _ in range(2):  # the first pays for allocation
            started = time.perf_counter()
            maps = network.before(image.to(device).float(), depth)
            sizes = [map_.float().cpu().numel() for map_ in maps]
            elapsed_s = time.perf_counter() - started
    itemsize = np.dtype(np.float16).itemsize
    per_sample = 1.25 / len(image)  # validation has a quarter as many
    n_rows = n_samples * spec.inputs.n_replicas  # each replica has a trunk of its own
    return TrunkBill(
        epoch_s=n_rows * per_sample * elapsed_s, view_bytes=int(n_rows / len(image) * sum(sizes) * itemsize)
    )


def _batch_size(spec: SweepSpec) -> int:
    return int(spec.inputs.fix.get("batch_size", 8))


def _conditions(spec: SweepSpec) -> Conditions:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Conditions(epochs=2, patience=2, seed=0, device=device, precision=spec.inputs.precision)


def _few(samples: Samples, n: int) -> Samples:
    """The first samples of both classes, at most `n`."""
    positive = [i for i in range(len(samples)) if samples.labels[i] > 0]
    negative = [i for i in range(len(samples)) if samples.labels[i] <= 0]
    chosen = sorted(positive[: n // 2] + negative[: n - n // 2])
    return Samples(view=samples.view, rows=samples.rows[chosen], labels=samples.labels[chosen])
