"""Whether ComBat-like harmonisation earns its place: radiomics learned at one site, asked at another's scanner.

The other site's packed phantoms get a scanner's shift (contrast, gain, blur, noise). They are asked as they are, with
the first site's histogram (which is what `preprocess` does), with features brought to the first site's mean and
deviation (ComBat without its shrinkage, Johnson et al. 2007, doi 10.1093/biostatistics/kxj037), or with both.

    python -m tests.benchmarks.harmonisation FOLDER --seeds 3
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.comparing.statistics import estimate_auc
from tissueclock.networks.building import build_network
from tissueclock.networks.settings import RadiomicsSettings
from tissueclock.phantom.generate import make_phantom

SHAPE = (12, 48, 24)
N = 240
LEVELS = np.linspace(0.01, 0.99, 50)


def shift(halves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What another scanner makes of a head: `half series slice height width`."""
    brain = halves[:, :1] != 0
    seen = np.maximum(halves, 0.0) ** np.array([1.1, 1.25, 0.8])[None, :, None, None, None]
    seen = gaussian_filter(seen, sigma=(0, 0, 0, 0.5, 0.5)) + 0.04 * rng.standard_normal(halves.shape)
    seen = np.maximum(seen, 0.01) * brain
    for i in range(seen.shape[1]):
        seen[:, i] /= np.median(seen[:, i][brain[:, 0]])
    return np.asarray(seen)


def match(halves: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Each series of a head with the reference's histogram over the brain."""
    brain = halves[:, 0] != 0
    made = halves.copy()
    for i in range(halves.shape[1]):
        own = np.quantile(halves[:, i][brain], LEVELS)
        theirs = np.quantile(reference[:, i][reference[:, 0] != 0], LEVELS)
        made[:, i][brain] = np.interp(halves[:, i][brain], own, theirs)
    return made


def lesions(cohort: Cohort) -> tuple[list[np.ndarray], list[int], np.ndarray]:
    """Heads with a lesion on one side, which half holds it, and whether the onset was below 4.5 h."""
    rows = {(half.patient, half.side): i for i, half in enumerate(cohort.table)}
    question = OnsetBefore(270.0)
    heads, sides, labels = [], [], []
    for patient in cohort.patients:
        own = [rows[patient.participant_id, side] for side in ("left", "right")]
        asked = [question.label(cohort.table[row]) for row in own]
        if sum(label is not None for label in asked) == 1:
            side = 0 if asked[0] is not None else 1
            heads.append(cohort.hemispheres[own].astype(float))
            sides.append(side)
            labels.append(bool(asked[side]))
    return heads, sides, np.array(labels)


def measure(heads: list[np.ndarray], sides: list[int], cohort: Cohort) -> np.ndarray:
    """The baseline's features of each lesion's half."""
    settings = RadiomicsSettings().describe(
        n_slices=cohort.shape[0], spacing_mm=cohort.spacing_mm, model="logistic", tree_depth=3, adc_factor=0.835,
        b1000_sd=1.5,
    )  # fmt: skip
    network = build_network(settings)
    both = [np.concatenate([head[side], head[1 - side]]) for head, side in zip(heads, sides, strict=True)]
    with torch.inference_mode():
        features, _ = network.before(torch.from_numpy(np.stack(both)).float(), 1)
    return np.nan_to_num(features.numpy().astype(float))


def ask(folder: Path, seed: int) -> dict[str, float]:
    """AUC at the other site, by what was done to its images."""
    made = []
    for site in (0, 1):
        place = folder / f"{seed}-{site}"
        if not place.exists():
            make_phantom(place, preset="easy", n_patients=N, shape=SHAPE, seed=100 * seed + site, n_jobs=2)
        made.append(Cohort.open(place))
    (heads, sides, labels), (others, other_sides, other_labels) = map(lesions, made)
    rng = np.random.default_rng(seed)
    shifted = [shift(head, rng) for head in others]
    matched = [match(head, heads[0]) for head in shifted]
    own = measure([match(head, heads[0]) for head in heads], sides, made[0])
    fit = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)).fit(own, labels)
    asked = {
        "the first scanner": measure([match(head, heads[0]) for head in others], other_sides, made[0]),
        "the other, as it is": measure(shifted, other_sides, made[0]),
        "the other, histogram matched": measure(matched, other_sides, made[0]),
    }
    for name in list(asked)[1:]:
        theirs = asked[name]
        asked[f"{name}, features harmonised"] = (theirs - theirs.mean(0)) / (theirs.std(0) + 1e-9) * own.std(
            0
        ) + own.mean(0)
    return {name: estimate_auc(other_labels, fit.decision_function(found)).auc for name, found in asked.items()}


def main() -> None:
    """Each seed, then the means with their ranges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    found = [ask(asked.folder, seed) for seed in range(1, asked.seeds + 1)]
    for name in found[0]:
        values = np.array([one[name] for one in found])
        print(f"{name}: {values.mean():.3f} [{values.min():.3f}, {values.max():.3f}] over {len(values)} pairs of sites")


if __name__ == "__main__":
    main()
