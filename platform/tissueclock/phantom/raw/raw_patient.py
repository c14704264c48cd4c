"""One raw phantom patient from a plan: the person, the head, the visit to the scanner, and the files.

What chance decides about the stroke is drawn as in the packed phantom; head and scanner have a stream of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tissueclock.channels import SERIES, SeriesName
from tissueclock.cohort.manifest import LesionSide
from tissueclock.grid import split_halves
from tissueclock.phantom.anatomy import Brain, Tissues, template
from tissueclock.phantom.features import measure_lesion
from tissueclock.phantom.nuisance import AIR_SHARE, Scan, draw_pile_up, draw_scan
from tissueclock.phantom.patient import (
    LESION_SHARE,
    PatientPlan,
    draw_findings,
    draw_patient_clock,
    place_lesion,
    true_lesion,
)
from tissueclock.phantom.person import bend, draw_sulci, draw_warp
from tissueclock.phantom.presets import Preset
from tissueclock.phantom.raw import raw_truth
from tissueclock.phantom.raw.acquisition import Subject, Variant, scan_subject
from tissueclock.phantom.raw.bids import label, write_visit
from tissueclock.phantom.raw.head import FINE_GRID, draw_surroundings, render_head
from tissueclock.phantom.readers import read_mismatch
from tissueclock.phantom.render import brain_mask, draw_clean, normalise
from tissueclock.phantom.truth import TrueLesion
from tissueclock.seeds import derive_seed

Anatomy = Literal["affine", "nonlinear"]
"""Whether a person's brain is the template's but for an affine map, or bent as well."""

LESIONS_ABOVE_MM = -48.0
"""MNI z: packed hemispheres end at -54, so that no lesion may lie all below."""


@dataclass(frozen=True, slots=True)
class RawPatient:
    """What is left to write for all patients together.

    Attributes:
        participant_id: As in BIDS.
        lesion_side: Which half of the brain holds the lesion.
        truth: The patient's line of `lesions.tsv`.
        readers: Mismatch, read by each reader.
        extra: Age, sex, NIHSS and field strength, as text.
    """

    participant_id: str
    lesion_side: LesionSide
    truth: TrueLesion
    readers: dict[str, bool]
    extra: dict[str, str]


def make_raw_patient(
    plan: PatientPlan, *, variant: Variant, preset: Preset, anatomy: Anatomy, folder: Path
) -> RawPatient:
    """Makes a patient and writes the patient's files; the same plan gives the same bytes wherever it is made.

    Args:
        plan: Of a cohort on `FINE_GRID`.
        variant: How the DWI comes.
        preset: How much scatter.
        anatomy: Bent or not.
        folder: The BIDS folder to be.

    Raises:
        CohortError: The plan's mask cannot be read any more.
        StorageError: The folder cannot be written, or the disk is full.
    """
    name = label(plan.participant_id)
    rng = np.random.default_rng(derive_seed(plan.seed, "patient", plan.participant_id))
    scanner_rng = np.random.default_rng(derive_seed(plan.seed, "raw", plan.participant_id))
    scan = draw_scan(plan.fate.field_rank, rng)
    clock = draw_patient_clock(plan, preset=preset, rng=rng)
    warp = draw_warp(FINE_GRID, rng)  # drawn in either anatomy, so that all that follows is the same
    base = template(FINE_GRID) if anatomy == "affine" else bend(template(FINE_GRID), warp)
    tissues = draw_sulci(FINE_GRID, tissues=base, age_y=scan.age_y, csf_asymmetry_sd=preset.csf_asymmetry_sd, rng=rng)
    lesion = place_lesion(plan.lesion, grid=FINE_GRID, tissues=_reachable(tissues), rng=rng)
    clean, added, ratios = draw_clean(FINE_GRID, tissues=tissues, lesion=lesion, clock=clock, scan=scan, rng=rng)
    signals = {series: clean[series] + added[series] for series in SERIES}
    made = true_lesion(plan, clock=clock, scan=scan, grid=FINE_GRID, tissues=tissues, lesion=lesion, ratios=ratios)
    features = _measure(signals, tissues=tissues, lesion=lesion)
    extra = draw_findings(scan, volume_ml=made.numbers["volume_ml"], rng=rng)
    readers = read_mismatch(features, rng)
    if preset.pile_up:
        air_rng = np.random.default_rng(derive_seed(plan.seed, "pile up", plan.participant_id))
        pile_up = draw_pile_up(FINE_GRID, strength=preset.pile_up, rng=air_rng)
        signals = {series: signals[series] * (1.0 + AIR_SHARE[series] * pile_up) for series in SERIES}
    subject = _subject(signals, clean, tissues=tissues, lesion=lesion, scan=scan, rng=scanner_rng)
    visit = scan_subject(subject, variant=variant, rng=scanner_rng)
    write_visit(folder / name, visit, field=scan.field)
    raw_truth.write_patient_truth(
        folder / raw_truth.FOLDER / name,
        visit,
        landmarks=raw_truth.find_landmarks(None if anatomy == "affine" else warp),
        facts={"participant_id": name, "anatomy": anatomy, "noise": scan.noise},
    )
    lesion_truth = replace(made, patient=name, numbers={**made.numbers, **features})
    return RawPatient(name, plan.lesion.side, truth=lesion_truth, readers=readers, extra=extra)


def _reachable(tissues: Tissues) -> Tissues:
    """The tissues with nothing solid below the slices that a packed hemisphere has."""
    above = (FINE_GRID.axes_mm()[0] >= LESIONS_ABOVE_MM)[:, None, None]
    return Tissues(tissues.gm * above, tissues.wm * above, tissues.csf)


def _measure(signals: Mapping[SeriesName, Brain], *, tissues: Tissues, lesion: Brain) -> dict[str, float]:
    """The lesion's features, as an observer without noise, blur and unevenness sees them."""
    brain = brain_mask(tissues, covered=slice(0, FINE_GRID.shape[0]))
    whole = np.stack([normalise(signals[series], brain=brain) for series in SERIES])
    halves, masks = np.stack(split_halves(whole)), np.stack(split_halves(lesion >= LESION_SHARE))
    return measure_lesion(halves, masks, voxel_ml=FINE_GRID.voxel_ml)


def _subject(
    signals: Mapping[SeriesName, Brain],
    clean: Mapping[SeriesName, Brain],
    *,
    tissues: Tissues,
    lesion: Brain,
    scan: Scan,
    rng: np.random.Generator,
) -> Subject:
    brain = brain_mask(tissues, covered=slice(0, FINE_GRID.shape[0]))
    around = draw_surroundings(tissues.inside, rng=rng)
    return Subject(
        head=render_head(signals, around, field=scan.field, rng=rng),
        brain=tissues.inside,
        lesion=lesion,
        typical={series: float(np.median(clean[series][brain])) for series in SERIES},
        noise=scan.noise,
    )
