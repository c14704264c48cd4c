"""Negative controls through the whole chain: cohort, sweeps, promotion, holdout, verdict; where nothing is to be found.

`permuted`: phantoms whose onset times were dealt out anew; no arm may be called better, and no AUC be told from .5.
`everywhere`: patients whose onset is told by all of FLAIR alike, so that where a network looks cannot matter; attention
on may not be called better than attention off.

    python -m tests.benchmarks.negative_controls FOLDER --seeds 5

Minutes for each seed; what lies in the folder already is not run again.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.writer import CohortWriter
from tissueclock.comparing.study_results import read_results
from tissueclock.comparing.verdict import state_verdict
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import StudyFolder

SHAPE = (8, 32, 16)
N_LEARNED, N_HELD_OUT = 160, 240
VOXEL = {"kind": "voxel", "inputs": ["b0", "b1000", "flair", "adc", "mirror"], "mirror_cells": 1, "cell": 1}
SWEEP = {"trials": 3, "epochs": 10, "patience": 10, "promote": 1, "cpus_per_trial": 1, "scheduler": {"name": "none"}}
PINNED = {"batch_size": 16, "gamma": 0.01, "augmentation": 0.0, "sharpness": 1.0}


def write_permuted(folder: Path, seed: int) -> dict[str, object]:
    """Phantoms with permuted onsets, and the demo's arms with radiomics."""
    make_phantom(
        folder / "cohort",
        preset="easy",
        n_patients=N_LEARNED,
        n_held_out=N_HELD_OUT,
        shape=SHAPE,
        seed=seed,
        permute_onset=True,
    )
    onset = {"space": "voxel_onset", "fix": {**PINNED, "attention": "softmax"}}
    return {
        "networks": {"voxel": VOXEL, "radiomics": {"kind": "radiomics"}},
        "arms": {
            "chain": {
                "network": "voxel",
                "phases": {"detection": "random", "tss_4h5": "previous", "attention": "previous"},
            },
            "scratch": {"network": "voxel", "phases": {"tss_4h5": "random"}},
            "radiomics": {"network": "radiomics", "phases": {"radiomics_4h5": "random"}},
        },
        "phases": {
            "detection": {"space": "voxel_detection", "fix": {**PINNED, "final_lr": 1.0, "sharpness": 4.0}},
            "tss_4h5": onset,
            "attention": {"fix": {"attention": "softmax", "batch_size": 16, "augmentation": 0.0}},
            "radiomics_4h5": {"epochs": 1},
        },
    }


def write_everywhere(folder: Path, seed: int) -> dict[str, object]:
    """Patients whose FLAIR grows with the hours as a whole; attention off, then on from the same weights."""
    rng = np.random.default_rng(seed)
    n = N_LEARNED + N_HELD_OUT
    onsets = np.round(np.exp(rng.normal(np.log(222), 1.1, n)), 1)
    patients = [Patient(f"sub-{i:04d}", float(t), ("left", "right")[i % 2], {}, {}) for i, t in enumerate(onsets)]
    level = 1.0 + 0.1 * (np.log(onsets / 222) + rng.normal(0, 1.0, n))
    facts = {"name": "everywhere", "shape": SHAPE, "spacing_mm": (9.0, 5.0, 4.0), "seed": seed, "source": {"tool": "x"}}
    with CohortWriter(folder / "cohort", patients=patients, **facts) as writer:  # type: ignore[arg-type]
        for patient, flair in zip(patients, level, strict=True):
            halves = 1.0 + 0.05 * rng.standard_normal((2, 3, *SHAPE))
            halves[:, 2] *= flair
            writer.add(patient.participant_id, *halves)
    return {
        "networks": {"voxel": {"kind": "voxel", "cell": 1}},
        "arms": {"one": {"network": "voxel", "phases": {"tss_4h5": "random", "attention": "previous"}}},
        "phases": {
            "tss_4h5": {"space": "voxel_onset", "fix": {**PINNED, "attention": "off"}},
            "attention": {
                "fix": {"attention": "softmax", "learned": "gates+slices+head", "batch_size": 16, "augmentation": 0.0}
            },
        },
    }


CONTROLS: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "permuted": write_permuted,
    "everywhere": write_everywhere,
}


def run(folder: Path, control: str, seed: int) -> None:
    """Makes a control's cohort, sweeps it, and prints what the report would say."""
    study = folder / "study.yaml"
    if not study.exists():
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"name": control, "folder": "study", "seed": seed, "cohort": "cohort", "sweep": SWEEP}
        study.write_text(yaml.safe_dump(facts | CONTROLS[control](folder, seed), sort_keys=False))
    done = subprocess.run(
        [sys.executable, "-m", "tissueclock", "sweep", str(study), "--cpus", "1"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result = read_results(StudyFolder(folder / "study"))
    for sweep in result.sweeps:
        if sweep.holdout and sweep.holdout.auc and sweep.question.unit == "patient":
            auc = sweep.holdout.auc
            print(f"{control} {seed}  {sweep.label}: {auc.auc:.3f} [{auc.interval.low:.3f}, {auc.interval.high:.3f}]")
    for test in result.tests:
        if test.verdict and test.question.unit == "patient":
            told = f"{test.difference.difference:+.3f}, p {test.p_holm}: {test.verdict}"
            print(f"{control} {seed}  {test.first} against {test.second}: {told}")
    print(f"{control} {seed}  " + " | ".join(state_verdict(result)), flush=True)


def main() -> None:
    """Both controls, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--controls", nargs="+", choices=sorted(CONTROLS), default=sorted(CONTROLS))
    asked = parser.parse_args()
    for seed in range(1, asked.seeds + 1):
        for control in asked.controls:
            run(asked.folder / f"{control}-{seed}", control, seed)


if __name__ == "__main__":
    main()
