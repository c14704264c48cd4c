import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.imaging.preprocessed import write_participants, write_patient
from tissueclock.errors import ImageError
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.exclusion import Said, reason_to_exclude
from tissueclock.imaging.quality import FIGURES, Quality
from tissueclock.imaging.quality_table import judge, read_exclusions, write_quality
from tissueclock.storage.tsv import read_rows


@pytest.fixture
def folder(tmp_path: Path) -> Derivatives:
    folder = Derivatives(tmp_path / "deriv")
    write_patient(folder, "sub-01", seed=1)
    write_patient(folder, "sub-02", seed=2, figures={"brain_atlas_dice": 0.75})
    write_patient(folder, "sub-03", seed=3, figures={"brain_atlas_dice": 0.80})
    return folder


def test_every_figure_flags_beyond_its_bound_and_only_there() -> None:
    for figure in FIGURES:
        inside = {other.name: None for other in FIGURES} | {figure.name: max(min(0.0, figure.high), figure.low)}
        assert Quality(inside).flags == ()
        beyond = figure.low - 0.1 if figure.low > -1e9 else figure.high + 0.1
        (flag,) = Quality({**inside, figure.name: beyond}).flags
        assert figure.title in flag
        assert figure.allowed in flag
        (flag,) = Quality({**inside, figure.name: float("nan")}).flags


def test_the_worst_comes_first(folder: Derivatives) -> None:
    assert [verdict.folder.subject for verdict in judge(folder)] == ["sub-02", "sub-03", "sub-01"]


def test_what_the_user_wrote_is_kept_when_the_table_is_written_again(folder: Derivatives) -> None:
    write_quality(folder, failed={})
    text = folder.quality_table.read_text().replace("sub-02\tno\tn/a", "sub-02\tYes\tmoved, see mail")
    folder.quality_table.write_text(text)

    write_quality(folder, failed={})

    assert read_exclusions(folder)["sub-02"] == Said(exclude=True, note="moved, see mail")
    assert read_exclusions(folder)["sub-01"] == Said()
    rows = read_rows(folder.quality_table, required=("participant_id", *(figure.name for figure in FIGURES)))
    assert [row.cells["participant_id"] for row in rows] == ["sub-01", "sub-02", "sub-03"]


def test_a_word_that_is_neither_yes_nor_no_is_refused(folder: Derivatives) -> None:
    write_quality(folder, failed={})
    folder.quality_table.write_text(folder.quality_table.read_text().replace("sub-03\tno", "sub-03\tperhaps"))
    with pytest.raises(ImageError, match=r"qc\.tsv, row 4 \(sub-03\): exclude is 'perhaps'; allowed: yes, no"):
        judge(folder)


def test_a_lesion_on_the_other_side_and_a_patient_twice_are_remarked(folder: Derivatives) -> None:
    quality = {"figures": {}, "brighter_side": "right", "remarks": []}
    write_patient(folder, "sub-04", seed=4, quality=quality, files={"sub-04_dwi.nii.gz": "sub-01-1"})
    write_participants(folder.participants, sub_04=("100", "left"), sub_01=("100", "left"))

    remarks = {verdict.folder.subject: verdict.quality.remarks for verdict in judge(folder)}

    assert "b1000 is brighter on the right, participants.tsv says left" in remarks["sub-04"][0]
    assert remarks["sub-04"][1] == "same DWI file as sub-01: one patient twice?"
    assert remarks["sub-01"] == ("same DWI file as sub-04: one patient twice?",)


class _Page(HTMLParser):
    """The pictures and all text of the page; whatever it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "img":
            self.pictures.append(str(given["src"]))
        self.loads += [str(given[key]) for key in ("src", "href") if key in given]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_server_and_shows_everybody_worst_first(folder: Derivatives) -> None:
    write_quality(folder, failed={"sub-09": "no <FLAIR> & no DWI"})
    page = _Page()
    page.feed(folder.quality_page.read_text())

    assert [re.findall(r"sub-\d+", picture)[0] for picture in page.pictures] == ["sub-02", "sub-03", "sub-01"]
    assert all((folder.path / load).is_file() for load in page.loads)
    assert "no <FLAIR> & no DWI" in page.text
    assert "3 patients, 2 flagged, 0 excluded (0 by default), 1 failed" in page.text


WRONG = {"outside_signal_fraction": 0.41}
WHY = "signal left outside the mask (share) 0.41 (at most 0.1)"


def test_figures_that_no_sound_study_has_exclude_by_default_with_the_reason(folder: Derivatives) -> None:
    write_patient(folder, "sub-01", figures=WRONG)
    write_quality(folder, failed={})
    assert read_exclusions(folder)["sub-01"] == Said(exclude=True, note=f"by default: {WHY}", reason=WHY)
    assert read_exclusions(folder)["sub-02"] == Said()  # flagged, no more


def test_a_default_ends_with_its_reason(folder: Derivatives) -> None:
    write_patient(folder, "sub-01", figures=WRONG)
    write_quality(folder, failed={})
    write_patient(folder, "sub-01")
    write_quality(folder, failed={})
    assert read_exclusions(folder)["sub-01"] == Said()


@pytest.mark.parametrize("note", [f"by default: {WHY}", "n/a", "looked at, is fine"])
def test_the_users_no_to_a_default_is_kept_over_reruns(folder: Derivatives, note: str) -> None:
    write_patient(folder, "sub-01", figures=WRONG)
    write_quality(folder, failed={})
    edit(folder, f"sub-01\tyes\tby default: {WHY}", f"sub-01\tno\t{note}")
    for figures in (WRONG, {}, {"outside_signal_fraction": 0.5}):
        write_patient(folder, "sub-01", figures=figures)
        write_quality(folder, failed={})
        word = read_exclusions(folder)["sub-01"]
        assert (word.exclude, word.note) == (False, "" if note == "n/a" else note)


def test_the_users_yes_outlives_a_default_and_what_is_added_to_its_note_is_kept(folder: Derivatives) -> None:
    write_quality(folder, failed={})
    edit(folder, "sub-03\tno\tn/a", "sub-03\tyes\tmoved")
    write_patient(folder, "sub-01", figures=WRONG)
    write_patient(folder, "sub-03", figures=WRONG)
    write_quality(folder, failed={})
    edit(folder, f"sub-01\tyes\tby default: {WHY}", f"sub-01\tyes\tby default: {WHY}; ask the scanner")
    for subject in ("sub-01", "sub-03"):
        write_patient(folder, subject)
    write_quality(folder, failed={})
    assert read_exclusions(folder)["sub-01"] == Said(note="ask the scanner")
    assert read_exclusions(folder)["sub-03"] == Said(exclude=True, note="moved")


def test_in_a_table_of_before_a_no_is_nobodys_word_and_a_yes_is_the_users(folder: Derivatives) -> None:
    for subject in ("sub-01", "sub-02"):
        write_patient(folder, subject, figures=WRONG)
    folder.quality_table.write_text("participant_id\texclude\tnote\nsub-01\tno\tn/a\nsub-02\tyes\tn/a\n")
    write_quality(folder, failed={})
    said = read_exclusions(folder)
    assert (said["sub-01"].exclude, said["sub-01"].note) == (True, f"by default: {WHY}")
    assert (said["sub-02"].exclude, said["sub-02"].note) == (True, "")


def test_figures_that_sound_heads_have_had_exclude_nobody() -> None:
    """The extremes of 66 raw phantoms and 3 real heads, one of them cut below the ventricles."""
    extremes = {"outside_signal_fraction": 0.153, "brain_atlas_dice": 0.887, "brain_ml": 2229.0}
    assert reason_to_exclude({**extremes, "flair_fluid_ratio": 0.36, "covered_fraction": 0.58}) == ""
    assert reason_to_exclude({**extremes, "flair_fluid_ratio": None}) == ""


def edit(folder: Derivatives, old: str, new: str) -> None:
    text = folder.quality_table.read_text()
    assert old in text
    folder.quality_table.write_text(text.replace(old, new))
