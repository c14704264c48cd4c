"""`dataset_description.json`, which BIDS asks of every folder: what it is, and what made it."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tissueclock.storage.files import write_json

BIDS_VERSION = "1.10.0"


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
