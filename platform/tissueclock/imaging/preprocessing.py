"""One patient, from raw files to registered, normalised series on the grid, with figures and a picture.

The same input gives the same bytes, all but the file of times.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from tissueclock.channels import SERIES
from tissueclock.errors import ImageError
from tissueclock.imaging.backend_choice import find_backend
from tissueclock.imaging.brain_masks import find_brain_mask, read_brain_mask
from tissueclock.imaging.derivatives import SCHEMA, Derivatives, PatientFolder, read_facts
from tissueclock.imaging.extraction import Mask
from tissueclock.imaging.gridding import OnGrid, atlas_on_grid, bring_to_grid, onto_grid
from tissueclock.imaging.intensity import match_histogram, quantiles, scale_to_median
from tissueclock.imaging.lesion_side import volumes_by_side
from tissueclock.imaging.placing import Placed, place
from tissueclock.imaging.quality import Quality, measure
from tissueclock.imaging.quality_picture import draw_patient
from tissueclock.imaging.raw import RawFiles, find_files
from tissueclock.imaging.series import read_series
from tissueclock.imaging.settings import Reference, Settings
from tissueclock.imaging.stopwatch import Stopwatch
from tissueclock.imaging.volume import Volume, read_volume, write_volume
from tissueclock.storage.files import atomic_path, digest_facts, digest_file, write_json

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PatientJob:
    """One patient to be preprocessed.

    Attributes:
        raw: The BIDS folder.
        subject: The patient, such as `sub-0001`.
        settings: How patients are preprocessed.
        target: The derivatives to write to.
        reference: Whose histogram the patient gets; None: the patient's own is kept (the patient is the reference, or
            nothing is matched).
        lesion: A mask of the lesion, in the space of b0, to be carried along.
        brain_masks: A folder with everybody's brain mask, in the space of b0; None: brains are found here.
    """

    raw: Path
    subject: str
    settings: Settings
    target: Derivatives
    reference: Reference | None
    lesion: Path | None
    brain_masks: Path | None = None

    def find_files(self) -> RawFiles:
        """Finds the patient's files by their names.

        Raises:
            ImageError: They are missing or ambiguous.
        """
        return find_files(self.raw, self.subject, session=self.settings.session, duplicates=self.settings.duplicates)

    def find_brain_mask(self) -> Path | None:
        """The patient's brain mask, where the user brings masks.

        Raises:
            ImageError: There is none for the patient, or several.
        """
        if self.brain_masks is None:
            return None
        return find_brain_mask(self.brain_masks, self.subject, session=self.settings.session)

    def file_digests(self) -> dict[str, str]:
        """SHA-256 of each of the patient's files, by name.

        Raises:
            ImageError: They are missing or ambiguous.
        """
        return {path.name: digest_file(path) for path in self.find_files().paths}

    def input_digest(self, files: Mapping[str, str]) -> str:
        """SHA-256 of all that the result depends on; where it is the same, the patient is not preprocessed again.

        Args:
            files: What `file_digests` gave.

        Raises:
            ImageError: A setting is wrong, or the patient's brain mask is missing or one of several.
        """
        brain_mask = self.find_brain_mask()
        return digest_facts(
            {
                "settings": self.settings.as_facts(),
                "reference": None if self.reference is None else self.reference.digest,
                "files": dict(files),
                "lesion": None if self.lesion is None else digest_file(self.lesion),
                **({} if brain_mask is None else {"brain_mask": digest_file(brain_mask)}),
            }
        )


def preprocess_patient(job: PatientJob) -> None:
    """Preprocesses one patient and writes the patient's folder, whole or not at all, over an older one.

    Raises:
        ImageError: A file is missing, ambiguous or wrong, or the head cannot be placed.
        StorageError: The folder cannot be written, or the disk is full.
    """
    subject, settings, lesion = job.subject, job.settings, job.lesion
    watch = Stopwatch()
    with watch.step("read"):
        digests = job.file_digests()
        series = read_series(job.find_files(), b_values=settings.b_values, duplicates=settings.duplicates)
        lesion_volume = None if lesion is None else read_lesion(lesion)
        brain_mask = job.find_brain_mask()
        given = None if brain_mask is None else read_brain_mask(brain_mask, b0=series.b0)
    atlas, backend, kind = settings.load_atlas(), find_backend(settings.backend), settings.registration
    placed = place(series, subject=subject, atlas=atlas, backend=backend, kind=kind, watch=watch, given=given)
    with watch.step("resample"):
        on_grid = bring_to_grid(placed, settings.grid)
        carried = None if lesion_volume is None else onto_grid(lesion_volume, placed.b0_from_atlas, settings.grid)
        if not on_grid.mask.any():
            raise ImageError(f"{subject}: the brain lies outside the grid, or no two series cover the same part of it")
    with watch.step("normalise"):
        scaled = {name: scale_to_median(volume, mask=on_grid.mask) for name, volume in on_grid.series.items()}
        final = scaled if job.reference is None else match(scaled, mask=on_grid.mask, reference=job.reference)
    with watch.step("quality"):
        atlas_mask = atlas_on_grid(atlas, settings.grid)
        quality = measure(series, placed, on_grid, scaled=scaled, atlas_mask=atlas_mask, atlas_ml=atlas.brain_ml)
    facts = {
        "schema": SCHEMA,
        "subject": subject,
        "input_digest": job.input_digest(digests),
        "settings": settings.as_facts(),
        "reference": None if job.reference is None else job.reference.subject,
        "complete": all(name in final for name in SERIES),
        "files": digests,
        "b_s_mm2": _round(series.b_s_mm2),
        "notes": list(series.notes),
        "assumed": list(series.assumed),
        **_placed_facts(placed),
        "quality": _quality_facts(quality),
        "lesion": None if carried is None else _lesion_facts(lesion_volume, carried),
        "brain_mask": None if brain_mask is None else {"file": brain_mask.name, "digest": digest_file(brain_mask)},
    }
    if (name := _not_finite(facts)) is not None:
        raise ImageError(f"{subject}: {name} is infinite or not a number: is the head whole in every series?")
    folder = job.target.patient(subject)
    with atomic_path(folder.path) as staging_path:
        staging = PatientFolder(staging_path, subject)
        with watch.step("write"):
            _write_images(staging, final, on_grid=on_grid, placed=placed, carried=carried)
        with watch.step("picture"):
            _draw(staging, quality, on_grid=on_grid, atlas_mask=atlas_mask, carried=carried)
        written = sorted(path for path in staging.path.rglob("*") if path.is_file())
        facts["digests"] = {str(path.relative_to(staging.path)): digest_file(path) for path in written}
        write_json(staging.times, {"seconds": watch.seconds, "peak_mb": watch.peak_mb})
        write_json(staging.facts, facts)
        if folder.path.exists():  # of other settings or other files
            shutil.rmtree(folder.path)


def _not_finite(facts: Any, name: str = "") -> str | None:
    """The name of a number among JSON facts that no file can hold; None where there is none."""
    if isinstance(facts, float):
        return None if math.isfinite(facts) else name
    inner = (
        facts.items()
        if isinstance(facts, dict)
        else ((name, each) for each in facts)
        if isinstance(facts, list)
        else ()
    )
    return next((found for key, each in inner if (found := _not_finite(each, str(key))) is not None), None)


def match(scaled: Mapping[str, Volume], *, mask: Mask, reference: Reference) -> dict[str, Volume]:
    """The series with the reference's histograms, where it has them."""
    return {
        name: match_histogram(volume, mask=mask, reference=reference.of(name))
        if name in reference.quantiles
        else volume
        for name, volume in scaled.items()
    }


def read_reference(folder: PatientFolder) -> Reference:
    """What the others need to know of the reference study.

    Raises:
        ImageError: The patient was not preprocessed, or one of the patient's files is damaged.
    """
    read_facts(folder.facts)
    mask = read_volume(folder.mask).data > 0.5
    found: dict[str, tuple[float, ...]] = {
        name: tuple(round(float(value), _DIGITS) for value in quantiles(read_volume(folder.series(name)), mask=mask))
        for name in SERIES
        if folder.series(name).exists()
    }
    return Reference(folder.subject, found)


def read_lesion(path: Path) -> Volume:
    """A lesion mask of zeros and ones (or shares), with its place.

    Raises:
        ImageError: The file cannot be read, or a value is below 0 or above 1.
    """
    try:
        lesion = read_volume(path)
    except ImageError as error:
        if "has one value everywhere" in str(error):
            raise ImageError(f"{path}: an empty lesion mask; leave it out where there is no lesion") from error
        raise
    if float(lesion.data.min()) < 0 or float(lesion.data.max()) > 1:
        low, high = float(lesion.data.min()), float(lesion.data.max())
        raise ImageError(f"{path}: values from {low:g} to {high:g} found; a mask holds 0 to 1")
    return lesion


def _write_images(
    staging: PatientFolder, final: Mapping[str, Volume], *, on_grid: OnGrid, placed: Placed, carried: Volume | None
) -> None:
    for name, volume in final.items():
        write_volume(staging.series(name), volume)
    write_volume(staging.mask, final["b0"].like(on_grid.mask), dtype=np.uint8)
    write_volume(staging.native_mask, placed.b0.like(placed.mask), dtype=np.uint8)
    if carried is not None:
        write_volume(staging.lesion, carried)
    if placed.b0_from_atlas.displacement is not None:
        with atomic_path(staging.warp) as temporary:
            whole = temporary.with_name(temporary.name + ".nii.gz")
            SimpleITK.WriteImage(SimpleITK.Cast(placed.b0_from_atlas.displacement, SimpleITK.sitkVectorFloat32), whole)
            whole.rename(temporary)


def _draw(
    staging: PatientFolder,
    quality: Quality,
    *,
    on_grid: OnGrid,
    atlas_mask: Mask,
    carried: Volume | None,
) -> None:
    """The picture shows what surrounds the brain too, on the brain's own scale."""
    shown: dict[str, Volume | None] = dict.fromkeys(SERIES)
    for name, volume in on_grid.series.items():
        typical = float(np.median(volume.data[on_grid.mask]))
        shown[name] = volume.like(volume.data / max(typical, 1e-12))
    draw_patient(
        staging.picture,
        title=f"{staging.subject}:  {'; '.join(quality.flags) or 'nothing flagged'}",
        series=shown,
        mask=on_grid.mask,
        atlas_mask=atlas_mask,
        lesion=None if carried is None else np.asarray(carried.data >= 0.5),
    )


def _placed_facts(placed: Placed) -> dict[str, Any]:
    """Every transform, RAS mm: `b_from_a` maps a point of space a to the same anatomy in space b."""
    flair = placed.flair_from_b0
    return {
        "skull_stripped": placed.stripped,
        "b0_bias_percentiles_1_99": [_round(value) for value in placed.bias_range],
        "transforms": {
            "b0_from_atlas": _matrix(placed.b0_from_atlas.affine),
            "displacement_first": placed.b0_from_atlas.displacement is not None,
            "b1000_from_b0": _matrix(placed.b1000_from_b0),
            "flair_from_b0": None if flair is None else _matrix(flair),
        },
    }


def _quality_facts(quality: Quality) -> dict[str, Any]:
    figures = {name: None if value is None else _round(value) for name, value in quality.figures.items()}
    return {
        "figures": figures,
        "brighter_side": quality.brighter_side,
        "remarks": list(quality.remarks),
    }


def _lesion_facts(lesion: Volume | None, carried: Volume) -> dict[str, float]:
    volumes = {"ml": lesion, "ml_in_atlas_space": carried}
    whole = {name: float(found.data.sum()) * found.voxel_ml for name, found in volumes.items() if found is not None}
    return {name: _round(ml) for name, ml in (whole | volumes_by_side(carried)).items()}


def _matrix(affine: Any) -> list[list[float]]:
    return [[round(float(value), 9) for value in row] for row in affine]


def _round(value: float) -> float:
    return round(float(value), _DIGITS)
