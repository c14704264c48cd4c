"""Study files of trials that cost nothing, on the toy cohort."""

import json
from pathlib import Path
from typing import Any

from tests.toy import write_toy_cohort

LAB = Path(__file__).parent / "lab"
EPOCHS = 5


def write_study(folder: Path, *, sweeps: int, trials: int, cpus: float) -> Path:
    """Writes the file, and the cohort beside it; sweeps that do not wait for each other."""
    folder.mkdir()
    write_toy_cohort(folder / "cohort", n_patients=40)
    said: dict[str, Any] = {
        "name": "scale",
        "folder": "study",
        "seed": 1,
        "cohort": "cohort",
        "extensions": str(LAB),
        "networks": {f"n{i}": {"kind": "slice", "width": 4 * i} for i in range(1, sweeps + 1)},
        "arms": {f"a{i}": {"network": f"n{i}", "phases": {"free": "random"}} for i in range(1, sweeps + 1)},
        "sweep": {
            "trials": trials,
            "epochs": EPOCHS,
            "patience": EPOCHS,
            "promote": 1,
            "searcher": "tpe",
            "scheduler": {"name": "none"},
            "cpus_per_trial": cpus,
        },
    }
    (folder / "study.yaml").write_text(json.dumps(said, indent=1))  # JSON is YAML
    return folder / "study.yaml"
