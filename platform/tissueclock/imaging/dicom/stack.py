"""Whether the slices of a classic series make up whole volumes; the converter's own words on that help nobody.

Positions decide, in mm; pixels are not read.
"""

import numpy as np

from tissueclock.errors import ImageError
from tissueclock.imaging.dicom.objects import DicomSeries

_SAME_MM = 0.2
"""Slices nearer to each other lie at one place: headers round, and no scanner makes thinner ones."""

_GAP = 1.5
"""A distance of so many times the usual one is a missing slice."""


def check_slices(series: DicomSeries) -> None:
    """Refuses a series that lacks slices, or whose slices lie nobody knows where.

    Raises:
        ImageError: A header does not tell where its slice lies or how large it is, some places hold fewer images than
            others, or two neighbours lie too far apart.
    """
    if lost := [file.without for file in series.files if file.without]:
        raise ImageError(
            f"{series.name}: {len(lost)} of {len(series.files)} files without {lost[0]} (or 0); where their voxels lie "
            "is not known"
        )
    places = [file.slice_mm for file in series.files if file.n_frames == 1 and file.slice_mm is not None]
    if len(places) != len(series.files) or "MOSAIC" in series.facts.words:
        return
    ordered = np.sort(np.array(places, dtype=np.float64))
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > _SAME_MM)
    counts = np.diff(starts, append=len(ordered))
    if counts.min() != counts.max():
        short = int((counts < counts.max()).sum())
        raise ImageError(
            f"{series.name}: {short} of {len(counts)} slices have {counts.min()} images, the others {counts.max()}; "
            "a volume is incomplete"
        )
    if len(starts) < 3:
        return
    distances = np.diff(ordered[starts])
    usual = float(np.median(distances))
    if float(distances.max()) > _GAP * usual:
        raise ImageError(
            f"{series.name}: a gap of {distances.max():.1f} mm found where slices lie {usual:.1f} mm apart; "
            "a slice is missing"
        )
