"""What was made, against what was aimed at: onset, volumes, sides, FLAIR by hour, observers and readers.

Everything is read back from the packed folder, so that it describes the cohort and not the intention.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from statsmodels.stats.inter_rater import fleiss_kappa

from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError
from tissueclock.phantom import truth
from tissueclock.phantom.clock import T2_TIME_H
from tissueclock.phantom.features import FEATURES
from tissueclock.phantom.observer import CUTS_MIN, score_patients
from tissueclock.phantom.readers import READERS
from tissueclock.phantom.targets import Target, targets_for
from tissueclock.phantom.truth import TrueLesion
from tissueclock.seeds import derive_seed

HOURS = (1.0, 3.0, 4.5, 6.0, 12.0, 24.0)
FULL_PATIENTS = 2000
"""Targets are meant for this many patients; with fewer, what is allowed widens as chance does."""

N_PERMUTATIONS = 5

_DEGREE = 2

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhantomDescription:
    """What was found in a phantom's folder.

    Attributes:
        preset: The preset that it was made by.
        n_patients: Number of patients.
        permuted: Whether onset times were permuted, when it was made or for this description.
        figures: What was measured, by name; NaN where it cannot be.
    """

    preset: str
    n_patients: int
    permuted: bool
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DescriptionRow:
    """One line to print; `target` and `ok` are None where there is no target."""

    name: str
    measured: float
    target: float | None
    tolerance: float | None
    ok: bool | None


def describe_phantom(folder: Path, *, permute_seed: int | None = None) -> PhantomDescription:
    """Measures a phantom cohort.

    Args:
        folder: As `make_phantom` wrote it.
        permute_seed: Deal the onset times out anew first, and fit the observer to them: the negative control, without
            making another cohort, as a mean over `N_PERMUTATIONS`. None: as they are.

    Raises:
        CohortError: The folder is no cohort, or no phantom (it has no truth).
    """
    cohort = Cohort.open(folder)
    if not (folder / truth.FOLDER).is_dir() or "preset" not in cohort.source:
        raise CohortError(f"{folder}: no {truth.FOLDER}/ found; only a cohort made by `tissueclock phantom` has one")
    lesions = truth.read_lesions(folder / truth.FOLDER / truth.LESIONS)
    onset_min = np.array(
        [
            patient.onset_to_mri_min or lesion.numbers["onset_to_mri_min"]  # the truth, where the manifest tells none
            for patient, lesion in zip(cohort.patients, lesions, strict=True)
        ]
    )
    readings = np.array([[bool(p.readers.get(reader.name)) for reader in READERS] for p in cohort.patients])
    if permute_seed is None:
        clocks = _clock_figures(onset_min, lesions, scores=_stored_scores(folder, lesions), readings=readings)
    else:
        clocks = _permuted_figures(onset_min, lesions, readings=readings, seed=permute_seed)
    sides = [patient.lesion_side for patient in cohort.patients if patient.lesion_side is not None]
    figures = {**_cohort_figures(onset_min, lesions, sides), **_flair_by_hour(lesions), **clocks}
    permuted = permute_seed is not None or bool(cohort.source.get("permute_onset"))
    return PhantomDescription(str(cohort.source["preset"]), len(lesions), permuted, figures)


def describe_rows(description: PhantomDescription) -> Iterator[DescriptionRow]:
    """The lines of the table: what was measured, what was aimed at, whether it is near enough.

    With fewer than 2,000 patients the tolerance widens by the square root of what is lacking; with more it does not
    narrow.
    """
    widening = math.sqrt(max(1.0, FULL_PATIENTS / description.n_patients))
    targets = targets_for(description.preset, permuted=description.permuted)
    for name, measured in description.figures.items():
        target: Target | None = targets.get(name)
        if target is None:
            yield DescriptionRow(name, measured, target=None, tolerance=None, ok=None)
        else:
            tolerance = target.tolerance * widening
            near = not math.isnan(measured) and abs(measured - target.value) <= tolerance
            yield DescriptionRow(name, measured, target=target.value, tolerance=tolerance, ok=near)


def _stored_scores(folder: Path, lesions: tuple[TrueLesion, ...]) -> dict[str, Numbers]:
    stored = truth.read_observer(folder / truth.FOLDER / truth.OBSERVER)
    return {
        column: np.array([scores.get(lesion.patient, math.nan) for lesion in lesions])
        for column, scores in stored.items()
    }


def _column(lesions: tuple[TrueLesion, ...], name: str) -> Numbers:
    return np.array([lesion.numbers[name] for lesion in lesions])


def _cohort_figures(onset_min: Numbers, lesions: tuple[TrueLesion, ...], sides: Sequence[str]) -> dict[str, float]:
    volume, n = _column(lesions, "volume_ml"), len(lesions)
    one_sided = sides.count("left") + sides.count("right")
    return {
        **{f"onset_p{share:02d}_min": float(np.quantile(onset_min, share / 100)) for share in (5, 25, 50, 75, 90)},
        "share_under_3h": float((onset_min < 180.0).mean()),
        "share_under_4h5": float((onset_min < 270.0).mean()),
        **{f"volume_p{share}_ml": float(np.quantile(volume, share / 100)) for share in (25, 50, 75)},
        "share_left": sides.count("left") / one_sided if one_sided else math.nan,
        "share_both_sides": sides.count("both") / len(sides) if sides else math.nan,
        "share_dwi_invisible": sum(lesion.words["dwi_visible"] == "no" for lesion in lesions) / n,
        "white_matter_share": float(_column(lesions, "white_matter_share").mean()),
    }


def _flair_by_hour(lesions: tuple[TrueLesion, ...]) -> dict[str, float]:
    """Noise-free FLAIR ratio at 1.5 T by tissue time: a parabola in the risen share of T2, through visible lesions."""
    chosen = tuple(x for x in lesions if x.words["field"] == "1.5T" and x.words["dwi_visible"] == "yes")
    if len(chosen) <= _DEGREE:
        return {f"flair_ratio_{hour:g}h": math.nan for hour in HOURS}
    risen = 1.0 - np.exp(-_column(chosen, "effective_min") / 60.0 / T2_TIME_H)
    curve = np.polynomial.Polynomial.fit(risen, _column(chosen, "clean_ratio_flair"), _DEGREE)
    return {f"flair_ratio_{hour:g}h": float(curve(1.0 - math.exp(-hour / T2_TIME_H))) for hour in HOURS}


def _clock_figures(
    onset_min: Numbers,
    lesions: tuple[TrueLesion, ...],
    *,
    scores: Mapping[str, Numbers],
    readings: npt.NDArray[np.bool_],
) -> dict[str, float]:
    """How well each observer tells the time."""
    return {
        **_flair_figures(onset_min, _column(lesions, "ratio_flair")),
        "auc_b0_4h5": _auc(onset_min < 270.0, -_column(lesions, "ratio_b0")),
        "auc_b1000_4h5": _auc(onset_min < 270.0, -_column(lesions, "ratio_b1000")),
        "auc_observer_4h5": _auc(onset_min < 270.0, scores["observer_4h5"]),
        "auc_observer_3h": _auc(onset_min < 180.0, scores["observer_3h"]),
        **_reader_figures(onset_min, readings),
    }


def _permuted_figures(
    onset_min: Numbers, lesions: tuple[TrueLesion, ...], *, readings: npt.NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """The mean over several permutations: what one sample goes by chance with one permutation says little."""
    features = np.array([[lesion.numbers[name] for name in FEATURES] for lesion in lesions])
    rng = np.random.default_rng(derive_seed(seed, "permuted onsets"))
    drawn = []
    for _ in range(N_PERMUTATIONS):
        permuted = rng.permutation(onset_min)
        scores = {c: score_patients(features, permuted < cut, seed=seed) for c, cut in CUTS_MIN.items()}
        drawn.append(_clock_figures(permuted, lesions, scores=scores, readings=readings))
    return {name: float(np.mean([figures[name] for figures in drawn])) for name in drawn[0]}


def _flair_figures(onset_min: Numbers, ratio: Numbers) -> dict[str, float]:
    """The FLAIR ratio as a clock: alone, in time, and with the cuts 1.18 (for 6 h) and 1.12 (for 4.5 h, within 12)."""
    day_two, late = onset_min <= 2880.0, (onset_min >= 270.0) & (onset_min <= 720.0)
    return {
        "auc_flair_4h5": _auc(onset_min < 270.0, -ratio),
        "r_flair_48h": float(np.corrcoef(ratio[day_two], onset_min[day_two])[0, 1]) if day_two.sum() > 2 else math.nan,
        "sensitivity_1.18_6h": _share(ratio[onset_min < 360.0] <= 1.18),
        "specificity_1.18_6h": _share(ratio[onset_min >= 360.0] > 1.18),
        "sensitivity_1.12_4h5": _share(ratio[onset_min < 270.0] <= 1.12),
        "specificity_1.12_4h5": _share(ratio[late] > 1.12),
    }


def _reader_figures(onset_min: Numbers, readings: npt.NDArray[np.bool_]) -> dict[str, float]:
    early = onset_min < 270.0
    yes = readings.sum(axis=1)
    differ = 0 < readings.mean() < 1  # else nobody's agreement is beyond chance
    kappa = float(fleiss_kappa(np.stack([yes, readings.shape[1] - yes], axis=1))) if differ else math.nan
    figures = {"readers_kappa": kappa}
    majority = readings.sum(axis=1) * 2 > readings.shape[1]
    columns = {reader.name: readings[:, i] for i, reader in enumerate(READERS)} | {"majority": majority}
    for name, calls in columns.items():
        figures[f"{name}_sensitivity"] = _share(calls[early])
        figures[f"{name}_specificity"] = _share(~calls[~early])
        figures[f"auc_{name}_4h5"] = _auc(early, calls.astype(np.float64))
    return figures


def _auc(positive: npt.NDArray[np.bool_], score: Numbers) -> float:
    if positive.all() or not positive.any() or np.isnan(score).any():
        return math.nan
    return float(roc_auc_score(positive, score))


def _share(members: npt.NDArray[np.bool_]) -> float:
    return float(members.mean()) if members.size else math.nan
