"""Networks that attend to voxels, through the trainables: detection, and onset from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sweeping.specs import SPEC
from tissueclock.cohort.store import Cohort
from tissueclock.learning.checkpoint import read_tensors
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.records import NetworkSpec, SweepFolder, SweepJob
from trainables.detection import Detection
from trainables.phase import PhaseTrainable
from trainables.tss_3h import Tss3h

VOXEL = NetworkSpec(kind="voxel", width=8, inputs=("b0", "b1000", "flair", "adc", "mirror"))
SLICE = NetworkSpec(kind="slice", width=4, readout="attended", read_at="layer1", stem_stride=1, values="both")


def begin(kind: type[PhaseTrainable], cohort: Cohort, folder: Path, network: NetworkSpec, **settings: Any) -> Any:
    spec = replace(SPEC, cohort=cohort.folder, cohort_digest=cohort.digest, network=network)
    job = SweepJob(spec=spec, folder=SweepFolder(folder), parents=(), study="s", inputs="i", lineage={"code": {}})
    trial = kind.__new__(kind)
    trial._trial = "t0001"
    trial.setup({"hyperparameters": {"batch_size": 16, "schedule": "cosine", **settings}, "seed": 11}, job=job)
    return trial


@pytest.mark.parametrize("network", [VOXEL, SLICE], ids=["voxel with the mirror", "slice"])
def test_a_detector_hands_on_where_it_looks(toy_cohort: Cohort, tmp_path: Path, network: NetworkSpec) -> None:
    detection = begin(Detection, toy_cohort, tmp_path / "detection", network)
    detection.step()
    detection._learner.save(tmp_path / "saved")

    onset = begin(Tss3h, toy_cohort, tmp_path / "onset", network, learned="head", augmentation=0.0)
    onset._learner.network.load_state_dict(read_tensors(tmp_path / "saved" / "weights.safetensors"))
    before = {name: tensor.clone() for name, tensor in onset._learner.network.state_dict().items()}
    metrics = onset.step()["metrics"]

    moved = {n for n, tensor in onset._learner.network.state_dict().items() if not torch.equal(tensor, before[n])}
    assert metrics["trunk_depth"] == 5.0
    assert moved == {"readout.head.weight", "readout.head.bias", "readout.attention_head.weight"}


def test_inputs_are_standardised_by_the_training_samples(toy_cohort: Cohort, tmp_path: Path) -> None:
    trial = begin(Detection, toy_cohort, tmp_path, VOXEL)
    network = trial._learner.network
    assert isinstance(network, AttendedNetwork)
    inputs, brain = network.inputs(trial._train.view.read(trial._train.rows).float())
    voxels = inputs.movedim(1, -1)[brain > 0]
    torch.testing.assert_close(voxels.mean(dim=0), torch.zeros(7), atol=1e-3, rtol=0)
    torch.testing.assert_close(voxels.std(dim=0), torch.ones(7), atol=1e-2, rtol=0)
