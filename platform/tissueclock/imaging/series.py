"""b0, b1000 and FLAIR of a patient, out of whatever files there are.

b0 is the mean of the images without diffusion weighting; where there are none, b1000 exp(b ADC). b1000 is the scanner's
trace image, or the geometric mean of the directions at the b-value nearest to the one wanted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import MAX_B0_S_MM2, BValues, geometric_mean, pick_b, without_b
from tissueclock.imaging.raw import Duplicates, RawFiles, stem
from tissueclock.imaging.told_b import told_b
from tissueclock.imaging.transform import resample
from tissueclock.imaging.volume import Volume, read_volume, read_volumes

_ADC_UNITS = ((1e-6, 200.0, 5000.0), (1e-3, 0.2, 5.0), (1.0, 0.0002, 0.005))
"""mm2/s in one unit of the file, and the range of a brain's median in it."""

_MAX_EXPONENT = 5.0

_NEGATIVE_DEPTH, _NEGATIVE_SHARE = 0.1, 0.01
"""Of the 99th percentile of absolute values, and of the voxels: ringing and interpolation stay below both."""


@dataclass(frozen=True, slots=True, eq=False)
class PatientSeries:
    """A patient's series, each on its own voxels.

    Attributes:
        b0: Without diffusion weighting.
        b1000: Diffusion-weighted, mean of the directions.
        flair: Fluid nulled; None where the patient has none.
        b_s_mm2: The b-value that b1000 really has.
        notes: What had to be decided, in a sentence each.
        assumed: What nothing told and was taken for granted, likewise.
        adc: The scanner's ADC in mm2/s on b1000's voxels, where there is one beside a b0 that was acquired.
    """

    b0: Volume
    b1000: Volume
    flair: Volume | None
    b_s_mm2: float
    notes: tuple[str, ...]
    assumed: tuple[str, ...] = ()
    adc: Volume | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Weighted:
    """One image with its b-value, and where it came from."""

    volume: Volume
    b_s_mm2: float
    path: Path


def read_series(files: RawFiles, *, b_values: BValues, duplicates: Duplicates = "refuse") -> PatientSeries:
    """Reads a patient's files and makes the series of them.

    Raises:
        ImageError: A file is wrong, or its values lie far below 0; no image is near enough to the wanted b-value, two
            files could be b1000, or there is neither b0 nor an ADC map.
    """
    notes: list[str] = []
    assumed: list[str] = []
    images = [image for path in files.dwi for image in _weighted(path, files.root, b_values, assumed)]
    b1000, b, source = _b1000(files, images, b_values, duplicates, notes)
    plain = [image for image in images if image.b_s_mm2 <= MAX_B0_S_MM2]
    adc = None
    if plain:  # those acquired with b1000 before those of another run
        b0 = _mean(files.subject, [image for image in plain if image.path == source] or plain, duplicates)
        adc = _beside(files.adc, b1000, notes)
    elif files.adc is not None:
        b0 = _b0_from_adc(b1000, files.adc, b_s_mm2=b)
        notes.append(f"b0 made of b{b:g} and {files.adc.name}")
    else:
        found = ", ".join(f"{value:g}" for value in sorted({image.b_s_mm2 for image in images}))
        raise ImageError(f"{files.subject}: no b0 (b-values {found} found) and no ADC map to make it of; one is needed")
    return PatientSeries(
        _positive(b0),
        _positive(b1000),
        None if files.flair is None else _positive(_checked(read_volume(files.flair), files.flair)),
        b,
        tuple(notes),
        tuple(assumed),
        adc,
    )


def _weighted(path: Path, root: Path, b_values: BValues, assumed: list[str]) -> list[_Weighted]:
    volumes = [_checked(volume, path) for volume in read_volumes(path)]
    told = told_b(path, root, means=[float(volume.data.mean()) for volume in volumes], wanted=b_values.b_s_mm2)
    if told.assumed:
        assumed.append(told.assumed)
    return [_Weighted(volume, b, path) for volume, b in zip(volumes, told.b_s_mm2, strict=True)]


def _b1000(
    files: RawFiles, images: Sequence[_Weighted], b_values: BValues, duplicates: Duplicates, notes: list[str]
) -> tuple[Volume, float, Path]:
    """The diffusion-weighted image, its b-value and its file; of several that hold one, the scanner's trace."""
    sources: dict[Path, list[_Weighted]] = {}
    for image in images:
        if image.b_s_mm2 > MAX_B0_S_MM2:
            sources.setdefault(image.path, []).append(image)
    fitting: dict[Path, list[_Weighted]] = {}
    for path, weighted in sources.items():
        try:
            chosen = pick_b([w.b_s_mm2 for w in weighted], wanted=b_values.b_s_mm2, tolerance=b_values.tolerance_s_mm2)
        except ImageError:
            continue
        fitting[path] = [weighted[i] for i in chosen]
    if not fitting:
        bvals = [image.b_s_mm2 for image in images]
        line = without_b(bvals, wanted=b_values.b_s_mm2, tolerance=b_values.tolerance_s_mm2)
        raise ImageError(f"{files.subject}: {line}")
    path = _preferred(files.subject, list(fitting), duplicates)
    shell = fitting[path]
    if len(shell) > 1:
        notes.append(f"b{shell[0].b_s_mm2:g} is the geometric mean of {len(shell)} images of {path.name}")
    mean = shell[0].volume.like(geometric_mean([image.volume.data for image in shell]))
    return mean, float(np.mean([image.b_s_mm2 for image in shell])), path


def _preferred(subject: str, paths: list[Path], duplicates: Duplicates) -> Path:
    traces = [path for path in paths if "trace" in stem(path).lower()]
    candidates = traces if len(traces) == 1 else paths
    if len(candidates) > 1 and duplicates == "refuse":
        found = ", ".join(path.name for path in candidates)
        raise ImageError(
            f"{subject}: {len(candidates)} candidates for b1000 ({found}); keep one, or say --duplicates last"
        )
    return candidates[0] if duplicates == "first" else candidates[-1]


def _mean(subject: str, images: Sequence[_Weighted], duplicates: Duplicates) -> Volume:
    """The mean of the images without weighting; they come from one file, or from the first or last of several."""
    paths = list(dict.fromkeys(image.path for image in images))
    one_grid = all(
        image.volume.data.shape == images[0].volume.data.shape
        and np.allclose(image.volume.affine, images[0].volume.affine, atol=1e-3)
        for image in images
    )
    if one_grid:
        return images[0].volume.like(np.mean([image.volume.data for image in images], axis=0))
    if duplicates == "refuse":
        found = ", ".join(path.name for path in paths)
        raise ImageError(
            f"{subject}: candidates for b0 on different voxels ({found}); keep one, or say --duplicates last"
        )
    chosen = paths[0] if duplicates == "first" else paths[-1]
    return _mean(subject, [image for image in images if image.path == chosen], duplicates)


def _b0_from_adc(b1000: Volume, adc_file: Path, *, b_s_mm2: float) -> Volume:
    """b1000 exp(b ADC)."""
    return b1000.like(b1000.data * np.exp(np.clip(b_s_mm2 * _read_adc(adc_file, b1000).data, 0.0, _MAX_EXPONENT)))


def _beside(adc_file: Path | None, b1000: Volume, notes: list[str]) -> Volume | None:
    """An ADC map that nothing is made of: one that cannot be read costs a note."""
    if adc_file is None:
        return None
    try:
        return _read_adc(adc_file, b1000)
    except ImageError as error:
        notes.append(f"not compared with b0 and b1000: {error}")
        return None


def _read_adc(adc_file: Path, b1000: Volume) -> Volume:
    """An ADC map in mm2/s on b1000's voxels, its unit told from its size.

    Raises:
        ImageError: The map's values are not those of a brain in any known unit.
    """
    adc = read_volume(adc_file)
    if adc.data.shape != b1000.data.shape or not np.allclose(adc.affine, b1000.affine, atol=1e-2):
        adc = resample(adc, shape=b1000.shape, affine=b1000.affine)
    bright = (b1000.data > np.percentile(b1000.data, 75)) & (adc.data > 0)
    median = float(np.median(adc.data[bright])) if bright.any() else 0.0
    unit = next((unit for unit, low, high in _ADC_UNITS if low <= median <= high), None)
    if unit is None:
        raise ImageError(
            f"{adc_file}: median {median:.3g} where b1000 is bright; a brain has about 0.0008 mm2/s, "
            "written as 0.0008, 0.8 or 800"
        )
    return b1000.like(unit * adc.data)


def _checked(volume: Volume, path: Path) -> Volume:
    """The same volume; raises ImageError where its values are no brightness."""
    scale = float(np.percentile(np.abs(volume.data), 99))
    share = float((volume.data < -_NEGATIVE_DEPTH * scale).mean())
    if share > _NEGATIVE_SHARE:
        raise ImageError(
            f"{path}: {share:.0%} of the values are far below 0 (z-scores, or uint16 saved as int16?); "
            "brightness starts at 0"
        )
    return volume


def _positive(volume: Volume) -> Volume:
    """Negative values, which some reconstructions leave around the head, as 0: brightness starts there."""
    return volume.like(np.maximum(volume.data, 0.0)) if float(volume.data.min()) < 0 else volume
