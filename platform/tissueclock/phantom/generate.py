"""Makes a phantom cohort: plans the patients, makes them one by one, packs them and writes the truth beside them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from tissueclock.channels import SERIES
from tissueclock.cohort.arrayfile import ArrayFile
from tissueclock.cohort.manifest import HAS_FLAIR, LAST_SEEN_WELL, MAX_ONSET_MIN, Patient
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import CohortWriter
from tissueclock.errors import CohortError
from tissueclock.grid import Grid, make_grid
from tissueclock.phantom import truth
from tissueclock.phantom.clock import draw_fates
from tissueclock.phantom.features import FEATURES
from tissueclock.phantom.lesions import plan_lesion
from tissueclock.phantom.observer import CUTS_MIN, score_patients
from tissueclock.phantom.patient import MadePatient, MaskPlan, PatientPlan, make_patient
from tissueclock.phantom.presets import Preset, find_preset
from tissueclock.phantom.realmasks import draw_mask, list_masks, side_of
from tissueclock.phantom.truth import TrueLesion
from tissueclock.seeds import derive_seed

_SLEPT_MIN = (0.0, 480.0)
"""From when a patient was last seen well to the onset, minutes: a night's sleep at most."""


def make_phantom(
    folder: Path,
    *,
    preset: Preset | str = "paper-like",
    n_patients: int,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None = None,
    seed: int,
    lesions: Path | None = None,
    permute_onset: bool = False,
    progress: Callable[[int], None] | None = None,
    n_jobs: int = 1,
    n_held_out: int = 0,
    unknown_onset: float = 0.0,
    missing_flair: float = 0.0,
) -> Cohort:
    """Writes a phantom cohort, whole or not at all.

    Args:
        folder: The cohort to be; must not exist, or be empty.
        preset: How hard: a name or a preset of one's own.
        n_patients: At least 1.
        shape: Slices, height and width of a hemisphere, in voxels.
        spacing_mm: Their distances; None spreads the shape over the half brain.
        seed: One seed gives the same bytes, whatever `n_jobs` is.
        lesions: A folder of lesion masks in MNI space to draw from; None grows lesions by territory.
        permute_onset: Deal the onset times out anew after the images are made: the negative control, in which no
            observer and no network can do better than chance.
        progress: Called with the number of patients made so far, after each.
        n_jobs: Processes to make patients in.
        n_held_out: Further patients, all of them in the holdout: scoring is cheap, and its interval is as wide as the
            holdout is small.
        unknown_onset: The share of the patients not held out of whom the manifest tells no onset; see `hide`.
        missing_flair: The share of all patients who have no FLAIR, as `pack --allow-missing flair` packs them.

    Returns:
        The cohort, opened.

    Raises:
        CohortError: The preset, number, grid or masks are wrong, or the folder holds something.
        StorageError: The folder cannot be written, or the disk is full.
    """
    if n_patients < 1:
        raise CohortError(f"phantom: n_patients is {n_patients}; at least 1 is needed")
    preset, grid = find_preset(preset), make_grid(shape, spacing_mm)
    plans = plan_patients(n_patients + n_held_out, grid=grid, seed=seed, lesions=lesions)
    shown = shown_onsets(plans, seed=seed, permute=permute_onset)
    source = {
        "tool": "tissueclock phantom",
        "version": version("tissueclock"),
        **preset.as_facts(),
        "seed": seed,
        "lesions": "grown" if lesions is None else lesions.name,
        "permute_onset": permute_onset,
        **({"unknown_onset": unknown_onset} if unknown_onset else {}),
        **({"missing_flair": missing_flair} if missing_flair else {}),
    }
    told = [Patient(p.participant_id, t, p.lesion.side, {}, {}) for p, t in zip(plans, shown, strict=True)]
    without_flair = draw_share(told, share=missing_flair, name="missing_flair", seed=seed)
    with CohortWriter(
        folder,
        name=f"phantom {preset.name}",
        patients=[*hide(told[:n_patients], share=unknown_onset, seed=seed), *told[n_patients:]],
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        seed=derive_seed(seed, "split"),
        source=source,
        held_out=[plan.participant_id for plan in plans[n_patients:]],
    ) as writer:
        made = _make_all(plans, grid=grid, preset=preset, n_jobs=n_jobs)
        if missing_flair:
            made = (_take_flair(patient, patient.plan.participant_id in without_flair) for patient in made)
        _write_patients(writer, made, shown, grid, seed, progress)
    return Cohort.open(folder)


def plan_patients(n_patients: int, *, grid: Grid, seed: int, lesions: Path | None) -> tuple[PatientPlan, ...]:
    """Decides onset and lesion of every patient.

    Raises:
        CohortError: The folder of masks is missing, empty or holds what is no mask.
    """
    fates = draw_fates(n_patients, np.random.default_rng(derive_seed(seed, "fates")))
    masks = () if lesions is None else list_masks(lesions)
    plans = []
    for i, fate in enumerate(fates):
        name = f"phantom-{i + 1:0{max(4, len(str(n_patients)))}d}"
        rng = np.random.default_rng(derive_seed(seed, "plan", name))
        lesion = _plan_mask(masks, grid=grid, rng=rng) if masks else plan_lesion(fate.onset_to_mri_min, rng)
        plans.append(PatientPlan(name, fate, lesion, seed))
    return tuple(plans)


def _plan_mask(masks: Sequence[Path], *, grid: Grid, rng: np.random.Generator) -> MaskPlan:
    path, lesion, mirrored = draw_mask(masks, grid=grid, rng=rng)
    return MaskPlan(path, mirrored=mirrored, side=side_of(lesion))


def shown_onsets(plans: Sequence[PatientPlan], *, seed: int, permute: bool) -> list[float]:
    """The onset times that the manifest gives, in minutes: the patients' own, or dealt out anew."""
    onsets = [plan.fate.onset_to_mri_min for plan in plans]
    if not permute:
        return onsets
    order = np.random.default_rng(derive_seed(seed, "permuted onsets")).permutation(len(onsets))
    return [onsets[i] for i in order]


def hide(patients: Sequence[Patient], *, share: float, seed: int) -> list[Patient]:
    """The patients, a share of whom woke up with their stroke: no onset, but when they were last seen well.

    Of every second one the lesion's side is not told either. The truth of all lies in `truth/`.

    Args:
        patients: Whose onsets are known.
        share: In [0, 1]; the number is rounded.
        seed: One seed hides the same patients.

    Raises:
        CohortError: The share is none.
    """
    if not 0 <= share <= 1:
        raise CohortError(f"phantom: unknown_onset is {share}; allowed: a share from 0 to 1")
    rng = np.random.default_rng(derive_seed(seed, "unknown onsets"))
    chosen = rng.permutation(len(patients))[: round(share * len(patients))]
    slept_min = rng.uniform(*_SLEPT_MIN, size=len(chosen))
    shown = list(patients)
    for i_hidden, (place, slept) in enumerate(zip(chosen.tolist(), slept_min.tolist(), strict=True)):
        patient = patients[place]
        last_seen = {LAST_SEEN_WELL: f"{min((patient.onset_to_mri_min or 0) + slept, MAX_ONSET_MIN):.0f}"}
        shown[place] = replace(
            patient,
            onset_to_mri_min=None,
            lesion_side=None if i_hidden % 2 else patient.lesion_side,
            extra={**patient.extra, **last_seen},
        )
    return shown


def draw_share(patients: Sequence[Patient], *, share: float, name: str, seed: int) -> frozenset[str]:
    """The ids of a share of the patients, drawn by chance; the number is rounded.

    Raises:
        CohortError: The share is none; the message calls it by `name`.
    """
    if not 0 <= share <= 1:
        raise CohortError(f"phantom: {name} is {share}; allowed: a share from 0 to 1")
    order = np.random.default_rng(derive_seed(seed, name)).permutation(len(patients))
    return frozenset(patients[i].participant_id for i in order[: round(share * len(patients))])


def _take_flair(patient: MadePatient, taken: bool) -> MadePatient:
    told = {**patient.extra, HAS_FLAIR: "no" if taken else "yes"}
    if not taken:
        return replace(patient, extra=told)
    halves = patient.halves.copy()
    halves[:, SERIES.index("flair")] = 0.0
    return replace(patient, halves=halves, extra=told)


def _make_all(plans: Sequence[PatientPlan], *, grid: Grid, preset: Preset, n_jobs: int) -> Iterator[MadePatient]:
    """The patients in order, made here or in `n_jobs` processes."""
    if n_jobs == 1:
        return (make_patient(plan, grid=grid, preset=preset) for plan in plans)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    made: Iterator[MadePatient] = parallel(delayed(make_patient)(plan, grid=grid, preset=preset) for plan in plans)
    return made


def _write_patients(
    writer: CohortWriter,
    made: Iterator[MadePatient],
    onsets_min: Sequence[float],
    grid: Grid,
    seed: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Packs patients as they come, and writes the truth when all have come."""
    folder = writer.staging / truth.FOLDER
    folder.mkdir()
    lesions = []
    with ArrayFile(folder / truth.MASKS, dtype=np.bool_, shape=(writer.n_hemispheres, *grid.shape)) as masks:
        for i, patient in enumerate(made):
            name = patient.plan.participant_id
            writer.add(name, *patient.halves)
            writer.annotate(name, readers=patient.readers, extra=patient.extra)
            for row, mask in zip(writer.rows(name), patient.masks, strict=True):
                masks.write(row, mask)
            lesions.append(patient.truth)
            if progress is not None:
                progress(i + 1)
    write_truth(folder, lesions, onsets_min=onsets_min, seed=seed)


def write_truth(folder: Path, lesions: Sequence[TrueLesion], *, onsets_min: Sequence[float], seed: int) -> None:
    """Writes the lesions, and what the observer makes of them and of the onset times that the manifest gives.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    truth.write_lesions(folder / truth.LESIONS, lesions)
    features = np.array([[lesion.numbers[name] for name in FEATURES] for lesion in lesions])
    scores = {
        column: score_patients(features, np.array(onsets_min) < cut_min, seed=seed)
        for column, cut_min in CUTS_MIN.items()
    }
    truth.write_observer(folder / truth.OBSERVER, [lesion.patient for lesion in lesions], scores)
