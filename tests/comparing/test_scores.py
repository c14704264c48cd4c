"""Holdout scores: read strictly, judged anew, held against what was claimed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tissueclock.comparing.holdout import judge_holdout
from tissueclock.comparing.scores import count_calls, read_scores
from tissueclock.errors import InputError
from tissueclock.storage.folders import PromotedFolder

TABLE = "unit\tpatient\tlabel\tlogit\na\tsub-1\t1\t3\nb\tsub-2\t1\t2\nc\tsub-3\t0\t1\nd\tsub-4\t0\t2\n"


def _write(folder: Path, *, table: str = TABLE, **changes: object) -> Path:
    facts = {"schema": 1, "phase": "tss_3h", "unit": "patient", "onset_before_min": 180.0, "threshold": 2.0}
    facts["metrics"] = {"auc": 0.875}
    (folder / "holdout.json").write_text(json.dumps(facts | changes))
    (folder / "holdout.tsv").write_text(table)
    return folder


def test_scores_are_judged_at_the_threshold_of_validation(tmp_path):
    result = judge_holdout(PromotedFolder(_write(tmp_path)), generator=np.random.default_rng(0))
    assert result.auc is not None
    assert result.auc.auc == 0.875
    assert result.confusion.sensitivity is not None
    assert result.confusion.specificity is not None
    assert result.confusion.accuracy is not None
    # a logit at the threshold is called positive: d wrongly, b rightly
    assert (result.confusion.sensitivity.n_hits, result.confusion.specificity.n_hits) == (2, 1)
    assert result.confusion.accuracy.value == 0.75
    assert result.bootstrap is not None
    assert 0 <= result.bootstrap.low <= 0.875 <= result.bootstrap.high <= 1
    assert result.complaints == ()


@pytest.mark.parametrize(
    ("claimed", "complaint"),
    [
        ({"auc": 0.9}, r"auc is 0.9000, but the scores beside it give 0.8750"),
        ({"specificity": 1.0}, r"specificity is 1"),
    ],
)
def test_a_claim_that_the_scores_do_not_bear_out_is_named(tmp_path, claimed, complaint):
    complaints = judge_holdout(PromotedFolder(_write(tmp_path, metrics=claimed))).complaints
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_one_class_has_rates_but_no_auc(tmp_path):
    table = "unit\tpatient\tlabel\tlogit\na\tsub-1\t1\t3\nb\tsub-2\t1\t1\n"
    result = judge_holdout(
        PromotedFolder(_write(tmp_path, table=table, metrics={})), generator=np.random.default_rng(0)
    )
    assert (result.auc, result.bootstrap, result.confusion.specificity) == (None, None, None)
    assert result.confusion.sensitivity is not None
    assert result.confusion.sensitivity.value == 0.5


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("c\tsub-3\t0\t1", "c\tsub-3\t2\t1", r"row 4 \(c\): label is '2'; allowed: 0, 1"),
        ("c\tsub-3\t0\t1", "c\tsub-3\t0\tnan", r"row 4 \(c\): logit is 'nan'; a finite number is allowed"),
        ("c\tsub-3\t0\t1", "c\tsub-3\t0\tlow", r"row 4 \(c\): logit is 'low'"),
        ("c\tsub-3", "a\tsub-3", r"1 units appear more than once"),
        ("logit", "score", r"column logit missing"),
    ],
)
def test_a_damaged_table_is_named_by_row_and_value(tmp_path, before, after, message):
    _write(tmp_path, table=TABLE.replace(before, after, 1))
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path / "holdout.tsv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no such file"),
        ("{", r"cannot be read as JSON"),
        ("[]", r"a JSON list found; an object is allowed"),
        ('{"unit": "patient"}', r"schema None found; this version reads schema 1"),
        ('{"schema": 1, "phase": "tss_3h", "unit": "patient"}', r"key metrics, threshold missing"),
    ],
)
def test_damaged_facts_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "holdout.json").write_text(text)
    with pytest.raises(InputError, match=rf"holdout.json: .*{message}"):
        judge_holdout(PromotedFolder(tmp_path))


def test_units_are_taken_in_the_order_asked(tmp_path):
    scores = read_scores(_write(tmp_path) / "holdout.tsv").take(("d", "a"))
    assert (scores.patients, scores.labels.tolist(), scores.logits.tolist()) == (
        ("sub-4", "sub-1"),
        [False, True],
        [2, 3],
    )


def test_the_papers_first_reader_is_counted_as_published():
    # 23 of 42 and 34 of 40 (SCIENCE 7): accuracy 57 of 82.
    labels = np.arange(82) < 42
    calls = np.concatenate([np.arange(42) < 23, np.arange(40) >= 34])
    confusion = count_calls(labels, calls)
    rates = (confusion.sensitivity, confusion.specificity, confusion.accuracy)
    assert [(rate.n_hits, rate.n) for rate in rates if rate] == [(23, 42), (34, 40), (57, 82)]
