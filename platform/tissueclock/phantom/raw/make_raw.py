"""Makes a raw phantom: the patients of the packed phantom with the same seed, as a BIDS folder with the truth in it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from sklearn.utils.parallel import Parallel, delayed

from tissueclock.cohort.manifest import REQUIRED_COLUMNS, Patient, write_manifest
from tissueclock.errors import CohortError
from tissueclock.imaging.dataset import OLDEST_AGE_Y, describe_participants, write_description
from tissueclock.phantom.generate import hide, plan_patients, shown_onsets, write_truth
from tissueclock.phantom.patient import PatientPlan
from tissueclock.phantom.presets import Preset, find_preset
from tissueclock.phantom.raw import raw_truth
from tissueclock.phantom.raw.acquisition import Variant
from tissueclock.phantom.raw.bids import PARTICIPANTS
from tissueclock.phantom.raw.head import FINE_GRID
from tissueclock.phantom.raw.raw_patient import Anatomy, RawPatient, make_raw_patient
from tissueclock.storage.files import atomic_path

_ADC_EVERY, _ADC_AT = 10, 3
_DIRECTIONS_EVERY, _DIRECTIONS_AT = 3, 1


def make_raw_phantom(
    folder: Path,
    *,
    preset: Preset | str = "paper-like",
    n_patients: int,
    seed: int,
    anatomy: Anatomy = "nonlinear",
    lesions: Path | None = None,
    permute_onset: bool = False,
    progress: Callable[[int], None] | None = None,
    n_jobs: int = 1,
    unknown_onset: float = 0.0,
) -> None:
    """Writes a raw phantom, whole or not at all.

    Args:
        folder: The BIDS folder to be; must not exist, or be empty.
        preset: How hard: a name or a preset of one's own.
        n_patients: At least 1.
        seed: One seed gives the same bytes, whatever `n_jobs` is, and the patients of `make_phantom`.
        anatomy: `nonlinear` bends each brain as the packed phantom does; `affine` does not, so that an affine
            registration can be exact.
        lesions: A folder of lesion masks in MNI space to draw from; None grows lesions by territory.
        permute_onset: Deal the onset times out anew after the images are made.
        progress: Called with the number of patients made so far, after each.
        n_jobs: Processes to make patients in.
        unknown_onset: The share of patients of whom the manifest tells no onset; see `generate.hide`.

    Raises:
        CohortError: The preset, number or masks are wrong, or the folder holds something.
        StorageError: The folder cannot be written, or the disk is full.
    """
    if n_patients < 1:
        raise CohortError(f"phantom: n_patients is {n_patients}; at least 1 is needed")
    preset = find_preset(preset)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(f"{folder}: exists already; a raw phantom is written to a new or empty folder")
    plans = plan_patients(n_patients, grid=FINE_GRID, seed=seed, lesions=lesions)
    shown = shown_onsets(plans, seed=seed, permute=permute_onset)
    facts = {
        **preset.as_facts(),
        "seed": seed,
        "anatomy": anatomy,
        "lesions": "grown" if lesions is None else lesions.name,
        "permute_onset": permute_onset,
        **({"unknown_onset": unknown_onset} if unknown_onset else {}),
    }
    with atomic_path(folder) as staging:
        made = []
        for patient in _make_all(plans, folder=staging, preset=preset, anatomy=anatomy, n_jobs=n_jobs):
            made.append(patient)
            if progress is not None:
                progress(len(made))
        told = [
            Patient(p.participant_id, t, p.lesion_side, p.readers, _told(p.extra))
            for p, t in zip(made, shown, strict=True)
        ]
        manifest = hide(told, share=unknown_onset, seed=seed)
        write_manifest(staging / PARTICIPANTS, manifest)
        columns = list(dict.fromkeys([*REQUIRED_COLUMNS, *made[0].readers, *(n for p in manifest for n in p.extra)]))
        text = f"Simulated scans of simulated strokes, preset {preset.name}, seed {seed}: nobody was scanned."
        describe_participants(staging, columns=columns, text=text)
        write_truth(staging / raw_truth.FOLDER, [patient.truth for patient in made], onsets_min=shown, seed=seed)
        name, command = f"phantom {preset.name}", "tissueclock phantom --raw"
        write_description(staging, name=name, kind="raw", command=command, parameters=facts)
        write_description(
            staging / raw_truth.FOLDER, name=f"{name}, its truth", kind="derivative", command=command, parameters=facts
        )


def _told(extra: Mapping[str, str]) -> dict[str, str]:
    """What the participants' table tells of a patient; of the very old no age."""
    return {**extra, "age": str(min(int(extra["age"]), OLDEST_AGE_Y))}


def variant_of(i_patient: int) -> Variant:
    """How a patient's DWI comes, so that a small phantom has all kinds: a tenth ADC maps, about a third directions.

    >>> [variant_of(i) for i in range(5)]
    ['trace', 'directions', 'trace', 'adc', 'directions']
    """
    if i_patient % _ADC_EVERY == _ADC_AT:
        return "adc"
    return "directions" if i_patient % _DIRECTIONS_EVERY == _DIRECTIONS_AT else "trace"


def _make_all(
    plans: Sequence[PatientPlan], *, folder: Path, preset: Preset, anatomy: Anatomy, n_jobs: int
) -> Iterator[RawPatient]:
    """The patients in order, made here or in `n_jobs` processes; their files are written where they are made."""
    make = partial(make_raw_patient, preset=preset, anatomy=anatomy, folder=folder)
    if n_jobs == 1:
        return (make(plan, variant=variant_of(i)) for i, plan in enumerate(plans))
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    made: Iterator[RawPatient] = parallel(delayed(make)(plan, variant=variant_of(i)) for i, plan in enumerate(plans))
    return made
