"""A promoted checkpoint's files as they go to the tracker: nobody's name in them.

The scores' patients are numbered, each table by itself. `intake.json` keeps digests of voxels, by which a patient is
known again, and none of ids: a short id can be guessed from its digest.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tissueclock.storage.files import digest_file, read_json, write_json
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows, write_rows

_SOMEBODY = "a patient of the cohort"


def unnamed_files(folder: PromotedFolder, target: Path) -> Iterator[Path]:
    """The files of a checkpoint that are there; those that name patients are rewritten into `target`.

    Raises:
        InputError: A file is damaged.
    """
    yield folder.weights
    yield folder.trial
    made = PromotedFolder(target)
    for table, copy in (
        (folder.holdout_scores, made.holdout_scores),
        (folder.validation_scores, made.validation_scores),
    ):
        if table.exists():
            _number_patients(table, copy)
            yield copy
    if folder.holdout.exists():
        facts = read_json(folder.holdout)
        if "scores_digest" in facts and made.holdout_scores.exists():
            facts["scores_digest"] = digest_file(made.holdout_scores)
        write_json(made.holdout, facts)
        yield made.holdout
    if folder.intake.exists():
        facts = read_json(folder.intake)
        voxels = sorted(facts["patients"].values())
        numbered = {f"{i:05d}": own for i, own in enumerate(voxels, start=1)}
        write_json(made.intake, {**facts, **_without_reference(facts), "patients": numbered})
        yield made.intake


def _without_reference(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How images came to be, without the name of the patient whose histogram all have."""
    named = {"preprocessing": "reference", "histogram": "subject"}
    told = {part: facts[part] for part in named if facts.get(part)}
    return {part: {**own, named[part]: _SOMEBODY} for part, own in told.items() if own.get(named[part])}


def _number_patients(table: Path, copy: Path) -> None:
    rows = [row.cells for row in read_rows(table, required=("unit", "patient"))]
    number = {name: f"p{i:05d}" for i, name in enumerate(dict.fromkeys(cells["patient"] for cells in rows), start=1)}
    told = [
        {
            **cells,
            "unit": number[cells["patient"]] + cells["unit"].removeprefix(cells["patient"]),
            "patient": number[cells["patient"]],
        }
        for cells in rows
    ]
    write_rows(copy, columns=list(rows[0]), rows=told)
