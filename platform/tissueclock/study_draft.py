"""A first study file for a cohort and a machine: each choice stands with its reason, and `plan` accepts it as it is."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.sweeping.room import Nodes

Arms = Literal["quick", "paper", "table2"]
ARMS: tuple[Arms, ...] = ("quick", "paper", "table2")
_CUTS_MIN = (180.0, 270.0)
_FEW = 400
"""Patients to learn from and to validate on, below which one validation split ranks trials mostly by luck."""
_STEPS, _BATCH = 640, 16
"""Of the voxel network: what it took to learn on the phantoms (docs/measurements/onset.md)."""
_LEAST_OF_A_SITE = 5
"""Patients of a site with the rarer answer of an onset question: fewer cannot judge a fold."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What of a cohort decides something.

    Attributes:
        n: Patients of known onset and side who are not held out.
        rarest: Of them, how many have the rarer answer of the onset question whose answers are least even.
        n_without_flair: Patients who have none.
        sites: By site, how many of these have the rarer answer of an onset question.
        grid: Slices, rows and columns.
    """

    n: int
    rarest: int
    n_without_flair: int
    sites: Mapping[str, int]
    grid: tuple[int, int, int]


def draft_study(cohort: Cohort, *, arms: Arms, name: str, cohort_path: str, node: Nodes) -> str:
    """The text of a study file.

    Args:
        cohort: The packed cohort.
        arms: `quick`: the voxel network, phased and from scratch; `paper`: 2D and 3D, phased and from scratch;
            `table2`: every column of the paper's table that needs no file, and radiomics.
        name: The study's.
        cohort_path: How the file names the cohort.
        node: The machine that it is for.

    Raises:
        CohortError: The cohort has too few patients for an onset phase, or the arms cannot read it.
    """
    facts = _facts_of(cohort)
    if facts.rarest < 2:
        raise CohortError(
            f"{cohort.folder}: {facts.n} patients of known onset and side are not held out, and {facts.rarest} of them "
            "have the rarer answer of an onset phase; 2 are needed at least"
        )
    if facts.n_without_flair and arms != "quick":
        raise CohortError(
            f"{cohort.folder}: {facts.n_without_flair} patients have no FLAIR, which these arms read; allowed: "
            "--arms quick, or a cohort packed without --allow-missing"
        )
    n_cpus, n_gpus = int(node[0]["CPU"]), int(node[0].get("GPU", 0))
    parts = [_head(cohort, facts, name, cohort_path), _networks(facts, arms, on_gpu=n_gpus > 0), _arms(arms)]
    parts += [_sweep(facts, arms, n_cpus=n_cpus, n_gpus=n_gpus), _phases(facts, arms)]
    return "\n".join(parts)


def study_name(file: Path, cohort: Path) -> str:
    """A study's name made of its file's: a word to YAML too, and no folder that is the cohort's.

    Args:
        file: The study file.
        cohort: The cohort's folder.
    """
    name = re.sub(r"[^a-z0-9_]+", "_", file.stem.lower()).lstrip("0123456789_")[:34] or "study"
    is_word = yaml.safe_load(name) == name
    return name if is_word and (file.parent / name).resolve() != cohort.resolve() else f"{name}_study"


def _in_yaml(path: str) -> str:
    """A path as YAML reads it back, whatever is in it; a folder that is called ~x is no home."""
    path = f"./{path}" if path.startswith("~") else path
    return path if re.fullmatch(r"[A-Za-z./][\w./-]*", path) and yaml.safe_load(path) == path else json.dumps(path)


def _facts_of(cohort: Cohort) -> _Facts:
    held_out = {hemisphere.patient for hemisphere in cohort.table if hemisphere.split == "holdout"}
    seen = [p for p in cohort.patients if p.participant_id not in held_out]
    judging = [(p.site, p.onset_to_mri_min) for p in seen if p.is_scored and p.onset_to_mri_min is not None]
    sites = sorted({site for site, _ in judging if site is not None})
    return _Facts(
        n=len(judging),
        rarest=_rarer([onset for _, onset in judging]),
        n_without_flair=sum(not p.has_flair for p in cohort.patients),
        sites={site: _rarer([onset for own, onset in judging if own == site]) for site in sites},
        grid=cohort.shape,
    )


def _rarer(onsets: Sequence[float]) -> int:
    """How many have the rarer answer of the onset question whose answers are least even."""
    early = [sum(onset < cut for onset in onsets) for cut in _CUTS_MIN]
    return min(min(n, len(onsets) - n) for n in early)


def _head(cohort: Cohort, facts: _Facts, name: str, cohort_path: str) -> str:
    grid = "x".join(map(str, facts.grid))
    called = " ".join(cohort.name.split())
    return f"""\
# A first study of {called}: {facts.n} patients of known onset who are not held out, hemispheres of {grid}.
# Check it and read the bill:  tissueclock plan FILE     Run it, or go on:  tissueclock sweep FILE
# What a word here means:      tissueclock explain WORD
name: {name}
seed: 2026            # another seed is another study: other splits into folds, other first weights
cohort: {_in_yaml(cohort_path)}
# budget_h: 10        # stop when all sweeps together have cost so many hours of CPUs (of GPUs, where trials take some)
# notify: {{command: mail -s done me@hospital.example}}
"""


def _networks(facts: _Facts, arms: Arms, *, on_gpu: bool) -> str:
    height = facts.grid[1]
    stride = 4 if height >= 160 else 2 if height >= 80 else 1
    width, why = (64, "ResNet-18's and Models Genesis' own") if on_gpu else (8, "what two cores can train; 64 on a GPU")
    if arms == "quick":
        extra = ", flair_present" if facts.n_without_flair else ""
        why = "a few hundred weights; sees each voxel beside its mirror in the other half, and where the lesion is"
        return f"networks:\n  # {why}\n  voxel: {{kind: voxel, inputs: [b0, b1000, flair, adc, mirror{extra}]}}\n"
    radiomics = "\n  radiomics: {kind: radiomics}  # the baseline of Lee et al. 2020" if arms == "table2" else ""
    return f"""\
networks:
  # width: {why}; stem_stride: {stride} for {height} rows (4 from 160 on, 2 from 80 on)
  slice: {{width: {width}, stem_stride: {stride}}}
  volume: {{kind: volume, width: {width}}}{radiomics}
"""


def _arms(arms: Arms) -> str:
    chain = "detection: random, tss_3h: previous, tss_4h5: previous, attention: previous"
    if arms == "quick":
        return f"""\
arms:                 # each phase from the promoted checkpoints of the one before, and the same without a past
  chain: {{network: voxel, phases: {{{chain}}}}}
  scratch: {{network: voxel, phases: {{tss_3h: random, tss_4h5: random}}}}
"""
    own = f"""\
arms:                 # each phase from the promoted checkpoints of the one before, and the same without a past
  chain_2d: {{network: slice, phases: {{{chain}}}}}
  random_2d: {{network: slice, phases: {{tss_3h: random, tss_4h5: random}}}}
  chain_3d: {{network: volume, phases: {{genesis: random, {chain.replace("random", "previous", 1)}}}}}
  random_3d: {{network: volume, phases: {{tss_3h: random, tss_4h5: random}}}}
"""
    if arms == "paper":
        return own
    return f"""\
{own}\
  radiomics: {{network: radiomics, phases: {{radiomics_3h: random, radiomics_4h5: random}}}}
# The columns that start from files of yours (nothing is downloaded): take away the first # of each line.
#  imagenet_2d: {{network: slice, phases: {{tss_3h: imagenet, tss_4h5: imagenet}}}}
#  medical_3d: {{network: volume, phases: {{tss_3h: medical_3d, tss_4h5: medical_3d}}}}
#weights:
#  imagenet: {{file: resnet18-f37072fd.pth}}        # torchvision's ResNet-18; needs width 64
#  medical_3d: {{file: Genesis_Chest_CT.pt}}        # Models Genesis; mind its licence
"""


def _sweep(facts: _Facts, arms: Arms, *, n_cpus: int, n_gpus: int) -> str:
    folds, why_folds = _folds(facts, arms)
    trials = 6 if arms == "quick" else 24 if n_gpus else 12
    epochs, patience = (_epochs(facts.n), _epochs(facts.n)) if arms == "quick" else (100, 15)
    why = f"about {_STEPS} steps of {_BATCH}" if arms == "quick" else "the paper's; most trials end by patience"
    grace = max(1, epochs // 3) if arms == "quick" else 5
    lines = [
        "sweep:",
        _said(f"trials: {trials}", "more can be asked for later: it goes on"),
        _said(f"epochs: {epochs}", why),
        f"  patience: {patience}",
        _said(f"folds: {folds}", why_folds),
        _said("promote: 2", "the next phase chooses between the best two"),
        _said(f"scheduler: {{name: asha, grace_epochs: {grace}, reduction_factor: 3}}", "stops the worse two thirds"),
    ]
    if n_gpus:
        cpus = max(1, min(8, n_cpus // n_gpus))
        lines.append(_said("gpus_per_trial: 1", f"{n_gpus} found here; 0.5: two trials share one, if memory allows it"))
        lines.append(_said(f"cpus_per_trial: {cpus}", f"{n_cpus} CPUs among {n_gpus} GPUs"))
    else:
        why = f"no GPU found here; {n_cpus} trials of one CPU beat one trial of {n_cpus}"
        lines.append(_said("cpus_per_trial: 1", why))
    if arms == "quick":
        fixed = f"batch_size: {_BATCH}, gamma: 0.01, augmentation: 0.0"
        fixed += ", flair_dropout: 0.3" if facts.n_without_flair else ""
        lines.append(_said(f"fix: {{{fixed}}}", "six trials search few dimensions"))
    else:
        lines.append("  # fix: {optimiser: adabound}          # pins a hyperparameter")
        lines.append("  # narrow: {lr: [3.0e-4, 3.0e-3]}      # searches a part of the space")
    if len(facts.sites) > 1 and min(facts.sites.values()) >= _LEAST_OF_A_SITE:
        lines.append(_said(f"# folds: {len(facts.sites)}", "in place of the folds above, with the next line:"))
        lines.append(_said("# leave_one_site_out: true", "each of your sites judges what the others taught"))
    return "\n".join(lines) + "\n"


def _said(setting: str, why: str) -> str:
    return f"  {setting:<19} # {why}"


def _folds(facts: _Facts, arms: Arms) -> tuple[int, str]:
    if arms == "quick":
        return 1, "quick: one validation split; 5 folds are honester and cost five times as much"
    if facts.n >= _FEW:
        return 1, f"{facts.n} patients: one validation split ranks trials well enough"
    folds = next((n for n in (5, 3) if facts.rarest >= 2 * n), 1)
    if folds == 1:
        return 1, f"the rarer answer of an onset phase has {facts.rarest} patients: too few for folds"
    return (
        folds,
        f"{facts.n} patients: one validation split ranks trials mostly by luck; a trial trains {folds} networks",
    )


def _epochs(n: int) -> int:
    return min(200, max(10, math.ceil(_STEPS * _BATCH / max(1, n) / 5) * 5))


def _phases(facts: _Facts, arms: Arms) -> str:
    if arms == "quick":
        half = max(5, _epochs(facts.n) // 2)
        return f"""\
phases:
  detection: {{space: voxel_detection, epochs: {half}, patience: {half}, fix: {{final_lr: 1.0, sharpness: 4.0}}}}
  tss_3h: {{space: voxel_onset, fix: {{attention: softmax, sharpness: 1.0}}}}
  tss_4h5: {{space: voxel_onset, fix: {{attention: softmax, sharpness: 1.0}}}}
  attention: {{epochs: {half}, patience: {half}, fix: {{attention: softmax, learned: gates+slices+head}}}}
"""
    radiomics = ""
    if arms == "table2":
        alone = "{trials: 48, epochs: 1, gpus_per_trial: 0.0, cpus_per_trial: 1}"
        radiomics = f"  radiomics_3h: {alone}\n  radiomics_4h5: {alone}\n"
    return f"""\
phases:
  genesis: {{trials: 4, epochs: 200, patience: 30}}   # has no labels: it learns to restore
  attention: {{epochs: 30}}
{radiomics}"""
