"""How well a patient came through, in figures, and which of them a person should look at.

A flag asks for a look; whom it leaves out, `exclusion` says. Bounds were set on raw phantoms and on the real heads in
the tests' data; those of `b0_flair_similarity`, `b1000_flair_similarity`, `flair_fluid_ratio`, `adc_ratio` and
`adc_correlation` on raw phantoms alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import spearmanr

from tissueclock.grid import Side
from tissueclock.imaging.extraction import Mask, dice
from tissueclock.imaging.gridding import OnGrid
from tissueclock.imaging.midplane import find_midplane
from tissueclock.imaging.placing import Placed
from tissueclock.imaging.series import PatientSeries
from tissueclock.imaging.similarity import Pose, Similarity, climb
from tissueclock.imaging.transform import Affine, Transform, resample
from tissueclock.imaging.volume import Volume

_FLUID_PERCENTILE = 97.0
_MIDDLE_MM = np.array([0.0, -17.0, 15.0])

_BRIGHTER, _RESTRICTED = 0.25, 0.2
"""What b1000 (brain median 1) and ln(b0 / b1000) of a lesion differ by from the mirror image, at least."""

_MIN_LESION_ML, _ONE_SIDED = 0.7, 4.0
"""How much of that is no noise, and how many times as much as on the other side."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A quality figure: what it means, and beyond which value someone should look.

    Attributes:
        name: Column of `qc.tsv`; ends with its unit.
        title: What a person reads.
        low: Lowest value that raises no flag.
        high: Highest value that raises no flag.
        digits: Decimals shown.
    """

    name: str
    title: str
    low: float = -math.inf
    high: float = math.inf
    digits: int = 2

    def badness(self, value: float | None) -> float:
        """How far beyond its bound a value is, relative to the bound; 0 within, and where there is none."""
        if value is None:
            return 0.0
        if not math.isfinite(value):
            return math.inf
        over, under = value - self.high, self.low - value
        scale = max(abs(self.high if over > 0 else self.low), 1e-6)
        return max(over, under, 0.0) / scale if max(over, under) > 0 else 0.0

    @property
    def allowed(self) -> str:
        """The bounds, as a person reads them."""
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.low == -math.inf else f"{self.low:g} to {self.high:g}"


FIGURES: tuple[Figure, ...] = (
    Figure("brain_atlas_dice", "brain and atlas overlap", low=0.85, digits=3),
    Figure("b0_atlas_similarity", "b0 and atlas similarity", low=0.05, digits=3),
    Figure("upside_down_ratio", "similarity upside down (ratio)", high=0.92),
    Figure("b0_flair_shift_mm", "FLAIR still off (mm)", high=1.5, digits=1),
    Figure("b0_flair_similarity", "b0 and FLAIR similarity", low=0.08, high=0.30, digits=3),
    Figure("b1000_flair_similarity", "b1000 and FLAIR similarity", high=0.36, digits=3),
    Figure("flair_fluid_ratio", "FLAIR in fluid over brain (ratio)", high=0.55),
    Figure("adc_ratio", "the scanner's ADC over that of b0 and b1000 (ratio)", low=0.85, high=1.18),
    Figure("adc_correlation", "the same (rank correlation)", low=0.7),
    Figure("flair_mirrored_ratio", "FLAIR similarity mirrored (ratio)", high=1.02, digits=3),
    Figure("outside_signal_fraction", "signal left outside the mask (share)", high=0.10),
    Figure("midplane_tilt_deg", "mid-plane tilt (deg)", high=3.0, digits=1),
    Figure("midplane_shift_mm", "mid-plane shift (mm)", low=-3.0, high=3.0, digits=1),
    Figure("covered_fraction", "brain within the scan (share)", low=0.75),
    Figure("brain_ml", "brain volume (ml)", low=900.0, high=2200.0, digits=0),
    Figure("n_nonfinite", "non-finite voxels", high=0.0, digits=0),
)


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality figures of one patient, and what they ask to be looked at.

    Attributes:
        figures: By name; None where a figure cannot be had.
        brighter_side: Where b1000 is brighter than in the mirror, if that is clear.
        remarks: Other reasons to look, a sentence each.
    """

    figures: Mapping[str, float | None]
    brighter_side: Side | None = None
    remarks: tuple[str, ...] = field(default=())

    @property
    def flags(self) -> tuple[str, ...]:
        """What to look at, worst first."""
        beyond = [(figure.badness(self.figures.get(figure.name)), figure) for figure in FIGURES]
        found = sorted(((bad, figure) for bad, figure in beyond if bad > 0), key=lambda entry: -entry[0])
        lines = []
        for _, figure in found:
            value = self.figures[figure.name]
            lines.append(f"{figure.title} {_shown(figure, value)} ({figure.allowed})")
        return (*lines, *self.remarks)

    @property
    def badness(self) -> float:
        """How far the figures lie beyond their bounds, and how many do; higher is worse."""
        beyond = [figure.badness(self.figures.get(figure.name)) for figure in FIGURES]
        return sum(min(bad, 10.0) + (1.0 if bad > 0 else 0.0) for bad in beyond) + len(self.remarks)


def far_outside(figures: Mapping[str, float | None], ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """The figures that lie outside others' ranges by more than half a range, in words.

    Args:
        figures: A patient's, by name.
        ranges: The least and the largest that others have; a figure that they lack is passed over.
    """
    found = []
    for figure in FIGURES:
        value, own = figures.get(figure.name), ranges.get(figure.name)
        if value is None or own is None:
            continue
        low, high = own
        if not low - (high - low) / 2 <= value <= high + (high - low) / 2:
            shown = [_shown(figure, each) for each in (value, low, high)]
            found.append(f"{figure.title} {shown[0]}; in the model's cohort {shown[1]} to {shown[2]}")
    return found


def measure(
    series: PatientSeries,
    placed: Placed,
    on_grid: OnGrid,
    *,
    scaled: Mapping[str, Volume],
    atlas_mask: Mask,
    atlas_ml: float,
) -> Quality:
    """Measures how well a patient came through.

    Args:
        series: As they were read.
        placed: Where the series lie.
        on_grid: The series on the grid.
        scaled: The series on the grid, brain median 1 and 0 outside the brain.
        atlas_mask: The atlas brain on the grid.
        atlas_ml: Volume of the whole atlas brain; what lies below the grid counts as not covered.
    """
    b0, mask = scaled["b0"], on_grid.mask
    plane = find_midplane(b0, mask=mask, middle_mm=_MIDDLE_MM)
    seen = atlas_mask & on_grid.scanned
    typical = float(np.median(placed.b0.data[placed.mask]))
    figures: dict[str, float | None] = {
        "brain_atlas_dice": dice(on_grid.own_mask & on_grid.scanned, seen),
        "b0_atlas_similarity": placed.found.similarity,
        "upside_down_ratio": placed.found.upside_down / max(placed.found.similarity, 1e-6),
        "outside_signal_fraction": outside_signal(placed.b0, mask=placed.mask, typical=typical),
        "midplane_tilt_deg": plane.tilt_deg,
        "midplane_shift_mm": plane.shift_mm,
        "covered_fraction": min(float(seen.sum()) * b0.voxel_ml / atlas_ml, 1.0),
        "brain_ml": float(placed.mask.sum()) * placed.b0.voxel_ml,
        "n_nonfinite": float(sum(int((~np.isfinite(volume.data)).sum()) for volume in scaled.values())),
        "b0_flair_shift_mm": None,
        "flair_mirrored_ratio": None,
        **_adc_figures(series, placed),
        **_flair_figures(placed),
    }
    if (flair := scaled.get("flair")) is not None:
        figures["b0_flair_shift_mm"] = shift_left(b0, flair, mask=mask)
        figures["flair_mirrored_ratio"] = mirrored_ratio(b0, flair, mask=mask)
    remarks = () if flair is not None else ("no FLAIR",)
    return Quality(figures, brighter_side(b0, scaled["b1000"], mask=mask), remarks)


def shift_left(b0: Volume, flair: Volume, *, mask: Mask) -> float:
    """How far FLAIR would still have to move to agree best with b0, in mm: 0 if they are registered.

    Measured with what registration did not use: shifts alone, finely climbed from several sides, on the final voxels.
    """
    similarity = Similarity(b0, mask, flair, spacing_mm=3.0)
    found = []
    for start in (-2.0, 0.0, 2.0):
        pose = Pose(np.eye(4), pivot_mm=np.zeros(3)).moved(np.array([start, start, start, 0.0, 0.0, 0.0]))
        found.append(climb(similarity, pose, rounds=3, steps=(3.0,) * 3))
    best, _ = max(found, key=lambda entry: entry[1])
    return float(np.linalg.norm(best.affine[:3, 3]))


def mirrored_ratio(b0: Volume, flair: Volume, *, mask: Mask) -> float:
    """Similarity of b0 and the mirrored FLAIR over that of b0 and FLAIR; above 1, one of the two is flipped.

    Both lie on a grid that is symmetric about x = 0. On 54 raw phantoms whose heads differ from the atlas by an affine
    map, and so are nearly symmetric, it was .81 to 1.018, on 54 of the phantom's own anatomy .80 to .99; a flip gives
    about the inverse, so that 1.02 tells 94 % of these, and 35 % of the symmetric ones.
    """
    upright = Similarity(b0, mask, flair, spacing_mm=4.0)(np.eye(4))
    mirrored = Similarity(b0, mask, flair.like(flair.data[::-1]), spacing_mm=4.0)(np.eye(4))
    return mirrored / upright if upright > 0 else math.inf


def fluid_ratio(b0: Volume, flair: Volume, *, mask: Mask) -> float:
    """FLAIR's median where b0 is brightest, which is fluid, over its median in the brain: low, or it is no FLAIR.

    On 24 raw phantoms (easy) it was .16 to .26, and the similarity to b0 .14 to .18. Of 6 of them, in FLAIR's place: b0
    2.1 and .5; noise, shuffled slices and wrong pixels .33 to 1.0 and .01; the image inverted 1.3; another head's FLAIR
    .18 to .65 and .04 to .07. b1000 (.4 and .17 to .20) is told by its similarity to b1000: .40 to .51, FLAIR's is .28
    to .32 (7 phantoms).

    Args:
        b0: On any voxels.
        flair: On b0's voxels, 0 where it was not scanned.
        mask: Where the brain is.
    """
    seen = mask & (flair.data > 0)
    fluid = seen & (b0.data > np.percentile(b0.data[mask], _FLUID_PERCENTILE))
    if not fluid.any():
        return math.inf
    return float(np.median(flair.data[fluid])) / max(float(np.median(flair.data[seen])), 1e-12)


def outside_signal(b0: Volume, *, mask: Mask, typical: float, reach_mm: float = 12.0) -> float:
    """Share of the voxels just outside the mask (beyond 3 mm, up to `reach_mm`) that are as bright as brain.

    A few are (eyes, scalp on some sequences); many mean that brain was cut off.

    Args:
        b0: Before it was masked.
        mask: Where the brain is.
        typical: Median of b0 in the brain.
        reach_mm: How far outside to look.
    """
    edge = min(b0.spacing_mm)
    near = binary_dilation(mask, iterations=max(1, round(3.0 / edge)))
    rim = binary_dilation(near, iterations=max(1, round((reach_mm - 3.0) / edge))) & ~near
    return float((b0.data[rim] > 0.6 * typical).mean()) if rim.any() else 0.0


def brighter_side(b0: Volume, b1000: Volume, *, mask: Mask) -> Side | None:
    """The half in which b1000 is clearly brighter, and diffusion lower, than in the mirror image: an acute lesion.

    A coil's gradient and the base of the skull make b1000 brighter, but b0 too. Of 60 raw phantoms (easy, 12x48x24; 50
    with a lesion on one side), on which the bounds were set, 29 were told, none wrongly; by b1000 alone 5 were. Of 90
    others (three presets, two anatomies) 67 were told, none wrongly.

    Args:
        b0: On a grid symmetric about x = 0, x running from the patient's left to right, brain median 1.
        b1000: Likewise.
        mask: Where the brain is.
    """
    sigma = 2.0 / np.array(b1000.spacing_mm)
    share = gaussian_filter(mask.astype(np.float64), sigma) + 1e-6
    plain, weighted = (gaussian_filter(np.where(mask, series.data, 0.0), sigma) / share for series in (b0, b1000))
    exponent = np.log(np.maximum(plain, 1e-3) / np.maximum(weighted, 1e-3))
    brighter, restricted = weighted - weighted[::-1] > _BRIGHTER, exponent[::-1] - exponent > _RESTRICTED
    lesion = mask & mask[::-1] & brighter & restricted
    middle = lesion.shape[0] // 2
    left, right = (float(half.sum()) * b1000.voxel_ml for half in (lesion[:middle], lesion[middle:]))
    if max(left, right) < _MIN_LESION_ML or max(left, right) < _ONE_SIDED * min(left, right):
        return None
    return "left" if left > right else "right"


def adc_agreement(b0: Volume, b1000: Volume, adc: Volume, *, mask: Mask, b_s_mm2: float) -> tuple[float, float]:
    """How the scanner's ADC compares with ln(b0 / b1000) / b in the brain.

    Returns:
        The ratio of their medians, which is not 1 where a b-value or a unit is wrong, and their rank correlation, which
        is low where the map is another head's. Nothing to compare: infinity and 0. Of 9 raw phantoms with maps made
        of themselves: 1.07 and .85 with noise of .0002 mm2/s; 1.25 where b is 800 and taken for 1000; a correlation of
        .24 to .35 two slices off, .31 to .77 mirrored.

    Args:
        b0: On any voxels.
        b1000: On b0's voxels.
        adc: On b0's voxels, mm2/s.
        mask: Where the brain is.
        b_s_mm2: What b1000's b-value is taken for.
    """
    seen = mask & (b0.data > 0) & (b1000.data > 0) & (adc.data > 0)
    ours = np.log(b0.data[seen] / b1000.data[seen]) / b_s_mm2
    if ours.size < 2 or np.median(ours) <= 0:
        return math.inf, 0.0
    correlation = float(spearmanr(ours, adc.data[seen]).statistic)
    return float(np.median(adc.data[seen]) / np.median(ours)), correlation if math.isfinite(correlation) else 0.0


def _adc_figures(series: PatientSeries, placed: Placed) -> dict[str, float | None]:
    if series.adc is None:
        return {"adc_ratio": None, "adc_correlation": None}
    b1000, adc = (_on_b0(volume, placed, placed.b1000_from_b0) for volume in (placed.b1000, series.adc))
    ratio, correlation = adc_agreement(placed.b0, b1000, adc, mask=placed.mask, b_s_mm2=series.b_s_mm2)
    return {"adc_ratio": ratio, "adc_correlation": correlation}


def _flair_figures(placed: Placed) -> dict[str, float | None]:
    """Whether the FLAIR is the FLAIR: on b0's voxels, before anything is scaled."""
    if placed.flair is None or placed.flair_from_b0 is None:
        return {"b0_flair_similarity": None, "b1000_flair_similarity": None, "flair_fluid_ratio": None}
    flair = _on_b0(placed.flair, placed, placed.flair_from_b0)
    b1000 = _on_b0(placed.b1000, placed, placed.b1000_from_b0)
    alike = {
        name: Similarity(volume, placed.mask, flair, spacing_mm=4.0)(np.eye(4))
        for name, volume in (("b0_flair_similarity", placed.b0), ("b1000_flair_similarity", b1000))
    }
    return {**alike, "flair_fluid_ratio": fluid_ratio(placed.b0, flair, mask=placed.mask)}


def _on_b0(volume: Volume, placed: Placed, volume_from_b0: Affine) -> Volume:
    return resample(volume, shape=placed.b0.shape, affine=placed.b0.affine, transform=Transform(volume_from_b0))


def _shown(figure: Figure, value: float | None) -> str:
    return "n/a" if value is None else f"{value:.{figure.digits}f}"
