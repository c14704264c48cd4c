"""Every network of the paper's Table 2, from one study and one command, small."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests.e2e.commands import run
from tests.weights.test_layouts import genesis_layout, med3d_layout
from tissueclock.networks.resnet import ResNet18

TABLE2 = Path(__file__).parents[2] / "infra" / "studies" / "table2.yaml"

pytestmark = [pytest.mark.ray, pytest.mark.e2e]


def test_every_network_of_table_2_is_swept_to_the_end_by_one_command(study_dir: Path) -> None:
    study = yaml.safe_load(TABLE2.read_text())
    for network in ("slice", "volume"):
        study["networks"][network]["width"] = 4
    files = {"imagenet": ResNet18(width=4).state_dict(), "medical_2d": med3d_layout(), "medical_3d": genesis_layout()}
    for name, tensors in files.items():
        torch.save(tensors, study_dir / f"{name}.pth")
        study["weights"][name]["file"] = f"{name}.pth"
    study["sweep"] = {"trials": 1, "epochs": 1, "promote": 1, "scheduler": {"name": "none"}, "cpus_per_trial": 1.0}
    study["phases"] = {}
    (study_dir / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    done = run("sweep", study_dir / "study.yaml", cwd=study_dir, timeout_s=540)  # 21 sweeps

    assert done.returncode == 0, done.stderr
    graph = json.loads((study_dir / "table2" / "graph.json").read_text())
    assert {sweep["state"] for sweep in graph["sweeps"].values()} == {"complete"}
    assert len(graph["sweeps"]) == 5 * 2 + 4 + 5 + 2
    for arm, sweeps in graph["arms"].items():
        lineage = json.loads((study_dir / "table2/sweeps" / sweeps[0] / "promoted/1/trial.json").read_text())["lineage"]
        expected = {"imagenet_2d": "resnet18", "medical_2d": "medicalnet", "medical_3d": "models_genesis"}.get(arm)
        assert lineage["first_weights"].get("layout") == expected
    page = (study_dir / "table2" / "report" / "index.html").read_text()
    assert all(arm in page for arm in graph["arms"])
    assert "Where radiomics finds a region: onset &lt; 4.5 h" in page
    assert "against radiomics (radiomics · radiomics_4h5)" in page
