"""What `predict` promises, on phantoms that took no part: calibration, coverage, refusal, the right hemisphere.

Of each learned cohort: slope and intercept of the told log-odds without a temperature, at that of single folds and at
that of their mean; how often a wrong answer is told at an error rate of .1 and .2, by the onset's class; how many sound
phantoms are refused, and how many whose images were changed; how often detection chooses the right half of patients
with a lesion on one side. Phantoms with real masks (SOOP's, `--lesions`) are asked for the hemisphere alone.

    python -m tests.benchmarks.answers FOLDER --learned 400 --seeds 3 --lesions ../shared/data/soop_lesions/masks

Minutes for each seed; what lies in the folder already is not run again.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from tissueclock.answering.answers import Answer, answer_cohort
from tissueclock.answering.judging import measure_coverage
from tissueclock.answering.model import Model, model_of_arm
from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.questions import OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.comparing.calibration import Calibration, measure_calibration
from tissueclock.comparing.scores import Scores
from tissueclock.comparing.statistics import estimate_rate
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import StudyFolder
from tissueclock.training.prediction import predict

SHAPE = (12, 48, 24)
N_NEW, N_CHANGED = 2000, 60
PINNED = {"batch_size": 16, "gamma": 0.01, "augmentation": 0.0, "optimiser": "adabound", "schedule": "cosine"}
STUDY = {
    "name": "answers",
    "folder": "study",
    "cohort": "cohort",
    "networks": {"voxel": {"kind": "voxel", "inputs": ["b0", "b1000", "flair", "adc", "mirror"], "mirror_cells": 1}},
    "arms": {"chain": {"network": "voxel", "phases": {"detection": "random", "tss_4h5": "previous"}}},
    "sweep": {
        "trials": 2, "epochs": 20, "patience": 20, "folds": 4, "promote": 1, "searcher": "random", "cpus_per_trial": 1,
        "scheduler": {"name": "none"}, "fix": PINNED,
    },
    "phases": {
        "detection": {"space": "voxel_detection", "fix": {"final_lr": 1.0, "sharpness": 4.0}},
        "tss_4h5": {"space": "voxel_onset", "fix": {"attention": "softmax", "sharpness": 1.0, "final_lr": 1.0}},
    },
}  # fmt: skip

Halves = np.ndarray
"""Left, and right mirrored: `half series slice height width`."""


def learn(folder: Path, *, n_learned: int, seed: int) -> Model:
    """A study's model: chain of detection and onset < 4.5 h, four folds."""
    if not (folder / "cohort").exists():
        make_phantom(
            folder / "cohort", preset="easy", n_patients=n_learned, n_held_out=N_NEW, shape=SHAPE, seed=seed, n_jobs=2
        )
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump({**STUDY, "seed": seed}, sort_keys=False))
    command = [sys.executable, "-m", "tissueclock", "sweep", str(study)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return model_of_arm(StudyFolder(folder / "study"), "chain")


def new_phantoms(folder: Path, *, n: int, seed: int, lesions: Path | None = None) -> Cohort:
    """Phantoms of another seed."""
    if not folder.exists():
        make_phantom(folder, preset="easy", n_patients=n, shape=SHAPE, seed=seed, n_jobs=2, lesions=lesions)
    return Cohort.open(folder)


def change(own: Halves, other: Halves) -> dict[str, Halves]:
    """A patient's halves with a fault of each kind."""
    brain = own[:, :1] != 0
    half = own.copy()
    half[1] = 0
    inverted = own.copy()
    inverted[:, 2] = np.where(brain[:, 0], np.maximum(2.0 - own[:, 2], 0.01), 0)
    return {
        "another head's FLAIR": np.where(brain, np.stack([own[:, 0], own[:, 1], other[:, 2]], axis=1), 0),
        "b0 in FLAIR's place": own[:, [0, 1, 0]],
        "FLAIR in b1000's place": own[:, [0, 2, 2]],
        "b0 and b1000 exchanged": own[:, [1, 0, 2]],
        "FLAIR inverted": inverted,
        "half a head": half,
        "twice as bright": own * 2.0,
    }


def changed_phantoms(folder: Path, sound: Cohort) -> dict[str, Cohort]:
    """Cohorts of patients who all have the same fault."""
    rows = {(half.patient, half.side): i for i, half in enumerate(sound.table)}
    names = [patient.participant_id for patient in sound.patients[: N_CHANGED + 1]]
    halves = [np.stack([sound.hemispheres[rows[n, side]] for side in ("left", "right")]).astype(float) for n in names]
    each = [change(own, other) for own, other in pairwise(halves)]
    made = {}
    for fault in each[0]:
        place = folder / fault.replace(" ", "_").replace("'", "")
        if not place.exists():
            patients = [Patient(f"x{i}", 100.0, "left", {}, {}) for i in range(len(each))]
            facts = {"shape": sound.shape, "spacing_mm": sound.spacing_mm, "seed": 1, "source": {"tool": "phantom"}}
            with CohortWriter(place, name=fault, patients=patients, **facts) as writer:  # type: ignore[arg-type]
                for patient, one in zip(patients, each, strict=True):
                    writer.add(patient.participant_id, *one[fault])
        made[fault] = Cohort.open(place)
    return made


def tell_calibration(model: Model, cohort: Cohort) -> None:
    """Slope and intercept before and after the temperature; coverage at two error rates, by class."""
    asked = model.onset[-1]
    predictions = predict(asked.folders[0], cohort)
    question = OnsetBefore(asked.onset_before_min or 0)
    rows = [i for i, half in enumerate(cohort.table) if question.label(half) is not None]
    names = tuple(f"{i}" for i in rows)
    labels = np.array([bool(question.label(cohort.table[i])) for i in rows])
    patients = tuple(cohort.table[i].patient for i in rows)
    scores = Scores(names, patients, labels, predictions.logits[rows], predictions.by_fold[:, rows])
    judges = asked.judges
    temperatures = {"as they are": 1.0, "of single folds": judges.fold_temperature, "of the mean": judges.temperature}
    for name, temperature in temperatures.items():
        found = measure_calibration(scores, temperature=temperature)
        print(f"  temperature {name}, {temperature:.2f}: {_in_words(found)}")
    for error_rate in (0.1, 0.2):
        for label, word in ((True, "below"), (False, "above")):
            units = tuple(n for n, own in zip(names, labels, strict=True) if own == label)
            met = measure_coverage(judges, scores.take(units), error_rate=error_rate)
            print(
                f"  error rate {error_rate}, onset {word}: the right answer is credible for {_rate(met.covered)}; a "
                f"wrong one is told to {_rate(met.right, of=1)}, any to {_rate(met.told)}"
            )


def tell_refusals(model: Model, cohort: Cohort, what: str) -> Sequence[Answer]:
    """How many of a cohort are refused."""
    found = answer_cohort(model, cohort, error_rate=0.1)
    print(f"  refused of {what}: {_rate(estimate_rate(sum(bool(one.refusal) for one in found), len(found)))}")
    return found


def tell_sides(model: Model, cohort: Cohort, what: str) -> None:
    """How often the right hemisphere is chosen, of patients who are answered for and have a lesion on one side."""
    side = {patient.participant_id: patient.lesion_side for patient in cohort.patients}
    blind = replace(cohort, patients=tuple(replace(patient, lesion_side=None) for patient in cohort.patients))
    found = [one for one in answer_cohort(model, blind, error_rate=0.1) if one.hemisphere]
    for least in (0.0, 0.9):
        told = [one for one in found if (one.side_probability or 0) >= least and side[one.patient] in ("left", "right")]
        right = sum(one.hemisphere == side[one.patient] for one in told)
        sure = f", those at {least} and more" if least else ""
        print(f"  right hemisphere of {what}{sure}: {_rate(estimate_rate(right, len(told)))} of {len(told)}")


def _in_words(found: Calibration) -> str:
    parts = {"slope": found.slope, "in the large": found.intercept, "Brier": found.brier}
    words: Callable[[str], str] = lambda name: (  # noqa: E731
        f"{name} {parts[name].value:.3f} [{parts[name].interval.low:.3f}, {parts[name].interval.high:.3f}]"  # type: ignore[union-attr]
        if parts[name]
        else f"{name} n/a"
    )
    return ", ".join(words(name) for name in parts)


def _rate(rate: object, *, of: int = 0) -> str:
    value, low, high = rate.value, rate.interval.low, rate.interval.high  # type: ignore[attr-defined]
    if of:
        value, low, high = of - value, of - high, of - low
    return f"{value:.1%} [{low:.1%}, {high:.1%}]"


def main() -> None:
    """Learns from phantoms of each seed and asks about others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--learned", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lesions", type=Path)
    asked = parser.parse_args()
    for seed in range(1, asked.seeds + 1):
        folder = asked.folder / f"{asked.learned}-{seed}"
        print(f"{asked.learned} learned from, seed {seed}", flush=True)
        model = learn(folder, n_learned=asked.learned, seed=seed)
        new = new_phantoms(folder / "new", n=N_NEW, seed=1000 + seed)
        tell_calibration(model, new)
        tell_refusals(model, new, "sound phantoms")
        for fault, cohort in changed_phantoms(folder / "changed", new).items():
            tell_refusals(model, cohort, fault)
        tell_sides(model, new, "phantoms")
        if asked.lesions is not None:
            masks = new_phantoms(folder / "masks", n=400, seed=2000 + seed, lesions=asked.lesions)
            tell_sides(model, masks, "phantoms with real masks")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
