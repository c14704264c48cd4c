"""Derivatives in, a packed cohort out: each patient read, split at the middle, written, and forgotten.

One pass, one patient in memory at a time. Every image is checked against the digest that `preprocess` wrote beside it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tissueclock.channels import SERIES, SeriesName
from tissueclock.cohort.arrayfile import ArrayFile
from tissueclock.cohort.manifest import HAS_FLAIR, OnsetUnit, Patient, read_manifest
from tissueclock.cohort.store import CARRIED_MASKS, Cohort
from tissueclock.cohort.writer import FACTS, CohortWriter
from tissueclock.errors import CohortError, ImageError, NobodyLeftError
from tissueclock.grid import Grid, make_grid, split_halves
from tissueclock.imaging.derivatives import Derivatives, PatientFolder, describe_missing, read_facts
from tissueclock.imaging.quality_table import read_exclusions
from tissueclock.imaging.volume import read_volume
from tissueclock.seeds import derive_seed
from tissueclock.storage.files import digest_facts, digest_file
from tissueclock.storage.tsv import MISSING, read_rows

_NEEDED = ("settings", "reference", "complete", "digests", "files")
_CHOSEN_BY_PATIENT = ("duplicates", "session")


@dataclass(frozen=True, slots=True)
class Packing:
    """How it went.

    Attributes:
        cohort: What was written, opened.
        left: Patients who are not in it, and why; what concerns one patient alone stands in brackets.
    """

    cohort: Cohort
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """Why patients were left, without what concerns one alone, and how many for each; the most frequent first."""
        return tuple(Counter(reason.partition(" (")[0] for reason in self.left.values()).most_common())


def pack_cohort(
    derivatives: Path,
    folder: Path,
    *,
    participants: Path | None = None,
    onset_unit: OnsetUnit | None = None,
    name: str | None = None,
    seed: int = 0,
    distinct: bool = True,
    allow_missing: Collection[SeriesName] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Packing:
    """Packs preprocessed patients.

    Args:
        derivatives: Of `tissueclock preprocess`.
        folder: The cohort to be; must not exist, or be empty.
        participants: The manifest; None: the one that came with the raw folder.
        onset_unit: See `read_manifest`.
        name: What to call the cohort; None: the folder's name.
        seed: Of the split into train, validation and holdout.
        distinct: Whether two patients may share no image; where nothing is learned, they may.
        allow_missing: `flair`: patients without it are packed, zeros in its place, and the column `has_flair` says
            who they are.
        progress: Told how many of how many are packed.

    Raises:
        NobodyLeftError: Nobody is left.
        CohortError: The manifest is wrong, two patients were preprocessed differently or are one and
            the same, or an image is not what `preprocess` wrote.
        ImageError: A file of the derivatives is missing or damaged.
        StorageError: The folder cannot be written, or the disk is too small or full.
    """
    source, manifest, done, facts, left, chosen = _choose(derivatives, participants, onset_unit, allow_missing)
    if not chosen:
        first = next(iter(left.items()), ("", "nobody is in the manifest"))
        raise NobodyLeftError(f"{derivatives}: nobody left to pack of {len(left)} ({first[0]}: {first[1]})")
    settings = _common_settings(source, {subject: facts[subject] for subject in chosen})
    if distinct:
        _check_distinct({subject: facts[subject] for subject in chosen})
    grid = make_grid(tuple(settings["grid"]["shape"]), tuple(settings["grid"]["spacing_mm"]))
    with CohortWriter(
        folder,
        name=name or folder.absolute().name,
        patients=[_named(manifest[subject], done[subject], facts[subject], allow_missing) for subject in chosen],
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        seed=derive_seed(seed, "split"),
        source=_origin(source, settings, {subject: facts[subject] for subject in chosen}, left),
    ) as writer:
        for i, subject in enumerate(chosen):
            whole = read_patient(done[subject], facts[subject], grid)
            left_half, right_half = split_halves(whole)
            writer.add(subject, np.asarray(left_half), np.asarray(right_half))
            if progress is not None:
                progress(i + 1, len(chosen))
        _write_lesions(writer, {subject: done[subject] for subject in chosen}, facts, grid)
    return Packing(Cohort.open(folder), left)


def is_packed_from(derivatives: Path, folder: Path) -> bool:
    """Whether a folder holds the cohort that packing these derivatives would give: the same images, onsets and sides.

    Raises:
        CohortError: The manifest is wrong, or the folder holds a damaged cohort.
    """
    if not (folder / FACTS).exists():
        return False
    chosen, cohort = _choose(derivatives, None, None, ()), Cohort.open(folder)
    now = [_named(chosen.manifest[each], chosen.done[each], chosen.facts[each], ()) for each in chosen.subjects]
    same_images = cohort.source.get("patients") == digest_facts(chosen.digests)
    return same_images and [_asked(patient) for patient in now] == [_asked(patient) for patient in cohort.patients]


def _asked(patient: Patient) -> tuple[object, ...]:
    """What of a row of the manifest a cohort is made for; columns that some lack are `n/a` once written."""
    told = {name: cell for name, cell in patient.extra.items() if cell != MISSING}
    return patient.participant_id, patient.onset_to_mri_min, patient.lesion_side, dict(patient.readers), told


class _Chosen(NamedTuple):
    """Who is packed of some derivatives, and who is left."""

    source: Derivatives
    manifest: Mapping[str, Patient]
    done: Mapping[str, PatientFolder]
    facts: Mapping[str, Mapping[str, Any]]
    left: dict[str, str]
    subjects: list[str]

    @property
    def digests(self) -> dict[str, Any]:
        """Of every image that is packed."""
        return {subject: self.facts[subject]["digests"] for subject in self.subjects}


def _choose(
    derivatives: Path,
    participants: Path | None,
    onset_unit: OnsetUnit | None,
    allow_missing: Collection[SeriesName],
) -> _Chosen:
    source = Derivatives(derivatives)
    if not derivatives.is_dir():
        raise CohortError(f"{derivatives}: no such folder; `tissueclock preprocess` writes it")
    rows = read_manifest(participants or source.participants, onset_unit=onset_unit)
    manifest = {_subject(patient): patient for patient in rows}
    done = {patient.subject: patient for patient in source.done()}
    facts = {subject: _read_needed(patient) for subject, patient in done.items()}
    left = _left_out(source, manifest, done, facts, allow_missing)
    return _Chosen(source, manifest, done, facts, left, [subject for subject in manifest if subject not in left])


def read_patient(
    patient: PatientFolder, facts: Mapping[str, Any], grid: Grid
) -> Float[np.ndarray, "series slice height width"]:
    """A patient's series as the packed array has them: below to above, front to back, left to right; 0 if missing.

    Raises:
        CohortError: An image is not the one that `preprocess` wrote, or lies on another grid.
        ImageError: An image is missing or damaged.
    """
    empty = np.zeros(grid.whole_shape, dtype=np.float32)
    lacking = patient.missing_series(facts)
    return np.stack(
        [empty if name in lacking else _read_checked(patient.series(name), patient, facts, grid) for name in SERIES]
    )


def _read_checked(
    path: Path, patient: PatientFolder, facts: Mapping[str, Any], grid: Grid
) -> Float[np.ndarray, "slice height width"]:
    """One image of a patient, held against its digest and the grid."""
    wanted = facts["digests"].get(path.relative_to(patient.path).as_posix())
    if not path.exists() or wanted is None:
        raise ImageError(f"{path}: no such file; run `tissueclock preprocess` again")
    if (found := digest_file(path)) != wanted:
        raise CohortError(
            f"{path}: SHA-256 {found[:12]}… found; {patient.facts.name} says {wanted[:12]}…: it was altered"
        )
    volume = read_volume(path)
    data = volume.data.transpose(2, 1, 0)
    if data.shape != grid.whole_shape or not np.allclose(volume.affine, grid.affine, atol=1e-3):
        raise CohortError(f"{path}: shape {data.shape} found; the grid is {grid.whole_shape} (or it lies elsewhere)")
    return np.asarray(data)


def _named(
    patient: Patient, folder: PatientFolder, facts: Mapping[str, Any], allow_missing: Collection[SeriesName]
) -> Patient:
    """A row of the manifest under its BIDS name, with the volume that a lesion mask tells if the row tells none."""
    lesion = {"lesion_ml": f"{facts['lesion']['ml']:.3f}"} if facts["lesion"] else {}
    told = {name: cell for name, cell in patient.extra.items() if name != HAS_FLAIR}
    flair = {HAS_FLAIR: "no" if "flair" in folder.missing_series(facts) else "yes"} if "flair" in allow_missing else {}
    return replace(patient, participant_id=folder.subject, extra={**lesion, **told, **flair})


def _write_lesions(
    writer: CohortWriter, patients: Mapping[str, PatientFolder], facts: Mapping[str, Mapping[str, Any]], grid: Grid
) -> None:
    """Lesion masks beside the hemispheres, where any patient has one; those of patients without one are empty."""
    marked = {subject: folder for subject, folder in patients.items() if facts[subject]["lesion"]}
    if not marked:
        return
    shape = (writer.n_hemispheres, *grid.shape)
    with ArrayFile(writer.staging / CARRIED_MASKS, dtype=np.bool_, shape=shape) as masks:
        for subject in patients:
            whole = np.zeros((1, *grid.whole_shape), dtype=np.float32)
            if subject in marked:
                whole[0] = _read_checked(marked[subject].lesion, marked[subject], facts[subject], grid)
            for row, half in zip(writer.rows(subject), split_halves(whole), strict=True):
                masks.write(row, np.asarray(half[0]) >= 0.5)


def _origin(
    source: Derivatives,
    settings: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, Any]],
    left: Mapping[str, str],
) -> dict[str, Any]:
    """Where the cohort comes from, as `cohort.json` keeps it: every image's digest is in one of them all."""
    return {
        "tool": "tissueclock pack",
        "version": version("tissueclock"),
        "preprocessing": settings,
        "histogram": _histogram(source),
        "patients": digest_facts({subject: own["digests"] for subject, own in facts.items()}),
        "left_out": dict(sorted(left.items())),
        "quality": _quality_ranges(facts),
    }


def _quality_ranges(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """The least and the largest of each quality figure: who lies far outside is another kind of study."""
    told: dict[str, list[float]] = {}
    for own in facts.values():
        for name, value in own["quality"].items():
            if value is not None:
                told.setdefault(name, []).append(float(value))
    return {name: [min(values), max(values)] for name, values in sorted(told.items())}


def _histogram(source: Derivatives) -> dict[str, Any] | None:
    """The reference study's histogram, which everybody else was matched to: the next patient is to be, too."""
    if not source.reference.exists():
        return None
    told = read_facts(source.reference, needed=("subject", "quantiles"))
    return {"subject": told["subject"], "quantiles": told["quantiles"]}


def _read_needed(patient: PatientFolder) -> dict[str, Any]:
    """What packing needs of a patient's facts; the rest is not held for all patients at once."""
    facts = read_facts(patient.facts, needed=_NEEDED)
    told = {
        "brain_mask": facts.get("brain_mask") is not None,
        "lesion": facts.get("lesion"),
        "quality": facts.get("quality", {}).get("figures", {}),
    }
    return {key: facts[key] for key in _NEEDED} | told


def _subject(patient: Patient) -> str:
    """The BIDS name of a row of the manifest, which may leave `sub-` out."""
    return f"sub-{patient.participant_id.removeprefix('sub-')}"


def _left_out(
    source: Derivatives,
    manifest: Mapping[str, Patient],
    done: Mapping[str, PatientFolder],
    facts: Mapping[str, Mapping[str, Any]],
    allow_missing: Collection[SeriesName],
) -> dict[str, str]:
    """Who is not packed, and why."""
    failed = _failures(source)
    excluded = {subject: said.note for subject, said in read_exclusions(source).items() if said.exclude}
    left = {subject: "not in the manifest" for subject in facts if subject not in manifest}
    for subject in manifest:
        if subject not in facts:
            left[subject] = "not preprocessed" + (f" ({why})" if (why := failed.get(subject)) else "")
        elif subject in excluded:
            left[subject] = f"excluded in {source.quality_table.name}" + (
                f" ({note})" if (note := excluded[subject]) else ""
            )
        elif lacking := done[subject].missing_series(facts[subject]) - set(allow_missing):
            left[subject] = describe_missing(lacking)
    return left


def _failures(source: Derivatives) -> dict[str, str]:
    """Why patients failed in the last run of `preprocess`, as far as its table can be read; it decides nothing here."""
    if not source.failures.exists():
        return {}
    try:
        rows = read_rows(source.failures, required=("participant_id", "reason"))
    except CohortError:
        return {}
    told = {row.cells["participant_id"]: row.cells["reason"] for row in rows}
    return {subject: why.removeprefix(f"{subject}: ") for subject, why in told.items() if why != MISSING}


def _common_settings(source: Derivatives, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How all patients were preprocessed.

    Raises:
        CohortError: Not all in one way.
    """

    def way(subject: str) -> dict[str, Any]:
        told = facts[subject]
        settings = {key: value for key, value in told["settings"].items() if key not in _CHOSEN_BY_PATIENT}
        reference = told["reference"] or (subject if settings["matching"] else None)
        given = {"brain masks": "given"} if told["brain_mask"] else {}
        return {**settings, "reference": reference, **given}

    first, *others = facts
    common = way(first)
    for subject in others:
        if (other := way(subject)) != common:
            key = next(key for key in common | other if common.get(key) != other.get(key))
            raise CohortError(
                f"{source.path}: {first} and {subject} were preprocessed differently ({key} is {common.get(key)} and "
                f"{other.get(key)}); run `tissueclock preprocess` again for all"
            )
    return common


def _check_distinct(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises CohortError where two patients share an image: one could be learned from and the other held out."""
    owners: dict[str, tuple[str, str]] = {}
    for subject, told in facts.items():
        for name, digest in told["files"].items():
            if ".nii" not in name:
                continue
            if digest in owners and owners[digest][0] != subject:
                raise CohortError(
                    f"{subject} and {owners[digest][0]} share an image "
                    f"({name} and {owners[digest][1]} are the same bytes); "
                    "one patient twice would leak from training to holdout: exclude one in qc.tsv"
                )
            owners[digest] = (subject, name)
