"""Outside validation: figures are those of the scores, and of other patients than the model's own."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.e2e.wrong_places import scored_folder
from tests.toy import write_toy_cohort
from tissueclock.answering.evaluating import evaluate, write_evaluation
from tissueclock.answering.model import model_of_checkpoint
from tissueclock.cohort.store import Cohort
from tissueclock.storage.folders import PromotedFolder
from tissueclock.storage.tsv import read_rows


def test_figures_are_those_of_the_scores_and_the_change_is_from_the_own_holdout(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    promoted = PromotedFolder(scored_folder(tmp_path / "promoted", toy_cohort))
    others = write_toy_cohort(tmp_path / "others", n_patients=40, seed=6)

    (found,) = evaluate(model_of_checkpoint(promoted), others, ids_are_others=True)
    write_evaluation(tmp_path, [found])

    cells = [row.cells for row in read_rows(tmp_path / "scores-detection.tsv", required=("label", "logit"))]
    labels, logits = (np.array([float(row[name]) for row in cells]) for name in ("label", "logit"))
    assert len(cells) == len(others.table)
    assert labels.tolist() == [float(bool(half.lesion)) for half in others.table]
    assert found.auc.auc == pytest.approx(roc_auc_score(labels, logits))
    own = promoted.read_holdout()["metrics"]["auc"]
    assert found.change is not None
    assert found.change[0] == pytest.approx(found.auc.auc - own, abs=1e-6)
    assert found.change[1].low < found.change[0] < found.change[1].high
