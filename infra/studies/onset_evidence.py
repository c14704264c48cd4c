"""Is onset learned, and what is the chain worth? Networks on disjoint training sets of a phantom, tested on another.

Each training set is so many patients of the first cohort, whatever its own split; 64 more choose nothing, they are
only watched. A phase runs all its epochs and its last weights are taken. The test is every patient of the second
cohort. Arms: `scratch` learns each onset phase from random weights; `scratch_long` the same with the steps that the
chain has spent by then; `chain` is detection, tss_3h, tss_4h5, each from the one before.

    tissueclock phantom train --preset easy --patients 960 --grid 12x48x24 --seed 7001
    tissueclock phantom test --preset easy --patients 1000 --grid 12x48x24 --seed 7002
    python infra/studies/onset_evidence.py train test --patients 256 --sets 3 --mirror

Expected on one core: see `--help`; a set of 256 patients takes 10 to 20 s a phase of the voxel network. Printed: mean
over the sets with its 95 % interval (Student's, so it is about other training sets of this kind, on this test), and
the differences to scratch, paired by set. Attention inside the lesion is measured with the phantom's masks, which no
network is shown; even attention would have about .03.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from tissueclock.cohort.pairs import with_halves
from tissueclock.cohort.questions import HoldsLesion, OnsetBefore, Question
from tissueclock.cohort.store import Cohort
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.samples import Samples
from tissueclock.learning.standardising import standardise
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed
from tissueclock.training.attention_share import attention_in_lesion

TASKS: dict[str, Question] = {"detection": HoldsLesion(), "tss_3h": OnsetBefore(180.0), "tss_4h5": OnsetBefore(270.0)}
READOUTS: dict[str, dict[str, Any]] = {
    "detection": {"readout": "soft_maximum", "sharpness": 4.0},
    "tss_3h": {"readout": "attended"},
    "tss_4h5": {"readout": "attended"},
}
"""How a network that attends to voxels answers."""

N_WATCHED = 64
"""Patients beside each training set that are looked at after each epoch."""

BATCH = 64
CPU = torch.device("cpu")


class WholeCohort:
    """Every hemisphere of a packed cohort with its masks, in memory."""

    def __init__(self, folder: Path) -> None:
        self.cohort = Cohort.open(folder)
        self.patients = list(dict.fromkeys(hemisphere.patient for hemisphere in self.cohort.table))
        self.masks = self.cohort.lesion_masks
        self._hemispheres = torch.from_numpy(np.array(self.cohort.hemispheres))

    def read(self, rows: np.ndarray | torch.Tensor) -> torch.Tensor:
        """The hemispheres of these rows."""
        return self._hemispheres[torch.as_tensor(np.asarray(rows))]

    def samples(self, task: Question, patients: Sequence[str], *, n_halves: int) -> Samples:
        """The hemispheres of these patients that take part in a task."""
        wanted, table = set(patients), self.cohort.table
        rows = [i for i, h in enumerate(table) if h.patient in wanted and task.label(h) is not None]
        return Samples(
            view=with_halves(self, table, n_halves=n_halves),
            rows=np.array(rows, dtype=np.int64),
            labels=np.array([float(bool(task.label(table[i]))) for i in rows]),
            groups=tuple(table[i].patient for i in rows) if task.unit == "patient" else None,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned, and how.

    Attributes:
        network: The description of the network, without its read-out.
        hyperparameters: Of all phases.
        of_phase: What differs in a phase of the chain that starts from a parent.
        n_starts: Tries of a phase that starts from random weights, the best by training loss being kept.
        epochs: Of each phase.
    """

    network: dict[str, Any]
    hyperparameters: dict[str, Any]
    of_phase: dict[str, Any]
    n_starts: int
    epochs: dict[str, int]


def learn(
    plan: Plan,
    data: WholeCohort,
    patients: Sequence[str],
    *,
    phase: str,
    parent: StagedNetwork | None,
    seed: int,
    n_steps: int = 0,
) -> tuple[StagedNetwork, int, float]:
    """One phase on one training set: the network after its last epoch, the steps it took, its last training loss.

    Args:
        plan: What and how.
        data: The cohort of the patients.
        patients: Those that are learned from, then those that are watched.
        phase: A name of `TASKS`.
        parent: Whose weights it starts from; None draws them.
        seed: Of weights and order.
        n_steps: Steps to take at least, if they are more than the phase's own epochs have.
    """
    network = build_network({**plan.network, **READOUTS[phase]})
    train, watched = (
        data.samples(TASKS[phase], part, n_halves=network.n_halves)
        for part in (patients[:-N_WATCHED], patients[-N_WATCHED:])
    )
    network.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "weights", phase)))
    if parent is None:
        standardise(network, train, device=torch.device("cpu"))
    else:
        network.load_state_dict(parent.state_dict())
    hyperparameters = {**plan.hyperparameters, **({} if parent is None else plan.of_phase)}
    per_epoch = -(-len(train) // hyperparameters["batch_size"])
    epochs = max(plan.epochs[phase], -(-n_steps // per_epoch))
    learner = Classifier(
        network=network,
        train=train,
        validation=watched,
        hyperparameters=hyperparameters,
        conditions=Conditions(
            epochs=epochs, patience=epochs, seed=derive_seed(seed, phase), device=torch.device("cpu")
        ),
    )
    loss = float("nan")
    while not learner.finished:
        loss = learner.run_epoch()["train_loss"]
    return network.eval(), epochs * per_epoch, loss


def learn_best(plan: Plan, *arguments: Any, n_starts: int, seed: int, **settings: Any) -> tuple[StagedNetwork, int]:
    """The best of several starts by training loss: from random weights, attention can settle beside the lesion.

    The steps are those of one start.
    """
    tries = [
        learn(plan, *arguments, seed=derive_seed(seed, "start", i) if i else seed, **settings) for i in range(n_starts)
    ]
    network, n_steps, _ = min(tries, key=lambda each: each[2])
    return network, n_steps


def test(network: StagedNetwork, data: WholeCohort, *, phase: str) -> tuple[float, float]:
    """AUC on every patient of a cohort, and the mean share of attention inside the lesion."""
    samples = data.samples(TASKS[phase], data.patients, n_halves=network.n_halves)
    logits = predict_logits(network, samples.view, samples.rows, device=CPU, batch_size=BATCH)
    auc = classification_metrics(samples.labels, logits, groups=samples.groups)["auc"]
    if not isinstance(network, AttendedNetwork) or data.masks is None:
        return auc, float("nan")
    return auc, attention_in_lesion(network, samples, data.masks, device=CPU)


def run_set(
    plan: Plan, train: WholeCohort, held: WholeCohort, patients: Sequence[str], *, arms: Sequence[str], seed: int
) -> dict[tuple[str, str], tuple[float, float]]:
    """All arms on one training set: AUC and share of attention by arm and phase."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    n_spent: dict[str, int] = {}
    for arm in sorted(arms):  # the chain first: it says how many steps scratch_long gets
        parent, n_steps = None, 0
        for phase in TASKS if arm == "chain" else ("tss_3h", "tss_4h5"):
            long = n_spent[phase] if arm == "scratch_long" else 0
            network, n_own = learn_best(
                plan,
                train,
                patients,
                n_starts=plan.n_starts if parent is None else 1,
                phase=phase,
                parent=parent,
                seed=seed,
                n_steps=long,
            )
            n_steps += n_own
            if arm == "chain":
                parent, n_spent[phase] = network, n_steps
            found[arm, phase] = test(network, held, phase=phase)
            print(f"  {arm} {phase}: {found[arm, phase][0]:.3f}, inside {found[arm, phase][1]:.2f}", flush=True)
    return found


def interval(values: Sequence[float]) -> str:
    """Mean and Student's 95 % interval."""
    mean = np.mean(values)
    if len(values) < 2:
        return f"{mean:+.3f} (one set)"
    low, high = stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def show(results: Sequence[dict[tuple[str, str], tuple[float, float]]]) -> None:
    """Prints the table: means over the sets, and differences paired by set."""
    aucs: dict[tuple[str, str], list[float]] = defaultdict(list)
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for found in results:
        for key, (auc, share) in found.items():
            aucs[key].append(auc)
            shares[key].append(share)
    for (arm, phase), values in sorted(aucs.items()):
        each = " ".join(f"{value:.3f}" for value in values)
        inside = np.mean(shares[arm, phase])
        print(f"{arm:<13} {phase:<10} AUC {interval(values)}  inside the lesion {inside:.2f}  ({each})")
    for other in ("scratch", "scratch_long"):
        for phase in ("tss_3h", "tss_4h5"):
            if ("chain", phase) in aucs and (other, phase) in aucs:
                gains = [a - b for a, b in zip(aucs["chain", phase], aucs[other, phase], strict=True)]
                print(f"chain - {other}, {phase}: {interval(gains)}")


def make_plan(arguments: argparse.Namespace, *, n_slices: int) -> Plan:
    """The plan that the command line asks for; `--network` and `--learning` are JSON that is laid over the defaults."""
    inputs = ["b0", "b1000", "flair", "adc", *(["mirror"] if arguments.mirror else [])]
    network = {"kind": "voxel", "n_slices": n_slices, "width": 16, "cell": 2, "inputs": inputs, "mirror_cells": 1}
    learning = {
        "optimiser": "adamw",
        "lr": 5e-3,
        "schedule": "cosine",
        "weight_decay": 1e-4,
        "batch_size": 16,
        "augmentation": 0.0,
    }
    return Plan(
        network={**network, **json.loads(arguments.network)},
        hyperparameters={**learning, **json.loads(arguments.learning)},
        of_phase=json.loads(arguments.of_phase),
        n_starts=arguments.starts,
        epochs={"detection": arguments.epochs // 2, "tss_3h": arguments.epochs, "tss_4h5": arguments.epochs},
    )


def main() -> None:
    """Runs the sets one by one and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="packed phantom cohort with the training sets")
    parser.add_argument("test", type=Path, help="packed phantom cohort to test on, another seed's")
    parser.add_argument("--patients", type=int, default=256, help="in a training set")
    parser.add_argument("--sets", type=int, default=3, help="disjoint training sets")
    parser.add_argument("--arms", nargs="+", default=["scratch", "scratch_long", "chain"])
    parser.add_argument("--mirror", action="store_true", help="show the ratio to the other half too")
    parser.add_argument("--epochs", type=int, default=40, help="of an onset phase; detection, which has twice the "
                        "hemispheres, runs half as many")  # fmt: skip
    parser.add_argument("--network", default="{}", help="JSON over the network's description")
    parser.add_argument("--learning", default="{}", help="JSON over the hyperparameters")
    parser.add_argument("--of-phase", default="{}", help="JSON over them, in phases that start from a parent")
    parser.add_argument("--starts", type=int, default=1, help="of a phase from random weights; the best by training "
                        "loss is kept")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error(f"--epochs is {arguments.epochs}; allowed: at least 2, of which detection runs half")
    if "scratch_long" in arguments.arms and "chain" not in arguments.arms:
        parser.error("--arms has scratch_long, which takes the chain's steps, without chain")
    torch.set_num_threads(1)
    train, held = WholeCohort(arguments.train), WholeCohort(arguments.test)
    plan = make_plan(arguments, n_slices=train.cohort.shape[0])
    size = arguments.patients + N_WATCHED
    if arguments.sets * size > len(train.patients):
        parser.error(f"{arguments.sets} sets of {size} patients asked for; {arguments.train} has {len(train.patients)}")
    results = []
    for i_set in range(arguments.sets):
        print(f"set {i_set + 1} of {arguments.sets}", flush=True)
        patients = train.patients[i_set * size : (i_set + 1) * size]
        seed = derive_seed(arguments.seed, "set", i_set)
        results.append(run_set(plan, train, held, patients, arms=arguments.arms, seed=seed))
    show(results)


if __name__ == "__main__":
    main()
