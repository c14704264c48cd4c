"""What the report says first, how often the holdout was looked at, and which patients there are."""

import numpy as np

from tissueclock.comparing.looks import LOOKS, MANY, count_look
from tissueclock.comparing.report import write_report
from tissueclock.comparing.results import ComparedQuestion
from tissueclock.comparing.scores import Scores
from tissueclock.comparing.study_results import read_results
from tissueclock.comparing.subgroups import find_subgroups
from tissueclock.comparing.verdict import state_verdict

LATE = ComparedQuestion("onset < 4.5 h", "patient", 270.0)


def test_the_verdict_names_the_network_its_worth_the_phases_and_the_readers(study):
    worth, phases, readers = state_verdict(study)
    chosen = study.chosen(LATE)
    assert worth.startswith(f"onset < 4.5 h: validation chose {chosen.label}, which reaches a holdout AUC of ")
    assert f"{chosen.holdout.auc.auc:.3f}" in worth
    assert phases.startswith("Phased training (chain · tss_4h5) against random weights (scratch · tss_4h5): +0.")
    assert phases.endswith("after Holm: better.")
    assert "the readers' majority alone about" in readers


def test_where_onset_is_permuted_nothing_is_called_better(finished):
    generator = np.random.default_rng(0)
    for name in ("tss_4h5-22aa22aa", "attention-33aa33aa", "tss_4h5-55bb55bb"):
        noise = {patient.participant_id: float(generator.normal()) for patient in finished.cohort.patients}
        finished.write_holdout(name, 1, scores=noise)
    study = read_results(finished.folder)
    _, phases, _ = state_verdict(study)
    assert "undecided: neither a difference nor its absence (within 0.05) is shown" in phases
    assert {test.verdict for test in study.tests if test.question == LATE and test.verdict} == {"undecided"}


def test_networks_that_answer_alike_are_equivalent(finished):
    one = finished.folder.sweep("tss_4h5-22aa22aa").promoted(1).holdout_scores
    other = finished.folder.sweep("tss_4h5-55bb55bb").promoted(1).holdout_scores
    lines = [line.split("\t") for line in one.read_text().splitlines()]
    nudged = [[*cells[:3], str(float(cells[3]) + 1e-3 * i)] for i, cells in enumerate(lines[1:])]
    other.write_text("\n".join("\t".join(cells) for cells in [lines[0], *nudged]) + "\n")
    assert "equivalent within 0.2" in state_verdict(read_results(finished.folder, margin=0.2))[1]


def test_a_study_without_scores_has_no_verdict(maker):
    maker.write_graph()
    assert state_verdict(read_results(maker.folder)) == [
        "No checkpoint has been scored on the holdout yet: there is no verdict."
    ]


def test_the_tenth_look_at_a_holdout_is_told(finished):
    looks = finished.cohort.folder / LOOKS
    before = looks.read_text() if looks.exists() else None
    try:
        looks.unlink(missing_ok=True)
        split = finished.cohort.split_digest[:16]
        others = [f"{split}\t{i:016x}\tanother study" for i in range(MANY - 2)]
        looks.write_text("\n".join(["split\tlook\tstudy", *others, "0" * 16 + "\tf\tanother holdout"]) + "\n")
        seen = read_results(finished.folder)
        assert [count_look(seen, finished.folder) for _ in range(2)] == [9, 9]  # the same scores again are no look
        finished.folder.sweep("tss_3h-11aa11aa").promoted(2).holdout.unlink()  # other scores are shown now
        tenth = write_report(finished.folder).page.read_text()
        assert "This is look 10 at this holdout" in tenth
        assert "its numbers flatter by now" in tenth
    finally:
        looks.unlink()
        if before is not None:
            looks.write_text(before)


def test_kinds_of_patients_are_told_apart_and_weak_ones_are_named():
    n = 60
    patients = tuple(f"p{i}" for i in range(n))
    labels = np.arange(n) % 2 == 0
    scores = Scores(patients, patients, labels, labels + np.random.default_rng(0).normal(size=n))
    known = {
        p: {"age": "89+" if i >= 45 else str(40 + i), "site": "A" if i < 50 else "B"} for i, p in enumerate(patients)
    }
    groups = {group.name: group for group in find_subgroups(scores, known)}
    assert list(groups) == ["age, years: below 69.5", "age, years: 69.5 and more", "site: A", "site: B"]
    assert groups["age, years: below 69.5"].n == 30
    assert [group.name for group in groups.values() if group.is_weak] == ["site: B"]
