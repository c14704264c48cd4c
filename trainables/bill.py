"""What an epoch costs on this machine, found by running a few steps of it."""

import tempfile
import time
from pathlib import Path

import torch

from tissueclock.learning.classifying import Classifier
from tissueclock.learning.samples import Samples
from tissueclock.networks.staged import StagedNetwork
from tissueclock.records import SweepSpec

_N_STEPS = 3


def measure_epoch(network: StagedNetwork, samples: Samples, spec: SweepSpec) -> tuple[float, int]:
    """Seconds of an epoch and bytes of a checkpoint, for an unfrozen network on this machine's device.

    The estimate is from above: frozen stages and early stopping make trials cheaper.

    Args:
        network: The sweep's network.
        samples: The task's training samples.
        spec: The sweep; `fixed` may pin the batch size.

    Returns:
        Seconds an epoch (training and a quarter as much validation), and bytes of one checkpoint.
    """
    batch_size = int(spec.fixed.get("batch_size", 8))
    few = _few(samples, batch_size * _N_STEPS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner = Classifier(
        network=network,
        train=few,
        validation=few,
        hyperparameters={"batch_size": batch_size},
        epochs=2,
        patience=2,
        seed=0,
        device=device,
        precision=spec.precision,
    )
    learner.run_epoch()  # the first pays for allocation
    started = time.perf_counter()
    metrics = learner.run_epoch()
    elapsed_s = time.perf_counter() - started
    training_s = len(few) / metrics["train_samples_per_s"]
    per_sample_s = training_s / len(few)
    validation_s = max(0.0, elapsed_s - training_s) / len(few)
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        n_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    return len(samples) * (per_sample_s + validation_s / 4), n_bytes


def _few(samples: Samples, n: int) -> Samples:
    """The first samples of both classes, at most `n`."""
    positive = [i for i in range(len(samples)) if samples.labels[i] > 0]
    negative = [i for i in range(len(samples)) if samples.labels[i] <= 0]
    chosen = sorted(positive[: n // 2] + negative[: n - n // 2])
    return Samples(view=samples.view, rows=samples.rows[chosen], labels=samples.labels[chosen])
