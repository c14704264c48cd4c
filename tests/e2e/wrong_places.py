"""Damaged cohorts, checkpoints and folders, each made from a sound one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tissueclock.cohort.questions import HoldsLesion
from tissueclock.cohort.store import Cohort
from tissueclock.networks.slice_network import SliceNetwork
from tissueclock.networks.staged import StagedNetwork
from tissueclock.storage.files import digest_file, write_json
from tissueclock.storage.folders import PromotedFolder
from tissueclock.training.scoring import score
from tissueclock.weights.tensors import write_tensors


def own_cohort(folder: Path, cohort: Cohort) -> Path:
    """A copy of the cohort in the study's folder, to damage."""
    (folder / "cohort").unlink(missing_ok=True)
    shutil.copytree(cohort.folder, folder / "cohort")
    return folder / "cohort"


def change_facts(cohort: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes `cohort.json`."""
    facts = json.loads((cohort / "cohort.json").read_text())
    change(facts)
    (cohort / "cohort.json").write_text(json.dumps(facts))


def change_table(cohort: Path, name: str, change: Callable[[list[list[str]]], object]) -> None:
    """Changes the cells of a table, header first, and the digest that `cohort.json` holds of it."""
    rows = [line.split("\t") for line in (cohort / name).read_text().splitlines()]
    change(rows)
    (cohort / name).write_text("".join("\t".join(row) + "\n" for row in rows))
    change_facts(cohort, lambda facts: facts["digests"].update({name: digest_file(cohort / name)}))


def set_onsets(cohort: Path, onset: str) -> None:
    """Gives every patient the same onset, in both tables."""

    def change(rows: list[list[str]]) -> None:
        column = rows[0].index("onset_to_mri_min")
        for row in rows[1:]:
            row[column] = onset

    change_table(cohort, "participants.tsv", change)
    change_table(cohort, "hemispheres.tsv", change)


def promoted_folder(
    folder: Path, *, n_slices: int = 4, width: int = 4, threshold: float = 0.1, network: StagedNetwork | None = None
) -> Path:
    """A promoted checkpoint as promotion writes it: random weights, or a network's, and their facts."""
    if network is None:
        network = SliceNetwork(n_slices=n_slices, width=width)
        network.reset_parameters(torch.Generator().manual_seed(3))
    write_tensors(folder / "weights.safetensors", network.state_dict())
    facts = {
        "schema": 1,
        "phase": "detection",
        "network": network.description,
        "metrics": {"threshold": threshold},
        "lineage": {"weights": digest_file(folder / "weights.safetensors"), "seed": 0},
    }
    write_json(folder / "trial.json", facts)
    return folder


def scored_folder(folder: Path, cohort: Cohort, **made: Any) -> Path:
    """A promoted checkpoint of detection, scored on a cohort as a study does it."""
    promoted = promoted_folder(folder, **made)
    score(PromotedFolder(promoted), HoldsLesion(), cohort)
    return promoted


def redigest(promoted: Path) -> None:
    """Makes `trial.json` agree with weights that were put in the place of others."""
    facts = json.loads((promoted / "trial.json").read_text())
    facts["lineage"]["weights"] = digest_file(promoted / "weights.safetensors")
    write_json(promoted / "trial.json", facts)
