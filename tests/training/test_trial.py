"""Trials: begun by hand, driven through Tune on this machine, and with a Tuner of one's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from ray import tune

from tests.sweeping.specs import vary
from tissueclock.catalog import load_phase
from tissueclock.cohort.store import Cohort
from tissueclock.errors import CohortError, SweepError
from tissueclock.learning.course import ForeignCheckpointError
from tissueclock.networks.settings import VolumeSettings
from tissueclock.records import Parent, SweepJob
from tissueclock.settings import SchedulerSettings
from tissueclock.storage.folders import SweepFolder
from tissueclock.storage.ledger import LedgerWriter, read_ledger
from tissueclock.sweeping.promotion import confirmations_to_ask, read_parents
from tissueclock.sweeping.sweep import is_complete, run_sweep
from tissueclock.training.prediction import load_promoted
from tissueclock.training.trial import Trial
from tissueclock.training.tunable import PhaseTrainable
from tissueclock.weights.tensors import read_tensors
from trainables.attention import Attention
from trainables.detection import Detection
from trainables.tss_3h import Tss3h

LINEAGE = {"cohort": "c", "split": "s", "seed": 3, "code": {}}


def make_job(cohort: Cohort, folder: Path, *, parents: tuple[Parent, ...] = (), **changes: Any) -> SweepJob:
    spec = vary(cohort=cohort.folder, cohort_digest=cohort.digest, **changes)
    return SweepJob(spec=spec, folder=SweepFolder(folder), parents=parents, study="s", inputs="i", lineage=LINEAGE)


def config(**hyperparameters: Any) -> dict[str, Any]:
    return {"hyperparameters": {"batch_size": 16, **hyperparameters}, "seed": 11}


def begin(kind: type[PhaseTrainable], job: SweepJob, settings: Mapping[str, Any], *, name: str = "t0001") -> Trial:
    """A trial begun without Tune."""
    trial = Trial(kind.phase, job)
    trial.begin(name, settings)
    return trial


def losses(trial: Trial, n: int) -> list[float]:
    return [trial.step()["metrics"]["val_loss"] for _ in range(n)]


def test_a_phase_that_was_edited_while_its_sweep_runs_is_not_trained(toy_cohort: Cohort, tmp_path: Path) -> None:
    named = replace(make_job(toy_cohort, tmp_path / "detection-1"), phase=Detection.as_facts())
    edited = replace(named, phase={**Detection.as_facts(), "code": {"trainables.detection": "another"}})
    assert Detection.for_job(named).as_facts() == Detection.as_facts(), "Tune derives a class of its own"
    message = "sweep detection-1: phase detection was edited meanwhile; run the same command again"
    with pytest.raises(SweepError, match=message):
        Detection.for_job(edited)
    with pytest.raises(SweepError, match=message):
        Detection.__new__(Detection).setup(config(), edited)


def test_a_trial_taken_up_by_another_actor_goes_on_as_if_never_interrupted(toy_cohort: Cohort, tmp_path: Path) -> None:
    whole = losses(begin(Detection, make_job(toy_cohort, tmp_path / "whole"), config()), 4)

    job = make_job(toy_cohort, tmp_path / "cut")
    first = losses(begin(Detection, job, config()), 2)
    again, *rest = losses(begin(Detection, job, config()), 3)

    assert again == first[-1], "the last report may have been lost, so it is made again"
    assert [*first, *rest] == whole


def test_an_actor_used_again_trains_like_a_new_one(toy_cohort: Cohort, tmp_path: Path) -> None:
    fresh = losses(begin(Detection, make_job(toy_cohort, tmp_path / "fresh"), config(lr=0.003)), 2)

    trial = begin(Detection, make_job(toy_cohort, tmp_path / "used"), config())
    trial.step()
    trial.begin("t0002", config(lr=0.003))

    assert losses(trial, 2) == fresh


def test_a_torn_checkpoint_is_passed_over_for_the_one_before(toy_cohort: Cohort, tmp_path: Path) -> None:
    job = make_job(toy_cohort, tmp_path)
    expected = losses(begin(Detection, job, config()), 3)
    weights = job.folder.trial("t0001").checkpoint(3).weights
    weights.write_bytes(weights.read_bytes()[:-10])

    assert losses(begin(Detection, job, config()), 2) == expected[1:]


@pytest.mark.parametrize("change", [{"inputs": "others"}, {"seed": 12}])
def test_a_checkpoint_of_another_trial_is_never_gone_on_from(
    toy_cohort: Cohort, tmp_path: Path, change: dict[str, Any]
) -> None:
    job = make_job(toy_cohort, tmp_path)
    losses(begin(Detection, job, config()), 1)
    other = replace(job, inputs=change.get("inputs", job.inputs))

    with pytest.raises(ForeignCheckpointError, match="it is another's"):
        begin(Detection, other, {**config(), "seed": change.get("seed", 11)})


def test_a_trial_of_other_inputs_is_not_begun(toy_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="was handed a trial of inputs others"):
        begin(Detection, make_job(toy_cohort, tmp_path), {**config(), "inputs": "others"})


def test_a_cohort_that_changed_since_the_plan_is_refused(toy_cohort: Cohort, tmp_path: Path) -> None:
    job = make_job(toy_cohort, tmp_path)

    with pytest.raises(CohortError, match="the cohort was changed since the study was planned"):
        begin(Detection, replace(job, spec=vary(job.spec, cohort_digest="another")), config())


@pytest.mark.parametrize("phase", [Detection, Tss3h, Attention])
def test_each_phase_trains_the_volume_network(toy_cohort: Cohort, tmp_path: Path, phase: Any) -> None:
    job = make_job(toy_cohort, tmp_path, network=VolumeSettings(width=4))

    first, second = losses(begin(phase, job, config()), 2)

    assert first != second


@pytest.fixture(scope="module")
def chain(ray_here: None, toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SweepJob]:
    """Detection, both onset phases and attention, each swept by Tune from the last one's promoted checkpoints."""
    folder = tmp_path_factory.mktemp("chain")
    jobs: dict[str, SweepJob] = {}
    parents: tuple[Parent, ...] = ()
    for name in ("detection", "tss_3h", "tss_4h5", "attention"):
        weights = {"weights": "previous", "upstream": "x"} if parents else {}
        job = make_job(
            toy_cohort,
            folder / name,
            parents=parents,
            phase=name,
            space=name,
            fix={"batch_size": 16},
            trials=2,
            epochs=2,
            promote=2,
            scheduler=SchedulerSettings(name="none"),
            **weights,
        )
        run_sweep(job, load_phase(job.spec))
        jobs[name] = job
        parents = read_parents(job.folder)
    return jobs


@pytest.mark.ray
@pytest.mark.parametrize("name", ["detection", "tss_3h", "tss_4h5", "attention"])
def test_each_phase_is_swept_by_tune_promoted_and_scored_once(chain: dict[str, SweepJob], name: str) -> None:
    ledger = read_ledger(chain[name].folder.ledger)

    assert ledger.closed
    assert [trial.status for trial in ledger.trials.values()] == ["finished", "finished"]
    assert not chain[name].folder.tune.exists()
    for rank in (1, 2):
        promoted = chain[name].folder.promoted(rank)
        scores = promoted.holdout_scores.read_text().splitlines()[1:]
        facts = promoted.read_holdout()
        assert facts["n"] == len(scores)
        assert facts["unit"] == ("hemisphere" if name == "detection" else "patient")
        assert facts["threshold"] == promoted.read_trial()["metrics"]["threshold"]


@pytest.mark.ray
def test_holdout_scores_are_of_holdout_patients_and_no_others(chain: dict[str, SweepJob], toy_cohort: Cohort) -> None:
    holdout = {hemisphere.patient for hemisphere in toy_cohort.table if hemisphere.split == "holdout"}

    rows = chain["tss_3h"].folder.promoted(1).holdout_scores.read_text().splitlines()[1:]

    assert {row.split("\t")[1] for row in rows} == holdout


@pytest.mark.ray
def test_the_attention_phase_leaves_the_trunk_as_its_parent_left_it(chain: dict[str, SweepJob]) -> None:
    (child,), facts = load_promoted(chain["attention"].folder.promoted(1))
    rank = facts["lineage"]["parent"]["rank"]
    (parent,), _ = load_promoted(chain["tss_4h5"].folder.promoted(rank))

    same = [
        torch.equal(mine, theirs)
        for mine, theirs in zip(child.trunk.state_dict().values(), parent.trunk.state_dict().values(), strict=True)
    ]

    assert all(same)
    assert not torch.equal(child.gate.state_dict()["score.weight"], parent.gate.state_dict()["score.weight"])


@pytest.mark.ray
def test_the_encoder_that_genesis_restored_with_starts_detection(
    ray_here: None, toy_cohort: Cohort, tmp_path: Path
) -> None:
    few = {"network": VolumeSettings(width=4), "trials": 2, "epochs": 2, "promote": 1}
    none = SchedulerSettings(name="none")
    genesis = make_job(
        toy_cohort, tmp_path / "g", phase="genesis", space="genesis", fix={"batch_size": 8}, scheduler=none, **few
    )
    run_sweep(genesis, load_phase(genesis.spec))
    parents = read_parents(genesis.folder)
    detection = make_job(
        toy_cohort, tmp_path / "d", parents=parents, weights="previous", upstream="g", scheduler=none, **few
    )

    trial = begin(Detection, detection, config())

    theirs = read_tensors(parents[0].folder.weights)
    mine = trial.course.network.state_dict()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items() if name.startswith("trunk."))
    facts = genesis.folder.promoted(1).read_holdout()
    assert set(facts["metrics"]) == {"loss", "restored"}
    assert genesis.folder.promoted(1).read_trial()["metrics"]["val_restored"] == pytest.approx(
        read_ledger(genesis.folder.ledger).promoted[1]["value"]
    )


@pytest.mark.ray
def test_a_sweep_ends_under_asha(ray_here: None, toy_cohort: Cohort, tmp_path: Path) -> None:
    job = make_job(
        toy_cohort,
        tmp_path,
        fix={"batch_size": 16},
        trials=4,
        epochs=4,
        scheduler=SchedulerSettings(name="asha", grace_epochs=1, reduction_factor=2),
    )

    run_sweep(job, load_phase(job.spec))

    ledger = read_ledger(job.folder.ledger)
    assert ledger.closed
    assert len(ledger.with_status("finished", "pruned")) == 4
    assert len(ledger.promoted) == 2


@pytest.mark.ray
def test_a_phase_is_swept_by_hand_in_five_lines(ray_here: None, toy_cohort: Cohort, tmp_path: Path) -> None:
    job = make_job(toy_cohort, tmp_path / "trials", epochs=2)

    space = {"hyperparameters": {"lr": tune.loguniform(1e-4, 1e-2), "batch_size": 16}, "seed": 1}
    asked = tune.TuneConfig(metric="best_value", mode="max", num_samples=2)
    stored = tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0)
    best = tune.Tuner(Detection.for_job(job), param_space=space, tune_config=asked, run_config=stored).fit()

    assert best.get_best_result().metrics["epoch"] == 2


def test_the_attention_phase_needs_a_parent() -> None:
    assert Attention.phase.needs_parent


def test_weights_are_not_copied_between_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    tunable = Detection.__new__(Detection)
    monkeypatch.setattr(Detection, "trial_name", "t0001")
    own = tunable.save_checkpoint("")
    tunable.load_checkpoint(own)

    monkeypatch.setattr(Detection, "trial_name", "t0002")
    with pytest.raises(SweepError, match="trial t0002: cannot go on from t0001"):
        tunable.load_checkpoint(own)


@pytest.mark.ray
def test_a_time_budget_that_was_used_up_is_an_end(ray_here: None, toy_cohort: Cohort, tmp_path: Path) -> None:
    few: dict[str, Any] = {"trials": 500, "epochs": 2, "promote": 1, "scheduler": SchedulerSettings(name="none")}
    job = make_job(toy_cohort, tmp_path, time_budget_min=0.25, **few)
    phase = load_phase(job.spec)

    run_sweep(job, phase)

    ledger = read_ledger(job.folder.ledger)
    assert ledger.closed
    assert 0 < len(ledger.trials) < 500
    assert is_complete(job, phase)
    with LedgerWriter(job.folder.ledger) as writer:
        configured = next(iter(writer.state.trials.values())).hyperparameters
        writer.append("asked", trial="t9999", hyperparameters=configured, seed=1)
        writer.append("ended", trial="t9999", status="failed", error="boom")
        writer.append("closed")
        n_lines = writer.state.n_lines
    for retry_failed in (False, True):  # no time is left for the one that failed either
        run_sweep(job, phase, retry_failed=retry_failed)
        assert read_ledger(job.folder.ledger).n_lines == n_lines
    assert not is_complete(make_job(toy_cohort, tmp_path, time_budget_min=1.0, **few), phase), "more is asked for"


@pytest.mark.ray
def test_a_share_of_the_study_s_budget_that_was_used_up_is_an_end_until_there_is_more(
    ray_here: None, toy_cohort: Cohort, tmp_path: Path
) -> None:
    few: dict[str, Any] = {"trials": 6, "epochs": 2, "promote": 1, "scheduler": SchedulerSettings(name="none")}
    job = make_job(toy_cohort, tmp_path, study_budget_h=1e-6, **few)
    phase = load_phase(job.spec)

    run_sweep(job, phase, share_h=1e-7)

    ledger = read_ledger(job.folder.ledger)
    assert ledger.with_status("finished"), "one trial at least, so that the next phase has a parent"
    assert len(ledger.trials) < 6
    assert ledger.promoted
    assert is_complete(job, phase)
    run_sweep(job, phase, share_h=1e-7)
    assert read_ledger(job.folder.ledger).n_lines == ledger.n_lines
    more = make_job(toy_cohort, tmp_path, study_budget_h=1.0, **few)
    assert not is_complete(more, phase)
    run_sweep(more, phase, share_h=1.0)
    assert len(read_ledger(job.folder.ledger).trials) == 6


@pytest.mark.ray
def test_the_best_trials_are_confirmed_each_seed_once_also_after_an_interruption(
    ray_here: None, toy_cohort: Cohort, tmp_path: Path
) -> None:
    few: dict[str, Any] = {"trials": 3, "epochs": 2, "promote": 1, "scheduler": SchedulerSettings(name="none")}
    searched = make_job(toy_cohort, tmp_path, **few)
    phase = load_phase(searched.spec)
    run_sweep(searched, phase)
    job = make_job(toy_cohort, tmp_path, confirm=2, confirm_seeds=2, **few)  # asked for once the search has been seen
    assert not is_complete(job, phase)
    with LedgerWriter(job.folder.ledger) as writer:  # as a driver leaves it that was killed
        name, best = confirmations_to_ask(writer.state, job.spec.budget)[0]
        writer.append("asked", trial=name, confirms=best.name, hyperparameters=best.hyperparameters, seed=17)
        writer.append("started", trial=name, node="n", epoch=0)
    run_sweep(job, phase)

    ledger = read_ledger(job.folder.ledger)
    assert is_complete(job, phase)
    assert (len(ledger.trials), len(ledger.confirmations)) == (3, 4)
    assert len({trial.seed for trial in ledger.entries()}) == 7
    for again in ledger.confirmations.values():
        assert again.status == "finished"
        assert again.hyperparameters == ledger.trials[str(again.confirms)].hyperparameters
    (promoted,) = ledger.promoted.values()
    means = {name: fmean(values) for name in ledger.trials if (values := ledger.confirmed(name))}
    assert means[promoted["trial"]] == max(means.values())
    run_sweep(job, phase)
    assert read_ledger(job.folder.ledger).n_lines == ledger.n_lines

    job = make_job(toy_cohort, tmp_path, confirm=2, confirm_seeds=2, contrast=("lr",), **few)
    assert not is_complete(job, phase)
    run_sweep(job, phase)
    changed = [entry for entry in read_ledger(job.folder.ledger).confirmations.values() if entry.changed == "lr"]
    assert [entry.status for entry in changed] == ["finished"] * 2
    for entry in changed:
        partner = ledger.confirmations[entry.name.removesuffix("-lr")]
        assert (entry.seed, entry.confirms) == (partner.seed, promoted["trial"])
        assert {k for k, v in entry.hyperparameters.items() if v != partner.hyperparameters[k]} == {"lr"}
    assert is_complete(job, phase)


@pytest.mark.ray
def test_a_time_budget_too_small_for_one_epoch_says_so(ray_here: None, toy_cohort: Cohort, tmp_path: Path) -> None:
    job = make_job(toy_cohort, tmp_path, time_budget_min=0.001, trials=2, epochs=2, promote=1)
    with pytest.raises(SweepError, match=r"time_budget_min 0\.001 is too short for one epoch; give more"):
        run_sweep(job, load_phase(job.spec))
