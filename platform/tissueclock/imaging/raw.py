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
        root: The BIDS folder.
        subject: For example `sub-0001`.
        dwi: Images with b-values: b0, directions, trace; at least one.
        adc: The scanner's map of the apparent diffusion coefficient, or None.
        flair: The FLAIR image, or None.
    """

    root: Path
    subject: str
    dwi: tuple[Path, ...]
    adc: Path | None
    flair: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, and what tells their b-values: `.bval` files and sidecars, own or inherited."""
        images = [*self.dwi, *(path for path in (self.adc, self.flair) if path is not None)]
        bvals = [path for image in self.dwi for path in find_sidecars(image, self.root, ".bval")[:1]]
        sidecars = [path for image in self.dwi for path in find_sidecars(image, self.root, ".json")]
        return tuple(dict.fromkeys([*images, *bvals, *filter(_speaks_of_b, sidecars)]))


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
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or (kind := _kind(path)) is None:
            continue
        _check_owner(path, subject, folder)
        by_kind[kind].append(path)
    if not by_kind["dwi"]:
        raise ImageError(f"{subject}: no *_dwi.nii.gz below {folder}; b1000 is needed, with b0 or an ADC map")
    return RawFiles(
        raw,
        subject,
        tuple(by_kind["dwi"]),
        _one(subject, "ADC", by_kind["adc"], duplicates),
        _one(subject, "FLAIR", by_kind["flair"], duplicates),
    )


def entities(image: Path) -> tuple[str, ...]:
    """A file's entities, such as `acq-b1000`, without subject and session, and its suffix; in lower case."""
    words = stem(image).lower().split("_")
    return tuple(word for word in words if not word.startswith(("sub-", "ses-")))


def find_sidecars(image: Path, root: Path, extension: str) -> tuple[Path, ...]:
    """The files of an extension that speak of an image, nearest first: its own, then those that it inherits.

    One at an upper level speaks of all images that have its entities and its suffix (BIDS, the inheritance principle).

    Raises:
        ImageError: Two of one level do.
    """
    found: list[Path] = []
    words = set(stem(image).lower().split("_"))
    own = image.with_name(f"{stem(image)}{extension}")
    folder = image.parent
    while folder != folder.parent:
        beside = sorted(path for path in folder.glob(f"*{extension}") if not path.name.startswith("."))
        fitting = [path for path in beside if _speaks_of(path, words)]
        if own in fitting:
            fitting = [own]
        if len(fitting) > 1:
            listed = ", ".join(path.name for path in fitting)
            raise ImageError(f"{image}: {listed} would each be its {extension} file; one a folder is needed")
        found += fitting
        if folder == root:
            break
        folder = folder.parent
    return tuple(found)


def _speaks_of(sidecar: Path, words: set[str]) -> bool:
    own = sidecar.stem.lower().split("_")
    return set(own) <= words and own[-1] in words and "-" not in own[-1]


def _speaks_of_b(sidecar: Path) -> bool:
    try:
        return b"DiffusionBValue" in sidecar.read_bytes()
    except OSError:
        return False


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
    *own, suffix = entities(path)
    said = dict(entity.split("-", 1) for entity in own if "-" in entity)
    words = set(said.values())
    if said.get("part", "mag") != "mag" or said.get("desc", "").endswith(("mask", "seg")):
        return None
    if suffix == "flair":
        return "flair"
    if suffix == "adc" or (suffix == "dwi" and "adc" in words):
        return "adc"
    if suffix in _LEFT_OUT or words & _LEFT_OUT:
        return None
    if path.parent.name == "fmap":
        return None
    return "dwi" if suffix in ("dwi", "trace", "s0map") or re.fullmatch(r"b\d{1,5}", suffix) else None


def _check_owner(path: Path, subject: str, folder: Path) -> None:
    """Raises ImageError where a name says another subject or session than its folder, or the file is not there."""
    if path.is_symlink() and not path.exists():
        raise ImageError(
            f"{path}: a link to a file that is not there; fetch it (git-annex: git annex get) or remove it"
        )
    wanted = {"sub": subject.removeprefix("sub-")}
    if folder.name.startswith("ses-"):
        wanted["ses"] = folder.name.removeprefix("ses-")
    said = dict(word.split("-", 1) for word in stem(path).split("_") if word.lower().startswith(("sub-", "ses-")))
    for key, own in wanted.items():
        if (found := said.get(key, own)).lower() != own.lower():
            raise ImageError(f"{path}: its name says {key}-{found}, its folder {key}-{own}; they must agree")


def _one(subject: str, name: str, paths: list[Path], duplicates: Duplicates) -> Path | None:
    if len(paths) > 1 and duplicates == "refuse":
        found = ", ".join(path.name for path in paths)
        raise ImageError(f"{subject}: {len(paths)} candidates for {name} ({found}); keep one, or say --duplicates last")
    if not paths:
        return None
    return paths[0] if duplicates == "first" else paths[-1]
