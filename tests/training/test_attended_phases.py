"""Networks that attend to voxels, as trials: detection, and onset from it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from tests.sweeping.specs import vary
from tissueclock.cohort.folds import make_folds
from tissueclock.cohort.store import Cohort
from tissueclock.networks.attended_network import AttendedNetwork
from tissueclock.networks.settings import NetworkSettings, SliceSettings, VolumeSettings, VoxelSettings
from tissueclock.records import Parent, SweepJob
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter
from tissueclock.sweeping.promotion import promote, read_parents, settle_trial
from tissueclock.training.trial import Trial
from tissueclock.training.tunable import PhaseTrainable
from tissueclock.weights.tensors import read_tensors, replica_tensors
from trainables.detection import Detection
from trainables.genesis import Genesis
from trainables.tss_3h import Tss3h

VOXEL = VoxelSettings(width=8, inputs=("b0", "b1000", "flair", "adc", "mirror"))
SLICE = SliceSettings(width=4, readout="attended", read_at="layer1", stem_stride=1, values="both")
VOLUME = VolumeSettings(width=4, readout="attended", read_at="layer1")
LINEAGE: dict[str, Any] = {"cohort": "c", "split": "s", "seed": 3, "code": {}}


def begin(
    kind: type[PhaseTrainable],
    cohort: Cohort,
    folder: Path,
    network: NetworkSettings,
    *,
    parents: tuple[Parent, ...] = (),
    inputs: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> Trial:
    spec = vary(cohort=cohort.folder, cohort_digest=cohort.digest, network=network, phase=kind.phase.name, **inputs)
    job = SweepJob(spec=spec, folder=SweepFolder(folder), parents=parents, inputs="i", lineage=LINEAGE)
    trial = Trial(kind.phase, job)
    trial.begin("t0001", {"hyperparameters": {"batch_size": 16, **settings}, "seed": 11})
    return trial


def promoted(trial: Trial, folder: Path, **inputs: Any) -> tuple[Parent, ...]:
    """The trial's checkpoint, promoted as the only one of its sweep."""
    metrics = trial.step()["metrics"]
    sweep = SweepFolder(folder)
    with LedgerWriter(sweep.ledger) as writer:
        writer.append("asked", trial="t0001", hyperparameters={}, seed=11)
        writer.append("reported", trial="t0001", epoch=1, metrics=metrics)
        writer.append("ended", trial="t0001", status="finished")
        settle_trial(sweep.trial("t0001"))
        promote(SweepJob(spec=vary(**inputs), folder=sweep, inputs="i", lineage=LINEAGE), writer)
    return read_parents(sweep)


@pytest.mark.parametrize("network", [VOXEL, SLICE], ids=["voxel with the mirror", "slice"])
def test_a_detector_hands_on_where_it_looks(toy_cohort: Cohort, tmp_path: Path, network: NetworkSettings) -> None:
    detection = begin(Detection, toy_cohort, tmp_path / "d", network, schedule="cosine", lr=0.01)
    parents = promoted(detection, tmp_path / "d")

    heads = {"learned": "head", "augmentation": 0.0, "lr": 0.01}
    onset = begin(Tss3h, toy_cohort, tmp_path / "o", network, parents=parents, **heads)
    before = {name: tensor.clone() for name, tensor in onset.course.network.state_dict().items()}
    metrics = onset.step()["metrics"]

    moved = {n for n, tensor in onset.course.network.state_dict().items() if not torch.equal(tensor, before[n])}
    assert metrics["trunk_depth"] == 5.0
    assert moved == {"readout.head.weight", "readout.head.bias", "readout.attention_head.weight"}
    scores = detection.course.network.state_dict()["readout.score.weight"]
    assert torch.equal(onset.course.network.state_dict()["readout.score.weight"], scores)


def test_inputs_are_standardised_by_the_training_samples(toy_cohort: Cohort, tmp_path: Path) -> None:
    learner: Any = begin(Detection, toy_cohort, tmp_path, VOXEL).course
    assert isinstance(learner.network, AttendedNetwork)
    inputs, brain = learner.network.inputs(learner._train.view.read(learner._train.rows).float())
    voxels = inputs.movedim(1, -1)[brain > 0]
    torch.testing.assert_close(voxels.mean(dim=0), torch.zeros(7), atol=1e-3, rtol=0)
    torch.testing.assert_close(voxels.std(dim=0), torch.ones(7), atol=1e-2, rtol=0)


def test_an_encoder_that_restored_three_series_starts_a_network_with_more_inputs(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    genesis = begin(Genesis, toy_cohort, tmp_path / "g", VOLUME)
    parents = promoted(genesis, tmp_path / "g")

    ours = begin(Detection, toy_cohort, tmp_path / "d", VOLUME, parents=parents).course.network.state_dict()

    theirs = genesis.course.network.state_dict()
    assert torch.equal(ours["trunk.layer1.conv.weight"], theirs["trunk.layer1.conv.weight"])
    assert ours["trunk.stem.conv.weight"].shape[1] == len(VOLUME.inputs)
    assert not torch.equal(ours["inputs.sd"], torch.ones(len(VOLUME.inputs))), "genesis standardised nothing"


def test_folds_are_handed_over_one_by_one(toy_cohort: Cohort, tmp_path: Path) -> None:
    folds = {"folds": 2, "seeds": 2}
    parents = promoted(begin(Detection, toy_cohort, tmp_path / "d", VOXEL, inputs=folds), tmp_path / "d", **folds)
    child: Any = begin(Tss3h, toy_cohort, tmp_path / "o", VOXEL, parents=parents, inputs=folds).course

    weights = read_tensors(parents[0].folder.weights)
    for i, learner in enumerate(child.learners):
        own = learner.network.state_dict()
        assert torch.equal(own["readout.score.weight"], replica_tensors(weights, i)["readout.score.weight"])
        fold = make_folds(toy_cohort, n_folds=2, seed=LINEAGE["seed"])[i // 2]
        assert set(learner._validation.rows) <= set(fold.validation)

    Detection.phase.task.score_holdout([parents[0].folder], toy_cohort.folder)
    judged = parents[0].folder.validation_scores.read_text().splitlines()[1:]
    assert len(judged) == sum(h.split != "holdout" for h in toy_cohort.table)
    assert parents[0].folder.read_holdout()["metrics"]["replica_sd"] > 0
