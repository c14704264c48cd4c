"""A raw BIDS folder: who is in it, and which of a patient's files could be which series.

Names decide here, pictures later. Folders below the patient's do not matter, sessions do.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tissueclock.errors import ImageError

Duplicates = Literal["refuse", "first", "last"]

SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_LEFT_OUT = {"sbref", "fa", "colfa", "expadc", "eadc", "phase", "mask", "msk", "t1w", "t2w", "bold", "epi"}


@dataclass(frozen=True, slots=True)
class RawFiles:
    """The files of one patient that could be series.

    Attributes:
        subject: For example `sub-0001`.
        dwi: Images with b-values: b0, directions, trace; at least one.
        adc: The scanner's map of the apparent diffusion coefficient, or None.
        flair: The FLAIR image, or None.
    """

    subject: str
    dwi: tuple[Path, ...]
    adc: Path | None
    flair: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, b-value files too."""
        images = [*self.dwi, *(path for path in (self.adc, self.flair) if path is not None)]
        return tuple(images + [b for path in self.dwi if (b := bval_path(path)).exists()])


def list_subjects(raw: Path) -> tuple[str, ...]:
    """The patients of a BIDS folder, by name.

    Raises:
        ImageError: The folder is missing or holds none.
    """
    if not raw.is_dir():
        raise ImageError(f"{raw}: no such folder; a BIDS folder with sub-*/ is needed")
    subjects = sorted(path.name for path in raw.iterdir() if path.is_dir() and path.name.startswith("sub-"))
    if bad := [name for name in subjects if not SUBJECT.fullmatch(name)]:
        raise ImageError(f"{raw / bad[0]}: not a BIDS subject; allowed: sub- and letters or digits")
    if not subjects:
        raise ImageError(f"{raw}: no sub-*/ found; a BIDS folder has one a patient")
    return tuple(subjects)


def find_files(raw: Path, subject: str, *, session: str | None = None, duplicates: Duplicates = "refuse") -> RawFiles:
    """A patient's files, by their names.

    Args:
        raw: The BIDS folder.
        subject: One of `list_subjects`.
        session: Which session, such as `ses-01`, where there are several.
        duplicates: Which of two files for one series to take; `refuse` takes none.

    Raises:
        ImageError: There is no DWI, or more than one session or file to choose from.
    """
    folder = _session_folder(raw / subject, session)
    by_kind: dict[str, list[Path]] = {"dwi": [], "adc": [], "flair": []}
    for path in sorted(path for path in folder.rglob("*") if path.name.lower().endswith((".nii", ".nii.gz"))):
        if (kind := _kind(path)) is not None:
            by_kind[kind].append(path)
    if not by_kind["dwi"]:
        raise ImageError(f"{subject}: no *_dwi.nii.gz below {folder}; b1000 is needed, with b0 or an ADC map")
    return RawFiles(
        subject,
        tuple(by_kind["dwi"]),
        _one(subject, "ADC", by_kind["adc"], duplicates),
        _one(subject, "FLAIR", by_kind["flair"], duplicates),
    )


def bval_path(image: Path) -> Path:
    """Where an image's b-values are."""
    return image.with_name(f"{stem(image)}.bval")


def stem(image: Path) -> str:
    """A NIfTI file's name without `.nii` or `.nii.gz`."""
    return re.sub(r"\.nii(\.gz)?$", "", image.name, flags=re.IGNORECASE)


def _session_folder(folder: Path, session: str | None) -> Path:
    sessions = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith("ses-"))
    if session is None and len(sessions) > 1:
        raise ImageError(f"{folder.name}: sessions {', '.join(sessions)} found; name one with --session")
    if session is None:
        return folder
    if session not in sessions:
        raise ImageError(f"{folder.name}: no {session}; found {', '.join(sessions) or 'no session'}")
    return folder / session


def _kind(path: Path) -> str | None:
    """What a file is by its name: its suffix, or an entity such as `rec-ADC` that overrules it."""
    *entities, suffix = stem(path).lower().split("_")
    words = {
        entity.split("-", 1)[1] for entity in entities if "-" in entity and not entity.startswith(("sub-", "ses-"))
    }
    if suffix == "flair":
        return "flair"
    if suffix == "adc" or (suffix == "dwi" and "adc" in words):
        return "adc"
    if suffix in _LEFT_OUT or words & _LEFT_OUT:
        return None
    return "dwi" if suffix in ("dwi", "trace", "s0map") else None


def _one(subject: str, name: str, paths: list[Path], duplicates: Duplicates) -> Path | None:
    if len(paths) > 1 and duplicates == "refuse":
        found = ", ".join(path.name for path in paths)
        raise ImageError(f"{subject}: {len(paths)} candidates for {name} ({found}); keep one, or say --duplicates last")
    if not paths:
        return None
    return paths[0] if duplicates == "first" else paths[-1]
