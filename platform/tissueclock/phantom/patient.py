"""One phantom patient from a plan: everything that chance decides comes from the patient's own seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float16

from tissueclock.channels import SERIES, SeriesName
from tissueclock.cohort.manifest import LesionSide
from tissueclock.errors import CohortError
from tissueclock.grid import Grid, mirror, split_halves
from tissueclock.phantom.anatomy import Brain, Tissues
from tissueclock.phantom.clock import Fate, TissueClock, draw_clock
from tissueclock.phantom.features import measure_lesion
from tissueclock.phantom.lesions import LesionPlan, grow_lesion
from tissueclock.phantom.nuisance import Scan, draw_scan
from tissueclock.phantom.person import draw_tissues
from tissueclock.phantom.presets import Preset
from tissueclock.phantom.readers import read_mismatch
from tissueclock.phantom.realmasks import read_mask
from tissueclock.phantom.render import BRAIN_SHARE, render_patient
from tissueclock.phantom.truth import TrueLesion
from tissueclock.seeds import derive_seed

LESION_SHARE = 0.5
"""A voxel is lesion, in the mask, if at least this share of its tissue is."""

_SOME_TISSUE = 0.2


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """A lesion taken from a file.

    Attributes:
        path: A mask in MNI space.
        mirrored: Whether left and right change places.
        side: Where it lies, after that.
    """

    path: Path
    mirrored: bool
    side: LesionSide


@dataclass(frozen=True, slots=True)
class PatientPlan:
    """All that is decided about a patient before any image is made."""

    participant_id: str
    fate: Fate
    lesion: LesionPlan | MaskPlan
    seed: int

    @property
    def territory(self) -> str:
        """The vessel territory of the stroke; for a mask from a file, the file's name."""
        return self.lesion.territory if isinstance(self.lesion, LesionPlan) else self.lesion.path.name.split(".")[0]


@dataclass(frozen=True, slots=True)
class MadePatient:
    """A patient, ready to be packed.

    Attributes:
        plan: What was asked for.
        halves: Left, and right mirrored; b0, b1000, FLAIR.
        masks: Lesion or not, in the same halves.
        truth: The patient's line of `truth/lesions.tsv`.
        readers: Mismatch, read by each reader.
        extra: Age, sex, NIHSS and field strength, as text.
    """

    plan: PatientPlan
    halves: Float16[np.ndarray, "half series slice height width"]
    masks: Bool[np.ndarray, "half slice height width"]
    truth: TrueLesion
    readers: dict[str, bool]
    extra: dict[str, str]


def make_patient(plan: PatientPlan, *, grid: Grid, preset: Preset) -> MadePatient:
    """Makes a patient; the same plan gives the same bytes wherever and in whatever order it is made.

    Raises:
        CohortError: The plan's mask cannot be read any more.
    """
    rng = np.random.default_rng(derive_seed(plan.seed, "patient", plan.participant_id))
    scan = draw_scan(plan.fate.field_rank, rng)
    clock = draw_patient_clock(plan, preset=preset, rng=rng)
    tissues = draw_tissues(grid, age_y=scan.age_y, csf_asymmetry_sd=preset.csf_asymmetry_sd, rng=rng)
    lesion = place_lesion(plan.lesion, grid=grid, tissues=tissues, rng=rng)
    rendered = render_patient(grid, tissues=tissues, lesion=lesion, clock=clock, scan=scan, preset=preset, rng=rng)
    halves = np.stack(split_halves(rendered.series)).astype(np.float16)
    masks = np.stack(split_halves(lesion >= LESION_SHARE))
    features = measure_lesion(halves.astype(np.float32), masks, voxel_ml=grid.voxel_ml)
    made = true_lesion(
        plan, clock=clock, scan=scan, grid=grid, tissues=tissues, lesion=lesion, ratios=rendered.clean_ratios
    )
    extra = draw_findings(scan, volume_ml=made.numbers["volume_ml"], rng=rng)
    return MadePatient(
        plan=plan,
        halves=halves,
        masks=masks,
        truth=replace(made, numbers={**made.numbers, **features}),
        readers=read_mismatch(features, rng),
        extra=extra,
    )


def draw_patient_clock(plan: PatientPlan, *, preset: Preset, rng: np.random.Generator) -> TissueClock:
    """Draws a patient's clock; what people have drawn on DWI is visible on DWI."""
    invisible = plan.lesion.invisible_probability if isinstance(plan.lesion, LesionPlan) else 0.0
    return draw_clock(plan.fate, preset=preset, invisible_probability=invisible, rng=rng)


def true_lesion(
    plan: PatientPlan,
    *,
    clock: TissueClock,
    scan: Scan,
    grid: Grid,
    tissues: Tissues,
    lesion: Brain,
    ratios: Mapping[SeriesName, float],
) -> TrueLesion:
    """What was put into a patient; what can be measured of it (`FEATURES`) is still to be added."""
    white_ml, solid_ml = (float((lesion * share).sum()) * grid.voxel_ml for share in (tissues.wm, tissues.solid))
    numbers = {
        "onset_to_mri_min": plan.fate.onset_to_mri_min,
        "effective_min": clock.effective_h * 60.0,
        "volume_ml": solid_ml,
        "white_matter_share": white_ml / solid_ml,
        **{f"clean_ratio_{series}": ratios[series] for series in SERIES},
    }
    words = {"territory": plan.territory, "dwi_visible": "yes" if clock.visible else "no", "field": scan.field}
    return TrueLesion(plan.participant_id, words, numbers)


def draw_findings(scan: Scan, *, volume_ml: float, rng: np.random.Generator) -> dict[str, str]:
    """Age, sex, NIHSS (which rises with the lesion's volume) and field strength, as the manifest's text."""
    nihss = int(np.clip(np.round(2.0 + 2.5 * np.log1p(volume_ml) * np.exp(0.4 * rng.standard_normal())), 0, 42))
    return {"age": f"{scan.age_y:.0f}", "sex": scan.sex, "nihss": str(nihss), "field": scan.field}


def place_lesion(plan: LesionPlan | MaskPlan, *, grid: Grid, tissues: Tissues, rng: np.random.Generator) -> Brain:
    """The lesion of a plan: on each planned side somewhere above one half, on the other nowhere."""
    if isinstance(plan, LesionPlan):
        return grow_lesion(plan, grid=grid, tissues=tissues, rng=rng)
    drawn = read_mask(plan.path, grid=grid)
    if drawn is None:
        raise CohortError(f"{plan.path}: mask is empty or suspect; it was not when the cohort was planned")
    lesion = (mirror(drawn) if plan.mirrored else drawn) * (
        (tissues.solid > _SOME_TISSUE) & (tissues.inside >= BRAIN_SHARE)
    )
    width = grid.shape[2]
    for side, half in (("left", slice(0, width)), ("right", slice(width, None))):
        if plan.side not in (side, "both"):
            lesion[:, :, half] = 0.0
        elif lesion[:, :, half].max() < LESION_SHARE:
            shown, solid = lesion[:, :, half], tissues.solid[:, :, half]
            best = np.unravel_index(int((shown * solid).argmax() if shown.any() else solid.argmax()), shown.shape)
            shown[best] = 0.55
    return np.asarray(lesion, dtype=np.float32)
