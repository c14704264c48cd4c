import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tissueclock.cohort.manifest import Patient
from tissueclock.cohort.split import split_patients
from tissueclock.cohort.table import Hemisphere, make_table, read_table, write_table
from tissueclock.errors import CohortError


def test_a_lesion_is_on_its_own_side_only_and_the_onset_on_both() -> None:
    patient = Patient("p", 90.0, "right", readers={}, extra={})
    assert make_table([patient], {"p": "train"}) == (
        Hemisphere("p", "left", lesion=False, onset_to_mri_min=90.0, split="train"),
        Hemisphere("p", "right", lesion=True, onset_to_mri_min=90.0, split="train"),
    )


def test_what_is_written_is_read_back_equal(tmp_path: Path, patients: list[Patient]) -> None:
    table = make_table(patients, split_patients(patients, seed=1))
    write_table(tmp_path / "hemispheres.tsv", table)
    assert read_table(tmp_path / "hemispheres.tsv") == table


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p\tup\t1\t90\ttrain", "row 2 (p): side is 'up'; allowed: left, right"),
        ("p\tleft\t2\t90\ttrain", "row 2 (p): lesion is '2'; allowed: 0, 1"),
        ("p\tleft\t1\t-9\ttrain", "row 2 (p): onset_to_mri_min is -9; allowed"),
        ("p\tleft\t1\t90\ttest", "row 2 (p): split is 'test'; allowed: train, validation, holdout"),
    ],
)
def test_a_bad_row_is_named(write_tsv: Callable[..., Path], row: str, message: str) -> None:
    with pytest.raises(CohortError, match=re.escape(message)):
        read_table(write_tsv("patient\tside\tlesion\tonset_to_mri_min\tsplit", row))
