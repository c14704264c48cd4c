"""Is onset learned, and what is the chain worth? Networks on disjoint training sets of a phantom, tested on another.

Each training set is so many patients of the first cohort, whatever its own split; 64 more choose nothing, they are
only watched. A phase runs all its epochs and its last weights are taken. The test is every patient of the second
cohort. Arms:

    chain            detection, tss_3h, tss_4h5, each from the one before; onset phases as `--of-phase` says
    chain_unfrozen   the same without `--of-phase`: all weights learn in every phase
    chain_even       the same with attention off: a mean over the brain
    chain_gated      for a mean read-out: the same with the paper's gates in onset phases
    scratch          each onset phase from random weights, with the chain's steps of that phase
    scratch_long     the same with all the steps that the chain has spent by then
    scratch_starts   the best of three starts by training loss

    tissueclock phantom train --preset easy --patients 2560 --grid 12x48x24 --seed 7001
    tissueclock phantom test --preset easy --patients 1000 --grid 12x48x24 --seed 7002
    python infra/studies/onset_evidence.py train test --patients 64 128 256 --sets 8 --mirror --out found.jsonl

A phase of 640 steps of 16 takes 10 to 20 s of one core. Every trained phase is a line of `--out`; lines that are there
are not trained again, and `--figure` draws the learning curve of all of them. Printed: mean over the sets with its
95 % interval (Student's, so it is about other training sets of this kind, on this test), and the differences between
arms, paired by set. Attention inside the lesion is measured with the phantom's masks, which no network is shown; even
attention would have about .03.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
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
from tissueclock.training.attention_share import ATTENTION_IN_LESION, look

TASKS: dict[str, Question] = {"detection": HoldsLesion(), "tss_3h": OnsetBefore(180.0), "tss_4h5": OnsetBefore(270.0)}
ONSET = ("tss_3h", "tss_4h5")
TITLES = {"tss_3h": "onset < 3 h", "tss_4h5": "onset < 4.5 h"}
READOUTS: dict[str, dict[str, Any]] = {
    "detection": {"readout": "soft_maximum", "sharpness": 4.0},
    "tss_3h": {"readout": "attended"},
    "tss_4h5": {"readout": "attended"},
}
"""How a network that attends to voxels answers."""

N_WATCHED = 64
"""Patients beside each training set that are looked at after each epoch."""

EXAMINED_AT_ONCE = 64
N_STARTS = 3
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
class Arm:
    """A way to come to an answer.

    Attributes:
        hands_over: Whether each phase starts from the one before, detection being the first.
        of_phase: Whether `Plan.of_phase` holds in onset phases.
        network: What differs from the plan's network in onset phases.
        n_starts: Tries of a phase from random weights, of which the best by training loss is kept: from random
            weights, attention can settle beside the lesion.
        long: Whether a phase takes all the steps that the chain has spent by then.
    """

    hands_over: bool = False
    of_phase: bool = True
    network: Mapping[str, Any] = field(default_factory=dict)
    n_starts: int = 1
    long: bool = False


ARMS = {
    "chain": Arm(hands_over=True),
    "chain_unfrozen": Arm(hands_over=True, of_phase=False),
    "chain_even": Arm(hands_over=True, network={"attention": "off"}),
    "chain_gated": Arm(hands_over=True, network={"attention": "mean_flow"}),
    "scratch": Arm(),
    "scratch_long": Arm(long=True),
    "scratch_starts": Arm(n_starts=N_STARTS),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned, and how.

    Attributes:
        network: The description of the network, without its read-out.
        hyperparameters: Of all phases.
        of_phase: What differs in a phase that starts from a parent.
        steps: Of each phase, at least; whole epochs are run.
        detectors: Starts of detection, of which the best by training loss is kept: one in seven never learned on
            paper-like.
    """

    network: dict[str, Any]
    hyperparameters: dict[str, Any]
    of_phase: dict[str, Any]
    steps: int
    detectors: int = 1


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The patients of one set, those that are watched last, and the seed of all that is drawn for it."""

    data: WholeCohort
    patients: Sequence[str]
    seed: int


def learn(
    plan: Plan, arm: Arm, training: TrainingSet, *, phase: str, parent: StagedNetwork | None, start: int = 0
) -> tuple[StagedNetwork, float]:
    """One phase on one training set: the network after its last epoch, and its last training loss.

    Args:
        plan: What and how.
        arm: See `Arm`.
        training: What is learned from.
        phase: A name of `TASKS`.
        parent: Whose weights it starts from; None draws them.
        start: Which try.
    """
    readout = {} if plan.network.get("readout") == "mean" else READOUTS[phase]
    network = build_network({**plan.network, **readout, **(arm.network if phase in ONSET else {})})
    train, watched = (
        training.data.samples(TASKS[phase], part, n_halves=network.n_halves)
        for part in (training.patients[:-N_WATCHED], training.patients[-N_WATCHED:])
    )
    seed = derive_seed(training.seed, "start", start) if start else training.seed
    network.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "weights", phase)))
    if parent is not None:
        network.load_state_dict(parent.state_dict())
    else:
        standardise(network, train, device=CPU)
    changes = plan.of_phase if parent is not None and arm.of_phase else {}
    hyperparameters = {**plan.hyperparameters, **changes}
    n_phases = list(TASKS).index(phase) + 1 if arm.long else 1
    epochs = max(-(-plan.steps * n_phases // -(-len(train) // hyperparameters["batch_size"])), 2)
    learner = Classifier(
        network=network,
        train=train,
        validation=watched,
        hyperparameters=hyperparameters,
        conditions=Conditions(epochs=epochs, patience=epochs, seed=derive_seed(seed, phase), device=CPU),
    )
    loss = float("nan")
    while not learner.finished:
        loss = learner.run_epoch()["train_loss"]
    return network.eval(), loss


def test(network: StagedNetwork, held: WholeCohort, *, phase: str) -> dict[str, float]:
    """AUC on every patient of a cohort, and the mean share of attention inside the lesion where voxels are attended."""
    samples = held.samples(TASKS[phase], held.patients, n_halves=network.n_halves)
    logits = predict_logits(network, samples.view, samples.rows, device=CPU, batch_size=EXAMINED_AT_ONCE)
    auc = classification_metrics(samples.labels, logits, groups=samples.groups)["auc"]
    if not isinstance(network, AttendedNetwork) or held.masks is None:
        return {"auc": auc}
    figures = look(network, samples.view, samples.rows, masks=held.masks, device=CPU)
    return {"auc": auc, "inside": float(np.nanmean(figures[ATTENTION_IN_LESION]))}


class Evidence:
    """What was found, a line each in a file: patients, set, arm, phase, AUC, and the share inside the lesion."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.is_file() else []
        self.table = pd.DataFrame(
            [json.loads(line) for line in lines], columns=["patients", "set", "arm", "phase", "auc", "inside"]
        )

    def has(self, patients: int, i_set: int, arm: str) -> bool:
        """Whether an arm is ended on a training set."""
        found = self.table.query("patients == @patients and set == @i_set and arm == @arm")
        return set(ONSET) <= set(found["phase"])

    def add(self, **found: Any) -> None:
        """Adds a line."""
        with self._path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        self.table = pd.concat([self.table, pd.DataFrame([found])], ignore_index=True)
        print(json.dumps(found), flush=True)


def run_set(
    plan: Plan, training: TrainingSet, held: WholeCohort, evidence: Evidence, *, arms: Sequence[str], i_set: int
) -> None:
    """All arms on one training set; the detector is trained once."""
    n = len(training.patients) - N_WATCHED
    detector: StagedNetwork | None = None
    for name in arms:
        if evidence.has(n, i_set, name):
            continue
        arm = ARMS[name]
        if arm.hands_over and detector is None:
            tries = [learn(plan, arm, training, phase="detection", parent=None, start=i) for i in range(plan.detectors)]
            detector = min(tries, key=lambda each: each[1])[0]
            found = test(detector, held, phase="detection")
            evidence.add(patients=n, set=i_set, arm="chain", phase="detection", **found)
        parent = detector if arm.hands_over else None
        for phase in ONSET:
            tries = [learn(plan, arm, training, phase=phase, parent=parent, start=i) for i in range(arm.n_starts)]
            network = min(tries, key=lambda each: each[1])[0]
            parent = network if arm.hands_over else None
            evidence.add(patients=n, set=i_set, arm=name, phase=phase, **test(network, held, phase=phase))


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval; of one value no interval."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, float("nan"), float("nan")
    low, high = stats.t.interval(0.95, len(x) - 1, mean, stats.sem(x))
    return mean, float(low), float(high)


def show(table: pd.DataFrame) -> None:
    """Prints the means over the sets, and the differences to the chain, paired by set."""
    table = table.drop_duplicates(["patients", "set", "arm", "phase"])  # a detector may have been trained once more
    for (patients, arm, phase), rows in table.groupby(["patients", "arm", "phase"]):
        mean, low, high = interval(rows["auc"])
        print(
            f"{patients:>5} {arm:<15} {phase:<10} {mean:.3f} [{low:.3f}, {high:.3f}]  "
            f"inside {rows['inside'].mean():.2f}  {len(rows)} sets"
        )
    for (patients, phase), rows in table.groupby(["patients", "phase"]):
        by_arm = rows.pivot(index="set", columns="arm", values="auc")
        for other in by_arm.columns.drop("chain", errors="ignore") if "chain" in by_arm else ():
            mean, low, high = interval((by_arm["chain"] - by_arm[other]).dropna())
            print(f"{patients:>5} chain - {other:<15} {phase:<10} {mean:+.3f} [{low:+.3f}, {high:+.3f}]")


def draw(table: pd.DataFrame, path: Path) -> None:
    """The learning curve: mean AUC and interval over training patients, an arm a line, an onset phase a panel."""
    figure, panels = plt.subplots(1, len(ONSET), figsize=(9, 3.6), sharey=True, layout="constrained")
    arms = [name for name in ("chain", "scratch", "scratch_long", "scratch_starts") if name in set(table["arm"])]
    for panel, phase in zip(panels, ONSET, strict=True):
        for i_arm, name in enumerate(arms):
            groups = table.query("arm == @name and phase == @phase").groupby("patients")["auc"]
            found = {patients: interval(values) for patients, values in groups}
            x = np.array(list(found)) * 1.04 ** (i_arm - (len(arms) - 1) / 2)
            mean, low, high = np.array(list(found.values())).T
            panel.errorbar(x, mean, yerr=(mean - low, high - mean), marker="o", capsize=3, label=name)
        panel.set(xscale="log", xlabel="training patients", title=TITLES[phase])
        panel.set_xticks(sorted(set(table["patients"])), [str(n) for n in sorted(set(table["patients"]))])
        panel.minorticks_off()
    panels[0].set_ylabel("AUC on other patients")
    panels[0].legend(frameon=False)
    figure.savefig(path)


def make_plan(arguments: argparse.Namespace, *, n_slices: int) -> Plan:
    """The plan that the command line asks for; `--network` and `--learning` are JSON that is laid over the defaults."""
    inputs = ["b0", "b1000", "flair", "adc", *(["mirror"] if arguments.mirror else [])]
    network = {"kind": "voxel", "n_slices": n_slices, "width": 16, "cell": 2, "inputs": inputs, "mirror_cells": 1}
    asked = json.loads(arguments.network)
    learning = {
        "optimiser": "adabound",
        "lr": 5e-3,
        "final_lr": 1.0,
        "gamma": 0.01,
        "schedule": "cosine",
        "weight_decay": 1e-4,
        "batch_size": 16,
        "augmentation": 0.0,
    }
    return Plan(
        network={**(network if asked.get("readout") != "mean" else {"n_slices": n_slices}), **asked},
        hyperparameters={**learning, **json.loads(arguments.learning)},
        of_phase=json.loads(arguments.of_phase),
        steps=arguments.steps,
        detectors=arguments.detectors,
    )


def main() -> None:
    """Runs the sets one by one and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="packed phantom cohort with the training sets")
    parser.add_argument("test", type=Path, help="packed phantom cohort to test on, another seed's")
    parser.add_argument("--patients", type=int, nargs="+", default=[256], help="in a training set")
    parser.add_argument("--sets", type=int, default=3, help="disjoint training sets of each size")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=["chain", "scratch", "scratch_long"])
    parser.add_argument("--mirror", action="store_true", help="show the ratio to the other half too")
    parser.add_argument("--steps", type=int, default=640, help="of each phase, whatever the size of the set")
    parser.add_argument("--detectors", type=int, default=1, help="starts of detection, the best by training loss kept")
    parser.add_argument("--network", default="{}", help="JSON over the network's description; readout mean: one of "
                        "the paper's, and nothing else of the default")  # fmt: skip
    parser.add_argument("--learning", default="{}", help="JSON over the hyperparameters")
    parser.add_argument("--of-phase", default='{"learned":"head","optimiser":"adamw","lr":0.02}',
                        help="JSON over them, in phases that start from a parent")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("onset_evidence.jsonl"), help="one line a trained phase")
    parser.add_argument("--figure", type=Path, help="draw the learning curve here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, held = WholeCohort(arguments.train), WholeCohort(arguments.test)
    plan = make_plan(arguments, n_slices=train.cohort.shape[0])
    evidence = Evidence(arguments.out)
    for size in (n + N_WATCHED for n in arguments.patients):
        if arguments.sets * size > len(train.patients):
            parser.error(f"{arguments.sets} sets of {size} asked for; {arguments.train} has {len(train.patients)}")
    for n, i_set in itertools.product(arguments.patients, range(arguments.sets)):
        size = n + N_WATCHED
        patients = train.patients[i_set * size : (i_set + 1) * size]
        training = TrainingSet(train, patients, seed=derive_seed(arguments.seed, "set", n, i_set))
        run_set(plan, training, held, evidence, arms=arguments.arms, i_set=i_set)
    show(evidence.table)
    if arguments.figure:
        draw(evidence.table, arguments.figure)


if __name__ == "__main__":
    main()
