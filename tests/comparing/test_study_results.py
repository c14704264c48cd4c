"""A study folder read to records: the right patients, the right pairs, gaps named, observer and readers beside."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tissueclock.comparing.observers import OBSERVER, read_observer
from tissueclock.comparing.results import ComparedQuestion
from tissueclock.comparing.study_results import read_results
from tissueclock.errors import InputError
from tissueclock.storage.folders import StudyFolder

LATE = ComparedQuestion("onset < 4.5 h", "patient", 270.0)


def test_sweeps_stand_by_task_and_shared_ones_once(study):
    assert [question.name for question in study.questions] == ["stroke detection", "onset < 3 h", "onset < 4.5 h"]
    assert [sweep.label for sweep in study.of_question(LATE)] == [
        "chain · tss_4h5",
        "chain · attention",
        "scratch · tss_4h5",
    ]
    assert study.sweeps[0].arms == ("chain", "scratch")
    assert study.gaps == ()


def test_holdout_scores_are_those_of_the_holdout(study, phantom_cohort):
    patients = {row.patient for row in phantom_cohort.table if row.split == "holdout"}
    for sweep in study.sweeps:
        scores = sweep.holdout.scores
        assert set(scores.patients) == patients
        assert len(scores.units) == (2 if sweep.phase == "detection" else 1) * len(patients)
        assert sweep.holdout.auc.auc == pytest.approx(roc_auc_score(scores.labels, scores.logits))
        assert sweep.holdout.auc.interval.low < sweep.holdout.bootstrap.high


def test_the_observer_is_scored_on_the_same_patients(study, phantom_cohort):
    sweep = study.of_question(LATE)[0]
    observer = read_observer(phantom_cohort.folder)["observer_4h5"]
    onset = {patient.participant_id: patient.onset_to_mri_min for patient in phantom_cohort.patients}
    patients = [row.patient for row in phantom_cohort.table if row.split == "holdout" and row.side == "left"]
    expected = roc_auc_score([onset[p] < 270 for p in patients], [observer[p] for p in patients])
    assert sweep.observer.column == "observer_4h5"
    assert sweep.observer.auc.auc == pytest.approx(expected)
    assert sweep.observer.network_auc.auc == pytest.approx(sweep.holdout.auc.auc)
    assert sweep.observer.difference.difference == pytest.approx(sweep.holdout.auc.auc - expected)
    assert study.of_question(ComparedQuestion("onset < 3 h", "patient", 180.0))[0].observer.column == "observer_3h"
    assert study.sweeps[0].observer is None


def test_readers_answer_the_question_that_a_mismatch_answers(study, phantom_cohort):
    assert list(study.readers) == [LATE]
    holdout = {row.patient for row in phantom_cohort.table if row.split == "holdout"}
    truth = [
        (p.onset_to_mri_min < 270, p.readers["reader_2"])
        for p in phantom_cohort.patients
        if p.participant_id in holdout
    ]
    reader = study.readers[LATE][1]
    assert reader.name == "reader_2"
    assert reader.confusion.sensitivity.n_hits == sum(late and call for late, call in truth)
    assert reader.confusion.specificity.n_hits == sum(not late and not call for late, call in truth)
    assert reader.confusion.accuracy.n == len(truth)


def test_tests_pair_arms_within_a_phase_and_phases_within_an_arm(study):
    pairs = [(test.first, test.second) for test in study.tests if test.second != OBSERVER]
    assert pairs == [
        ("chain · tss_3h", "scratch · tss_3h"),
        ("chain · tss_4h5", "chain · attention"),
        ("chain · tss_4h5", "scratch · tss_4h5"),
    ]
    assert all(-1 < test.difference.difference < 1 and test.n == 48 for test in study.tests)


def test_a_network_that_has_seen_the_answer_leaks(finished):
    onsets = {patient.participant_id: -patient.onset_to_mri_min for patient in finished.cohort.patients}
    finished.write_holdout("tss_3h-44bb44bb", 1, scores=onsets)
    study = read_results(finished.folder)
    leaking = [sweep.name for sweep in study.sweeps if sweep.observer and sweep.observer.leaks]
    assert leaking == ["tss_3h-44bb44bb"]


def test_trials_are_counted_as_the_ledger_says(study):
    ledger = study.sweeps[1].ledger
    assert [len(ledger.with_status(status)) for status in ("finished", "pruned", "failed", None)] == [7, 4, 1, 0]
    assert study.sweeps[1].best.value == ledger.best().best_value


def test_a_study_run_in_part_has_gaps_and_no_crash(maker):
    maker.write_graph()
    maker.write_sweep("detection-00aa00aa")
    maker.write_holdout("detection-00aa00aa", 1)
    maker.write_sweep("tss_3h-11aa11aa")
    with maker.open_ledger("tss_4h5-22aa22aa") as writer:
        writer.append("asked", trial="t0001", hyperparameters={"lr": 0.1}, seed=1)
    study = read_results(maker.folder)
    assert [sweep.state for sweep in study.sweeps] == [
        "complete",
        "complete",
        "not started",
        "incomplete",
        *["not started"] * 2,
    ]
    for gap in (
        "sweep detection-00aa00aa: promoted checkpoint 2 has not been scored on the holdout",
        "sweep tss_3h-11aa11aa: promoted checkpoint 1 has not been scored on the holdout",
        "sweep tss_3h-44bb44bb has not been started",
        "sweep tss_4h5-22aa22aa is not complete: 1 trials have not ended",
    ):
        assert gap in study.gaps


def test_before_scoring_a_question_is_what_its_phases_promise(maker):
    maker.write_graph()
    study = read_results(maker.folder)
    assert study.questions == (
        ComparedQuestion("stroke detection", "hemisphere"),
        ComparedQuestion("onset < 3 h", "patient", 180.0),
        LATE,
    )
    assert {sweep.phase for sweep in study.of_question(LATE)} == {"tss_4h5", "attention"}


def test_scoring_changes_no_question(maker, study):
    maker.write_graph()
    assert [sweep.question for sweep in read_results(maker.folder).sweeps] == [s.question for s in study.sweeps]


def test_a_cut_asked_of_hemispheres_is_another_question_than_the_same_asked_of_patients(maker):
    maker.write_graph()
    graph = json.loads(maker.folder.graph.read_text())
    graph["sweeps"]["attention-33aa33aa"]["unit"] = "hemisphere"
    maker.folder.graph.write_text(json.dumps(graph))
    names = [question.name for question in read_results(maker.folder).questions]
    assert names[2:] == ["onset < 4.5 h", "onset < 4.5 h, each hemisphere"]


def test_a_graph_of_0_1_is_told_by_phases_until_scores_say_the_question(maker):
    maker.as_in_0_1 = True
    maker.write_graph()
    names = [question.name for question in read_results(maker.folder).questions]
    assert names == ["detection", "tss 3h", "tss 4h5", "attention"]
    for name in ("detection-00aa00aa", "tss_3h-11aa11aa"):
        maker.write_sweep(name)
        maker.write_holdout(name, 1)
    study = read_results(maker.folder)
    assert [question.name for question in study.questions] == ["detection", "onset < 3 h", "tss 4h5", "attention"]
    assert len(study.of_question(ComparedQuestion("onset < 3 h", "patient", 180.0))) == 2  # one of them not scored yet


def test_a_study_that_has_only_been_planned_is_all_gaps(maker):
    maker.write_graph()
    study = read_results(maker.folder)
    assert len(study.gaps) == len(study.sweeps) == 6
    assert study.tests == ()


def test_why_a_sweep_failed_is_told(finished):
    graph = json.loads(finished.folder.graph.read_text())
    graph["sweeps"]["attention-33aa33aa"] |= {"state": "failed", "error": "none of 8 trials left a checkpoint"}
    finished.folder.graph.write_text(json.dumps(graph))
    assert "sweep attention-33aa33aa: none of 8 trials left a checkpoint" in read_results(finished.folder).gaps


def test_patients_of_a_hospital_have_readers_and_no_observer(hospital):
    hospital.write_all()
    study = read_results(hospital.folder)
    assert all(sweep.observer is None for sweep in study.sweeps)
    assert study.cohort is not None
    assert not study.cohort.is_phantom
    assert [reader.name for reader in study.readers[LATE]] == ["reader_1", "reader_2", "reader_3", "majority"]


def test_another_cohort_in_the_folder_is_not_believed(finished, hospital_cohort):
    finished.cohort = hospital_cohort
    finished.write_graph()
    study = read_results(finished.folder)
    assert study.cohort is None
    assert dict(study.readers) == {}
    assert "another cohort now than detection-00aa00aa" in study.gaps[0]
    assert all(sweep.holdout for sweep in study.sweeps)


def test_a_cohort_that_is_gone_is_a_gap(finished, tmp_path):
    graph = finished.folder.graph.read_text().replace(str(finished.cohort.folder), str(tmp_path / "gone"))
    finished.folder.graph.write_text(graph)
    study = read_results(finished.folder)
    assert "no such file" in study.gaps[0]
    assert study.sweeps[0].holdout is not None


def test_a_patient_whom_the_observer_did_not_score_is_left_out_of_both(finished, monkeypatch):
    full = read_observer(finished.cohort.folder)
    missing = next(row.patient for row in finished.cohort.table if row.split == "holdout")
    partial = {column: {p: s for p, s in by.items() if p != missing} for column, by in full.items()}
    monkeypatch.setattr("tissueclock.comparing.study_results.read_observer", lambda folder: partial)
    study = read_results(finished.folder)
    sweep = study.of_question(LATE)[0]
    assert sweep.observer is not None
    assert sweep.observer.n_missing == 1
    assert missing not in sweep.observer.scores.patients
    assert f"sweep {sweep.name}: 1 holdout patients have no observer_4h5" in study.gaps


def test_a_damaged_observer_is_named(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "observer.tsv").write_text("patient\tobserver_3h\tobserver_4h5\nsub-1\tn/a\thigh\n")
    with pytest.raises(InputError, match=r"row 2: observer_4h5 is 'high'; a finite number or n/a is allowed"):
        read_observer(tmp_path)


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"graph\.json: no such file"):
        read_results(StudyFolder(tmp_path))


def test_reading_twice_gives_the_same_bootstrap(finished):
    one, two = (read_results(finished.folder).sweeps[1].holdout for _ in range(2))
    assert one.bootstrap == two.bootstrap
    assert np.array_equal(one.scores.logits, two.scores.logits)
