"""What BIDS asks of every folder: what it is, what made it, and what its participants' columns mean."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tissueclock.storage.files import write_json, write_text

BIDS_VERSION = "1.10.0"

OLDEST_AGE_Y = 89
"""Above it BIDS tells no age: the very old are too few to be nobody."""

_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "onset_to_mri_min": {
        "Description": "From the stroke's onset to the MRI; n/a where it is not known, or without a lesion",
        "Units": "min",
    },
    "last_seen_well_min": {"Description": "From when the patient was last seen well to the MRI", "Units": "min"},
    "lesion_side": {
        "Description": "The half of the brain that holds the acute lesion; n/a where it is not known",
        "Levels": {side: f"{side} half" for side in ("left", "right")} | {"both": "both halves", "none": "no lesion"},
    },
    "nihss": {"Description": "National Institutes of Health Stroke Scale on admission"},
    "field": {"Description": "The scanner's magnetic field"},
}
_READER = {
    "Description": "Whether a reader saw a DWI-FLAIR mismatch; n/a where not read",
    "Levels": {"yes": "mismatch: a lesion on DWI that FLAIR hardly shows", "no": "none"},
}


def write_description(
    folder: Path,
    *,
    name: str,
    kind: Literal["raw", "derivative"],
    command: str,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Writes `dataset_description.json`.

    Args:
        folder: Of the data set.
        name: What to call it.
        kind: Raw scans, or what was made of them.
        command: Of ours, that made it.
        parameters: It was made with; JSON facts.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    maker: dict[str, Any] = {"Name": command, "Version": version("tissueclock")}
    if parameters is not None:
        maker["Parameters"] = dict(parameters)
    facts = {"Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": kind, "GeneratedBy": [maker]}
    write_json(folder / "dataset_description.json", facts)


def describe_participants(folder: Path, *, columns: Sequence[str], text: str) -> None:
    """Writes `participants.json`, which says what the table's columns mean, and `README`; those that are there stay.

    Args:
        folder: Of raw scans.
        columns: Of `participants.tsv`.
        text: Of the README: what lies here, in a sentence or two.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    readers = {name: _READER for name in columns if name.startswith("reader_")}
    if not (folder / "participants.json").exists():
        meanings = {name: _COLUMNS[name] for name in columns if name in _COLUMNS}
        write_json(folder / "participants.json", meanings | readers)
    if not list(folder.glob("README*")):
        write_text(folder / "README", f"{text}\n")
