import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tissueclock.cohort.manifest import Patient, read_manifest, write_manifest
from tissueclock.errors import CohortError

HEADER = "participant_id\tonset_to_mri_min\tlesion_side\treader_1\tage"
GOOD = "sub-01\t222.5\tleft\tyes\t70"


def test_a_good_manifest_is_read_with_readers_and_other_columns(write_tsv: Callable[..., Path]) -> None:
    path = write_tsv("\ufeff" + HEADER, GOOD, "sub-02\tn/a\tnone\tn/a\tn/a", "")
    assert read_manifest(path) == (
        Patient("sub-01", 222.5, "left", readers={"reader_1": True}, extra={"age": "70"}),
        Patient("sub-02", None, "none", readers={"reader_1": None}, extra={"age": "n/a"}),
    )


def test_unknown_is_a_value_of_onset_and_of_side(write_tsv: Callable[..., Path]) -> None:
    path = write_tsv(HEADER, GOOD, "sub-02\tn/a\tright\tyes\t1", "sub-03\tn/a\tn/a\tn/a\t1", "sub-04\t90\tn/a\tn/a\t1")
    assert [(p.onset_to_mri_min, p.lesion_side, p.is_scored) for p in read_manifest(path)] == [
        (222.5, "left", True),
        (None, "right", False),
        (None, None, False),
        (90.0, None, False),
    ]
    write_manifest(again := path.with_name("again.tsv"), read_manifest(path))
    assert read_manifest(again) == read_manifest(path)


@pytest.mark.parametrize(
    ("last_seen", "message"),
    [("100", "onset_to_mri_min is 222.5 but last_seen_well_min is 100"), ("soon", "last_seen_well_min is 'soon'")],
)
def test_when_a_patient_was_last_seen_well_is_checked(
    write_tsv: Callable[..., Path], last_seen: str, message: str
) -> None:
    with pytest.raises(CohortError, match=f"row 2 .sub-01.: {message}"):
        read_manifest(write_tsv(HEADER + "\tlast_seen_well_min", f"{GOOD}\t{last_seen}"))


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    patients = tuple(
        Patient(f"p{i}", 0.1 + i / 3, "both", readers={"reader_1": i % 2 == 0}, extra={"field": "3T"}) for i in range(4)
    )
    write_manifest(tmp_path / "participants.tsv", patients)
    assert read_manifest(tmp_path / "participants.tsv", onset_unit="minutes") == patients


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "sub-02\tNaN\tleft\tyes\t1",
            "row 3 (sub-02): onset_to_mri_min is NaN; allowed: minutes above 0",
        ),
        ("sub-02\t-5\tleft\tyes\t1", "row 3 (sub-02): onset_to_mri_min is -5; allowed"),
        ("sub-02\t0\tleft\tyes\t1", "row 3 (sub-02): onset_to_mri_min is 0; allowed"),
        ("sub-02\tinf\tleft\tyes\t1", "row 3 (sub-02): onset_to_mri_min is inf; allowed"),
        ("sub-02\t1e7\tleft\tyes\t1", "row 3 (sub-02): onset_to_mri_min is 1e7; allowed"),
        ("sub-02\tthree\tleft\tyes\t1", "row 3 (sub-02): onset_to_mri_min is 'three'; allowed"),
        (
            "sub-02\t100\tmiddle\tyes\t1",
            "row 3 (sub-02): lesion_side is 'middle'; allowed: left, right, both, none or n/a",
        ),
        ("sub-02\t100\tleft\tmaybe\t1", "row 3 (sub-02): reader_1 is 'maybe'; allowed: yes, no, n/a"),
        ("sub-01\t100\tleft\tyes\t1", "row 3 (sub-01): participant_id sub-01 is already in row 2"),
        ("01\t100\tleft\tyes\t1", "row 3 (01): participant_id 01 is already in row 2 as sub-01; each"),
        ("../x\t100\tleft\tyes\t1", "row 3 (../x): participant_id is '../x'; allowed: letters"),
        ("\t100\tleft\tyes\t1", "row 3 (no participant_id): participant_id is ''"),
        ("sub-02\t100\tleft", "row 3: 3 cells found; the header has 5"),
    ],
)
def test_a_bad_row_is_named_with_what_was_found_and_what_is_allowed(
    write_tsv: Callable[..., Path], row: str, message: str
) -> None:
    path = write_tsv(HEADER, GOOD, row)
    with pytest.raises(CohortError, match=re.escape(f"{path}, {message}")):
        read_manifest(path)


def test_the_first_bad_row_is_named_and_the_others_are_counted(write_tsv: Callable[..., Path]) -> None:
    path = write_tsv(HEADER, "a\t-1\tleft\tyes\t1", GOOD, "b\t-2\tleft\tyes\t1", "c\t-3\tleft\tyes\t1")
    with pytest.raises(CohortError, match=r"row 2 \(a\): .* \(and 2 more bad rows\)$"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["participant_id\tage", "a\t1"], "column onset_to_mri_min, lesion_side missing; found participant_id, age"),
        ([HEADER], "no row below the header"),
        ([], "is empty; a header with participant_id, onset_to_mri_min, lesion_side is needed"),
        ([HEADER + "\tage", GOOD + "\t1"], "column age appears more than once"),
    ],
)
def test_a_bad_table_is_named_with_what_is_wrong(
    write_tsv: Callable[..., Path], lines: list[str], message: str
) -> None:
    with pytest.raises(CohortError, match=re.escape(message)):
        read_manifest(write_tsv(*lines))


def test_a_missing_or_foreign_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"none.tsv: no such file"):
        read_manifest(tmp_path / "none.tsv")
    (tmp_path / "image.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match=r"image.tsv: not UTF-8 text"):
        read_manifest(tmp_path / "image.tsv")
    with pytest.raises(CohortError, match=r"cannot be read \(Is a directory\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("onsets", "unit", "minutes"),
    [((2.5, 3.0, 4.0), "hours", (150, 180, 240)), ((9000, 10800, 14400), "seconds", (150, 180, 240))],
)
def test_onsets_that_look_like_another_unit_are_asked_about(
    write_tsv: Callable[..., Path], onsets: tuple[float, ...], unit: Any, minutes: tuple[float, ...]
) -> None:
    path = write_tsv(HEADER, *(f"{i}\t{onset}\tleft\tyes\t1" for i, onset in enumerate(onsets)))
    with pytest.raises(CohortError, match=f"the median of onset_to_mri_min is {onsets[1]:g}; .* --onset-unit minutes"):
        read_manifest(path)
    assert [patient.onset_to_mri_min for patient in read_manifest(path, onset_unit=unit)] == pytest.approx(minutes)
    assert [patient.onset_to_mri_min for patient in read_manifest(path, onset_unit="minutes")] == list(onsets)
