"""The best epoch's weights are promoted, with the chain of digests back to the first."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sweeping.specs import SPEC
from tissueclock.errors import CheckpointError, SweepError
from tissueclock.records import Parent, SweepJob
from tissueclock.storage.files import digest_file
from tissueclock.storage.folders import PromotedFolder, SweepFolder
from tissueclock.storage.ledger import LedgerWriter, read_ledger
from tissueclock.sweeping.promotion import (
    confirmations_to_ask,
    promote,
    promotion_fault,
    read_parents,
    settle_trial,
)

LINEAGE: dict[str, Any] = {"cohort": "c", "split": "s", "seed": 3, "code": {"version": "0"}}


def job(path: Path, parents: tuple[Parent, ...] = ()) -> SweepJob:
    return SweepJob(spec=SPEC, folder=SweepFolder(path), parents=parents, study="s", inputs="i", lineage=LINEAGE)


def write_checkpoint(folder: SweepFolder, trial: str, epoch: int, *, best: str) -> None:
    """A checkpoint's files as far as promotion looks at them."""
    checkpoint = folder.trial(trial).checkpoint(epoch)
    checkpoint.path.mkdir(parents=True)
    checkpoint.best.write_text(best)
    checkpoint.facts.write_text(json.dumps({"network": {"kind": "slice"}, "seed": 1, "inputs": "i"}))


def report(
    writer: LedgerWriter, trial: str, values: list[float], *, confirms: str | None = None, **hyperparameters: Any
) -> None:
    whom = {"confirms": confirms} if confirms else {}
    writer.append("asked", trial=trial, **whom, hyperparameters=hyperparameters, seed=1)
    best_epoch = values.index(max(values)) + 1
    for epoch, value in enumerate(values, start=1):
        metrics = {"epoch": epoch, "val_auc": value, "val_loss": 1 - value, "threshold": 0.1 * epoch}
        metrics |= {"best_value": max(values[:epoch]), "best_epoch": min(epoch, best_epoch)}
        writer.append("reported", trial=trial, epoch=epoch, metrics=metrics)
    writer.append("ended", trial=trial, status="finished")


def run_sweep(path: Path, parents: tuple[Parent, ...] = (), **hyperparameters: Any) -> list[PromotedFolder]:
    made = job(path, parents)
    with LedgerWriter(made.folder.ledger) as writer:
        for trial, values in (("t0001", [0.6, 0.9, 0.7]), ("t0002", [0.8, 0.8, 0.8]), ("t0003", [0.5, 0.5, 0.95])):
            report(writer, trial, values, **hyperparameters)
            write_checkpoint(made.folder, trial, 3, best=f"{path.name} {trial}")
            settle_trial(made.folder.trial(trial))
        return promote(made, writer)


def test_the_k_best_are_promoted_by_their_best_epoch(tmp_path: Path) -> None:
    promoted = run_sweep(tmp_path / "one")

    assert [folder.read_trial()["trial"] for folder in promoted] == ["t0003", "t0001"]
    assert promoted[1].weights.read_text() == "one t0001"
    second = promoted[1].read_trial()
    assert (second["epoch"], second["metrics"]["val_auc"], second["metrics"]["threshold"]) == (2, 0.9, 0.2)


def test_what_fresh_seeds_reach_decides_before_what_the_search_found(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    run_sweep(folder)
    budget = SPEC.budget.model_copy(update={"confirm": 2, "confirm_seeds": 2})
    with LedgerWriter(job(folder).folder.ledger) as writer:
        asked = confirmations_to_ask(writer.state, budget)
        assert [(name, trial.name) for name, trial in asked] == [
            ("t0003c1", "t0003"),
            ("t0003c2", "t0003"),
            ("t0001c1", "t0001"),
            ("t0001c2", "t0001"),
        ]
        for name, value in (("t0003c1", 0.6), ("t0003c2", 0.7), ("t0001c1", 0.68)):
            report(writer, name, [value], confirms=name[:5])
        writer.append("asked", trial="t0001c2", confirms="t0001", hyperparameters={}, seed=1)
        writer.append("ended", trial="t0001c2", status="failed", error="boom")
        writer.append("reopened")
        assert confirmations_to_ask(writer.state, budget) == []
        assert len(writer.state.trials) == 3, "the search knows nothing of them"

        promoted = promote(job(folder), writer)

    assert [each.read_trial()["trial"] for each in promoted] == ["t0001", "t0003"]
    assert [each.read_trial()["confirmed"]["values"] for each in promoted] == [[0.68], [0.6, 0.7]]
    assert promoted[1].read_trial()["metrics"]["val_auc"] == 0.95, "metrics are of the weights that are promoted"
    assert promoted[1].weights.read_text() == "one t0003"


def test_a_settled_trial_keeps_its_best_weights_alone(tmp_path: Path) -> None:
    run_sweep(tmp_path / "one")

    assert [path.name for path in (tmp_path / "one" / "trials" / "t0001").iterdir()] == ["best"]


def test_a_checkpoint_torn_while_it_was_written_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    made = job(tmp_path)
    write_checkpoint(made.folder, "t0001", 3, best="whole")
    torn = made.folder.trial("t0001").checkpoint(4)
    torn.path.mkdir()
    torn.best.write_text("torn")  # its facts, which are written last, are missing

    settle_trial(made.folder.trial("t0001"))

    assert made.folder.trial("t0001").best.weights.read_text() == "whole"
    assert not torn.path.exists()


def test_the_chain_of_digests_leads_back_to_the_first_phase(tmp_path: Path) -> None:
    first = run_sweep(tmp_path / "one")
    second = run_sweep(tmp_path / "two", read_parents(SweepFolder(tmp_path / "one")), parent=2)
    third = run_sweep(tmp_path / "three", read_parents(SweepFolder(tmp_path / "two")))

    lineage = third[0].read_trial()["lineage"]
    assert lineage["chain"] == [digest_file(folder.weights) for folder in (first[1], second[0])]
    assert lineage["parent"]["digest"] == lineage["chain"][-1]


def test_promoting_again_changes_nothing(tmp_path: Path) -> None:
    run_sweep(tmp_path / "one")
    made = job(tmp_path / "one")
    with LedgerWriter(made.folder.ledger) as writer:
        n_lines = writer.state.n_lines
        promote(made, writer)

        assert writer.state.n_lines == n_lines


def test_a_parent_whose_weights_were_changed_is_refused(tmp_path: Path) -> None:
    promoted = run_sweep(tmp_path / "one")
    promoted[0].weights.write_text("something else")

    with pytest.raises(CheckpointError, match=r"promoted/1/weights\.safetensors: digest is .*trial\.json says"):
        read_parents(SweepFolder(tmp_path / "one"))


@pytest.mark.parametrize(("change", "found"), [({"seed": 2}, "seed is 2"), ({"inputs": "theirs"}, "inputs is theirs")])
def test_weights_that_another_trial_learned_are_not_promoted(
    tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    made = job(tmp_path)
    with LedgerWriter(made.folder.ledger) as writer:
        report(writer, "t0001", [0.6])
        write_checkpoint(made.folder, "t0001", 1, best="theirs")
        facts = made.folder.trial("t0001").checkpoint(1).facts
        facts.write_text(json.dumps({**json.loads(facts.read_text()), **change}))
        settle_trial(made.folder.trial("t0001"))

        with pytest.raises(SweepError, match=f"{found}, but the ledger says"):
            promote(made, writer)


def test_a_sweep_without_any_weights_says_why(tmp_path: Path) -> None:
    made = job(tmp_path / "one")
    with LedgerWriter(made.folder.ledger) as writer:
        writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
        writer.append("ended", trial="t0001", status="failed", error="RuntimeError: no")

        with pytest.raises(SweepError, match="none of 1 trials left a checkpoint; RuntimeError: no"):
            promote(made, writer)


def score(folder: PromotedFolder) -> None:
    """Holdout scores, as far as promotion looks at them."""
    folder.holdout_scores.write_text("unit")
    facts = {"schema": 1, "phase": "p", "unit": "patient", "metrics": {}}
    folder.holdout.write_text(json.dumps({**facts, "scores_digest": hashlib.sha256(b"unit").hexdigest()}))


def scored_sweep(path: Path) -> SweepJob:
    for folder in run_sweep(path):
        score(folder)
    return job(path)


def fault(made: SweepJob) -> str | None:
    return promotion_fault(made, read_ledger(made.folder.ledger))


def flip(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: folder.weights.unlink(), r"weights\.safetensors: no such file"),
        (lambda folder: folder.weights.write_bytes(b""), r"weights\.safetensors: digest is"),
        (lambda folder: flip(folder.weights), r"weights\.safetensors: digest is"),
        (lambda folder: folder.trial.unlink(), r"trial\.json: no such file"),
        (lambda folder: folder.trial.write_text("{"), r"trial\.json: cannot be read as JSON"),
        (lambda folder: shutil.rmtree(folder.path), r"weights\.safetensors: no such file"),
    ],
    ids=["deleted", "emptied", "flipped", "trial.json deleted", "trial.json torn", "folder deleted"],
)
def test_a_promoted_checkpoint_that_is_damaged_is_told_and_put_back_from_its_trial(
    tmp_path: Path, change: Callable[[PromotedFolder], object], said: str
) -> None:
    made = scored_sweep(tmp_path)
    whole = made.folder.promoted(1).weights.read_bytes()
    assert fault(made) is None
    change(made.folder.promoted(1))
    assert re.search(said, fault(made) or "")

    with LedgerWriter(made.folder.ledger) as writer:
        for folder in promote(made, writer):
            if not folder.holdout.exists():
                score(folder)

    assert fault(made) is None
    assert made.folder.promoted(1).weights.read_bytes() == whole


def test_holdout_scores_that_were_altered_are_told_and_scored_again(tmp_path: Path) -> None:
    made = scored_sweep(tmp_path)
    flip(made.folder.promoted(1).holdout_scores)
    assert re.search(r"holdout\.tsv: digest is", fault(made) or "")
    with pytest.raises(CheckpointError, match=r"holdout\.tsv: digest is"):
        made.folder.promoted(1).read_holdout()

    with LedgerWriter(made.folder.ledger) as writer:
        promote(made, writer)

    assert not made.folder.promoted(1).holdout.exists()
    assert made.folder.promoted(2).holdout.exists()


def test_a_complete_sweep_whose_trials_were_deleted_stays_complete(tmp_path: Path) -> None:
    made = scored_sweep(tmp_path)
    shutil.rmtree(made.folder.trial("t0001").path.parent)
    assert fault(made) is None
    with LedgerWriter(made.folder.ledger) as writer:
        assert [folder.read_trial()["trial"] for folder in promote(made, writer)] == ["t0003", "t0001"]


def test_weights_that_are_damaged_everywhere_are_refused_with_what_to_do(tmp_path: Path) -> None:
    made = scored_sweep(tmp_path)
    best = made.folder.trial("t0003").best
    best.facts.write_text(json.dumps({**json.loads(best.facts.read_text()), "digests": {"best.safetensors": "0" * 64}}))
    made.folder.promoted(1).weights.unlink()
    with LedgerWriter(made.folder.ledger) as writer, pytest.raises(CheckpointError, match=r"delete .*t0003"):
        promote(made, writer)


def test_fewer_asked_for_are_fewer_parents_and_more_are_more(tmp_path: Path) -> None:
    made = scored_sweep(tmp_path)
    for wanted in (1, 3, 2):
        budget = made.spec.budget.model_copy(update={"promote": wanted})
        changed = replace(made, spec=replace(made.spec, budget=budget))
        assert fault(changed) == f"{len(read_parents(made.folder))} promoted, {wanted} asked for"
        with LedgerWriter(made.folder.ledger) as writer:
            writer.append("reopened")
            for folder in promote(changed, writer):
                score(folder)
        assert fault(changed) is None
        assert [parent.rank for parent in read_parents(made.folder)] == list(range(1, wanted + 1))


def test_an_arm_that_came_to_share_a_sweep_is_named_by_its_checkpoints(tmp_path: Path) -> None:
    made = scored_sweep(tmp_path)
    shared = replace(made, spec=replace(made.spec, arms=("first", "second")))
    with LedgerWriter(made.folder.ledger) as writer:
        writer.append("shared", arms=["first", "second"])
        (best, _) = promote(shared, writer)
    assert best.read_trial()["arms"] == ["first", "second"]
    assert read_ledger(made.folder.ledger).facts["arms"] == ["first", "second"]


def test_the_best_of_a_trial_that_went_on_gives_way_to_a_later_one(tmp_path: Path) -> None:
    made = job(tmp_path)
    for epoch, best in ((3, "first"), (5, "later")):
        write_checkpoint(made.folder, "t0001", epoch, best=best)
        settle_trial(made.folder.trial("t0001"))
        assert made.folder.trial("t0001").best.weights.read_text() == best
