"""Which configuration is chosen, what does it cost, and how is the winner flattered? One split against folds.

Each repetition takes 320 fresh patients of the first cohort, deals them into five folds (alike in the onset of lesions
of the right half alone, less than sweeps see to), and learns onset < 4.5 h from a detector, fold by fold, under the
same drawn configurations. One split is the first fold alone: its 64 patients are what a sweep without folds judges by.
Every network is tested on every patient of the second cohort.

The best epoch is chosen by rule: the validation AUC (`auc`), its running mean over so many epochs (`auc_mean3`,
`auc_mean5`), the validation loss (`loss`), or the last (`last`). What a trial claims is the AUC that the rule saw at
that epoch: the running mean for the smoothed ones. Folds are judged by the mean curve, without smoothing, as sweeps do.

    one_split   among all configurations, by the first fold: as many trainings as configurations
    folds       among all, by the mean over five folds: five times the trainings
    folds_few   among a fifth of them, by the mean over five folds: as many trainings as `one_split`; the mean over
                such draws

    tissueclock phantom train --preset easy --patients 3200 --grid 12x24x12 --seed 9201
    tissueclock phantom test --preset easy --patients 2000 --grid 12x24x12 --seed 9202
    python infra/studies/selection_evidence.py train test --out selected.jsonl
    python infra/studies/selection_evidence.py train test --kind slice --folds 1 --configurations 2 --out rules.jsonl

`flattery` is claimed minus tested AUC of the winner's networks; `regret` the best configuration's merit minus the
winner's, where merit is the mean tested AUC of its five networks. Printed: means over repetitions
with Student's 95 % interval. Every trained network is a line of `--out`; lines that are there are not trained again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from onset_evidence import CPU, READOUTS, TASKS, WholeCohort, interval
from sklearn.model_selection import StratifiedKFold

from search_spaces import tss_4h5, voxel_onset
from tissueclock.learning.classifying import Classifier
from tissueclock.learning.learner import Conditions
from tissueclock.learning.metrics import classification_metrics
from tissueclock.learning.prediction import predict_logits
from tissueclock.learning.standardising import standardise
from tissueclock.networks.building import build_network
from tissueclock.networks.staged import StagedNetwork
from tissueclock.seeds import derive_seed

N_FOLDS = 5
PATIENTS = 320
PHASE = "tss_4h5"
DETECTION = {"optimiser": "adabound", "lr": 5e-3, "final_lr": 1.0, "gamma": 0.01, "schedule": "cosine",
             "weight_decay": 1e-4, "batch_size": 16, "augmentation": 0.0}  # fmt: skip
VOXEL = {"kind": "voxel", "width": 16, "cell": 1, "inputs": ["b0", "b1000", "flair", "adc"], "mirror_cells": 1}
SLICE = {"kind": "slice", "width": 8, "stem_stride": 1}
FIXED = {
    "voxel": {"attention": "softmax", "batch_size": 16, "sharpness": 1.0, "augmentation": 0.0},
    "slice": {"attention": "off", "batch_size": 16, "freeze_depth": 0, "views": 0},
}
"""What is not drawn; of `voxel` what `demo.yaml` fixes too."""

SPACES = {"voxel": voxel_onset.SPACE, "slice": tss_4h5.SPACE}

RULES = ("auc", "auc_mean3", "auc_mean5", "loss", "last")


def running_mean(values: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """The mean of each value and the up to `n - 1` before it."""
    return np.array([values[max(i + 1 - n, 0) : i + 1].mean() for i in range(len(values))])


def choose_epoch(rule: str, auc: npt.NDArray[np.float64], loss: npt.NDArray[np.float64]) -> tuple[int, float]:
    """The epoch, from 0, that a rule chooses, and the AUC that is claimed for it."""
    if rule == "last":
        return len(auc) - 1, float(auc[-1])
    curve, _, n = rule.partition("_mean")
    smooth = running_mean(auc if curve == "auc" else -loss, int(n or 1))
    epoch = int(np.argmax(smooth))
    return epoch, float(smooth[epoch] if curve == "auc" else auc[epoch])


def draw_configurations(kind: str, n: int, *, seed: int) -> list[dict[str, Any]]:
    """So many draws of the project's space for onset."""
    rng, drawn = np.random.RandomState(seed), [name for name in SPACES[kind] if name not in FIXED[kind]]
    return [{name: SPACES[kind][name].sample(random_state=rng) for name in drawn} for _ in range(n)]


class Repetition:
    """One cohort's folds, and what is learned on them."""

    def __init__(self, train: WholeCohort, held: WholeCohort, *, kind: str, i: int, steps: int) -> None:
        self.train, self.held, self.kind, self.i, self.steps = train, held, kind, i, steps
        patients = np.array(train.patients[i * PATIENTS : (i + 1) * PATIENTS])
        facts = {h.patient: h for h in train.cohort.table}
        strata = [str(TASKS[PHASE].label(facts[p])) for p in patients]
        by = StratifiedKFold(N_FOLDS, shuffle=True, random_state=derive_seed(i, "folds") % 2**32)
        self.folds = [(patients[a], patients[b]) for a, b in by.split(patients, strata)]
        self._detectors: dict[int, StagedNetwork] = {}

    def learn(
        self, phase: str, hyperparameters: Mapping[str, Any], *, fold: int, parent: StagedNetwork | None, seed: int
    ) -> tuple[list[dict[str, torch.Tensor]], pd.DataFrame, StagedNetwork]:
        """Weights after each epoch, the validation AUC and loss of each, and the network."""
        description = {**VOXEL, **READOUTS[phase]} if self.kind == "voxel" else SLICE
        network = build_network({**description, "n_slices": self.train.cohort.shape[0]})
        train, judged = (self.train.samples(TASKS[phase], part, n_halves=1) for part in self.folds[fold])
        network.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "weights")))
        if parent is None:
            standardise(network, train, device=CPU)
        else:
            network.load_state_dict(parent.state_dict())
        epochs = -(-self.steps // -(-len(train) // 16))
        learner = Classifier(
            network=network, train=train, validation=judged,
            hyperparameters=dict(hyperparameters),
            conditions=Conditions(epochs=epochs, patience=epochs, seed=seed, device=CPU),
        )  # fmt: skip
        weights, curve = [], []
        while not learner.finished:
            metrics = learner.run_epoch()
            weights.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            curve.append((metrics["val_auc"], metrics["val_loss"]))
        return weights, pd.DataFrame(curve, columns=["auc", "loss"]), network

    def detector(self, fold: int) -> StagedNetwork | None:
        """The fold's, learned once; a slice network starts from random weights."""
        if self.kind == "slice":
            return None
        if fold not in self._detectors:
            seed = derive_seed(self.i, "detection", fold)
            self._detectors[fold] = self.learn("detection", DETECTION, fold=fold, parent=None, seed=seed)[2]
        return self._detectors[fold]

    def run(self, configuration: Mapping[str, Any], *, i_configuration: int, fold: int) -> dict[str, Any]:
        """A trained network, its weights after each epoch, and its curve."""
        seed = derive_seed(self.i, "trial", i_configuration, fold)
        weights, curve, network = self.learn(
            PHASE, {**FIXED[self.kind], **configuration}, fold=fold, parent=self.detector(fold), seed=seed
        )
        return {"weights": weights, "curve": curve, "network": network}

    def tested(self, network: StagedNetwork, weights: Mapping[str, torch.Tensor]) -> float:
        """AUC on the whole second cohort."""
        network.load_state_dict(weights)
        samples = self.held.samples(TASKS[PHASE], self.held.patients, n_halves=1)
        logits = predict_logits(network, samples.view, samples.rows, device=CPU, batch_size=16)
        return float(classification_metrics(samples.labels, logits, groups=samples.groups)["auc"])


def run_configuration(
    repetition: Repetition, configuration: Mapping[str, Any], *, i_configuration: int, folds: int
) -> dict[str, Any]:
    """By rule: for one split and for folds, the claimed AUC and the tested ones of each fold's network."""
    runs = [repetition.run(configuration, i_configuration=i_configuration, fold=fold) for fold in range(folds)]
    n = min(len(run["curve"]) for run in runs)
    curves = np.array([run["curve"].to_numpy()[:n] for run in runs])
    cache: dict[tuple[int, int], float] = {}

    def tested(fold: int, epoch: int) -> float:
        if (fold, epoch) not in cache:
            run = runs[fold]
            cache[fold, epoch] = repetition.tested(run["network"], run["weights"][epoch])
        return cache[fold, epoch]

    found: dict[str, Any] = {
        "repetition": repetition.i,
        "configuration": i_configuration,
        "values": dict(configuration),
    }
    for rule in RULES:
        epoch, claimed = choose_epoch(rule, curves[0, :, 0], curves[0, :, 1])
        found[f"one_split.{rule}"] = {"claimed": claimed, "epoch": epoch, "tested": [tested(0, epoch)]}
    for rule in ("auc",) if folds > 1 else ():
        epoch, claimed = choose_epoch(rule, curves[:, :, 0].mean(axis=0), curves[:, :, 1].mean(axis=0))
        found[f"folds.{rule}"] = {
            "claimed": claimed, "epoch": epoch, "tested": [tested(fold, epoch) for fold in range(folds)]
        }  # fmt: skip
    return found


def winners(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of one repetition: by way of choosing, the winner's tested AUC, flattery and regret."""
    found = {}
    keys = [key for key in rows[0] if "." in key]
    for key in keys:
        way, rule = key.split(".")
        claimed = np.array([row[key]["claimed"] for row in rows])
        tested = np.array([np.mean(row[key]["tested"]) for row in rows])
        common = "folds.auc" if "folds.auc" in rows[0] else key
        merit = np.array([np.mean(row[common]["tested"]) for row in rows])
        best = int(np.argmax(claimed))
        found[key] = {
            "tested": tested[best],
            "flattery": claimed[best] - tested[best],
            "flattery of a trial": float(np.mean(claimed - tested)),
            "regret": merit.max() - merit[best],
        }
        if way == "folds":
            found[f"folds_few.{rule}"] = _of_few(claimed, tested, merit)
    return found


def _of_few(
    claimed: npt.NDArray[np.float64], tested: npt.NDArray[np.float64], merit: npt.NDArray[np.float64]
) -> dict[str, float]:
    """The same among a fifth of the configurations, as the mean over 2,000 draws of them."""
    rng = np.random.default_rng(0)
    n = round(len(claimed) / N_FOLDS)
    draws = np.array([rng.choice(len(claimed), n, replace=False) for _ in range(2000)])
    best = draws[np.arange(len(draws)), claimed[draws].argmax(axis=1)]
    return {
        "tested": float(tested[best].mean()),
        "flattery": float((claimed[best] - tested[best]).mean()),
        "flattery of a trial": float(np.mean(claimed - tested)),
        "regret": float((merit.max() - merit[best]).mean()),
    }


def show(lines: Sequence[dict[str, Any]], *, n_configurations: int) -> None:
    """Prints means over whole repetitions, with intervals, and the differences to `one_split.auc`."""
    by_repetition: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        by_repetition.setdefault(line["repetition"], []).append(line)
    whole = [winners(rows) for rows in by_repetition.values() if len(rows) == n_configurations]
    print(f"{len(whole)} repetitions of {n_configurations} configurations")
    for key in whole[0] if whole else ():
        told = []
        for figure in whole[0][key]:
            mean, low, high = interval([each[key][figure] for each in whole])
            less, least, most = interval([each[key][figure] - each["one_split.auc"][figure] for each in whole])
            told.append(f"{figure} {mean:+.4f} [{low:+.4f}, {high:+.4f}] ({less:+.4f} [{least:+.4f}, {most:+.4f}])")
        print(f"{key:<22} " + "  ".join(told))


def main() -> None:
    """Runs the repetitions one by one and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="packed phantom cohort to learn from, 320 patients a repetition")
    parser.add_argument("test", type=Path, help="packed phantom cohort to test on, another seed's")
    parser.add_argument("--repetitions", type=int, nargs="+", default=list(range(10)), help="which, from 0")
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument(
        "--kind", choices=list(SPACES), default="voxel", help="slice: the paper's network, from random weights"
    )
    parser.add_argument("--folds", type=int, default=N_FOLDS, help="1: one split only, to compare rules for the epoch")
    parser.add_argument("--steps", type=int, default=240, help="of each training")
    parser.add_argument("--out", type=Path, default=Path("selected.jsonl"), help="one line a configuration")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.is_file() else []
    done = {(line["repetition"], line["configuration"]) for line in lines}
    train, held = WholeCohort(arguments.train), WholeCohort(arguments.test)
    for i in arguments.repetitions:
        repetition = Repetition(train, held, kind=arguments.kind, i=i, steps=arguments.steps)
        drawn = draw_configurations(
            arguments.kind, arguments.configurations, seed=derive_seed(i, "configurations") % 2**32
        )
        for i_configuration, configuration in enumerate(drawn):
            if (i, i_configuration) in done:
                continue
            line = run_configuration(repetition, configuration, i_configuration=i_configuration, folds=arguments.folds)
            lines.append(line)
            with arguments.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
    show(lines, n_configurations=arguments.configurations)


if __name__ == "__main__":
    main()
