"""What is written of an image file's b-values: beside it in `.bval`, in its sidecar, in its name.

All b-values are in s/mm2. What two of them say must agree; what none says is assumed, and said so.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tissueclock.errors import ImageError
from tissueclock.imaging.bvalues import MAX_B0_S_MM2, read_bvals, same_shell
from tissueclock.imaging.raw import entities, find_sidecars, stem

_NAMED = re.compile(r"(?<![a-z0-9])b(\d{1,5})(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class ToldB:
    """The b-values of a file's volumes.

    Attributes:
        b_s_mm2: One a volume.
        assumed: What of it nothing told, in one line; or empty.
    """

    b_s_mm2: tuple[float, ...]
    assumed: str = ""


def told_b(image: Path, root: Path, *, means: Sequence[float], wanted: float) -> ToldB:
    """The b-values of a file's volumes: `.bval`'s, or those of sidecar or name, or what is assumed without any.

    Args:
        image: The file.
        root: The BIDS folder that it lies in, from whose upper levels `.bval` and `.json` are inherited.
        means: Each volume's mean signal. Diffusion weighting only darkens: of two volumes the brighter one is b0.
        wanted: The b-value asked for, assumed where nothing tells.

    Raises:
        ImageError: Two sources contradict each other or the volumes, or more than two volumes have no `.bval`.
    """
    bval = next(iter(find_sidecars(image, root, ".bval")), None)
    said = _said(image, root, is_needed=bval is None)
    if bval is not None:
        bvals = tuple(read_bvals(bval, len(means)).tolist())
        for source, value in said.items():
            if not any(_alike(value, other) for other in bvals):
                listed = ", ".join(f"{other:g}" for other in sorted(set(bvals)))
                raise ImageError(f"{image}: b {value:g} by {source}, {listed} by {bval.name}; they must agree")
        _check_brightness(image, bvals, means, source=bval.name)
        return ToldB(bvals)
    if len(means) > 2:
        raise ImageError(f"{image}: {len(means)} images and no {stem(image)}.bval; their b-values are needed")
    if len(said) == 2 and not _alike(*said.values()):
        told = " and ".join(f"{value:g} by {source}" for source, value in said.items())
        raise ImageError(f"{image}: b {told}; they must agree")
    source, value = next(iter(said.items()), ("", wanted))
    if len(means) == 1:
        return ToldB((value,), "" if source else f"{image.name} tells no b-value; taken as b = {value:g}")
    if value <= MAX_B0_S_MM2:
        return ToldB((value, value))
    brighter = int(means[1] > means[0])
    untold = f"{image.name} has no .bval; the brighter image taken as b0"
    return ToldB(
        tuple(0.0 if i == brighter else value for i in (0, 1)),
        untold if source else f"{untold}, the other as b = {value:g}",
    )


def _said(image: Path, root: Path, *, is_needed: bool) -> dict[str, float]:
    """By source, the one b-value that a file's sidecar or name tells.

    Raises:
        ImageError: A sidecar cannot be read, and there is no `.bval` to do without it.
    """
    said = {}
    for path in find_sidecars(image, root, ".json"):
        try:
            value = _of_sidecar(path)
        except (OSError, ValueError) as error:
            if is_needed:
                raise ImageError(f"{path}: cannot be read as JSON ({error})") from error
            continue  # free text of a header can break a sidecar
        if value is not None:
            said[f"DiffusionBValue in {path.name}"] = value
            break
    named = {float(found) for found in _NAMED.findall("_".join(entities(image)))}
    named = {value for value in named if value == 0 or value >= MAX_B0_S_MM2}  # b1 is a field map
    if stem(image).lower().endswith("_s0map"):
        named.add(0.0)
    if len(named) == 1:
        said["its name"] = named.pop()
    return said


def _of_sidecar(path: Path) -> float | None:
    facts = json.loads(path.read_text(encoding="utf-8", errors="replace"), strict=False)
    value = facts.get("DiffusionBValue") if isinstance(facts, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _check_brightness(image: Path, bvals: Sequence[float], means: Sequence[float], *, source: str) -> None:
    plain = [mean for b, mean in zip(bvals, means, strict=True) if b <= MAX_B0_S_MM2]
    weighted = [(mean, b) for b, mean in zip(bvals, means, strict=True) if b >= 500.0]
    if plain and weighted and max(plain) < min(mean for mean, _ in weighted):
        raise ImageError(
            f"{image}: the images that {source} calls b0 are darker than those it calls b {weighted[0][1]:g}; "
            "are the volumes in another order?"
        )


def _alike(one: float, other: float) -> bool:
    return same_shell(one, other) or max(one, other) <= MAX_B0_S_MM2
