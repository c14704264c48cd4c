"""The report: whole, honest about gaps, safe with what users name things, the same bytes twice."""

import csv
import html.parser
import json
import re
from xml.etree import ElementTree

import matplotlib.image
import pytest

from tests.comparing.conftest import SKILL
from tissueclock.comparing.checklist import fill_checklists
from tissueclock.comparing.figures import draw_roc, draw_trials
from tissueclock.comparing.report import write_report
from tissueclock.comparing.results_table import make_rows
from tissueclock.comparing.study_results import read_results
from tissueclock.errors import StorageError
from tissueclock.storage.files import digest_file
from tissueclock.storage.tsv import read_rows, write_rows

RESULTS_TSV = """
kind task who phase sweep state configuration validation_auc validation_auc_se unit holdout_n holdout_n_positive
holdout_auc holdout_auc_delong_low holdout_auc_delong_high holdout_auc_bootstrap_low holdout_auc_bootstrap_high
threshold_logit
holdout_sensitivity holdout_sensitivity_wilson_low holdout_sensitivity_wilson_high
holdout_specificity holdout_specificity_wilson_low holdout_specificity_wilson_high
holdout_accuracy holdout_accuracy_wilson_low holdout_accuracy_wilson_high
"""
VOID = {"meta", "img", "br", "hr", "link"}


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced, and collects text, tags and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += re.sub(r"\s+", " ", data) + " "


def test_a_finished_study_is_told_whole(report, study, finished_once):
    page = Page(report.read_text(encoding="utf-8"))
    assert report == finished_once.folder.report / "index.html"
    assert "something leaks" not in page.text
    assert "Numbers are from a phantom cohort, not from patients." in page.text
    assert "What is missing" not in page.text
    assert "240: 154 train, 38 validation, 48 holdout" in page.text
    for sweep in study.sweeps:
        assert sweep.name in page.text
        assert f"{sweep.holdout.auc.auc:.3f}" in page.text
        assert f"{sweep.best.value:.3f}" in page.text
    for words in ("lesion-feature observer", "reader_3", "OutOfMemoryError", "freeze_depth", "no evidence"):
        assert words in page.text


def test_the_choice_is_validations_not_the_holdouts(report, study):
    late = study.of_question(study.questions[2])
    chosen = max(late, key=lambda sweep: sweep.best.value)
    text = Page(report.read_text()).text
    assert f"onset < 4.5 h: {chosen.label}" in text


def test_the_page_loads_nothing_from_elsewhere(report):
    page = Page(report.read_text())
    assert page.seen.count("img") == 5 + len(SKILL)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert "script" not in page.seen


def test_names_that_users_give_are_escaped(maker):
    maker.name = "<script>alert(1)</script> & $x_1$"
    maker.arms = {"<b>chain</b> $": maker.arms["chain"][:2]}
    maker.write_all()
    page = Page(write_report(maker.folder).page.read_text())
    assert "script" not in page.seen
    assert "b" not in page.seen
    assert "<script>alert(1)</script> & $x_1$" in page.text
    assert "<b>chain</b> $" in page.text


def test_the_checklist_tells_what_the_study_knows_and_leaves_the_rest_to_the_author(study, hospital):
    told = {item.number: item.told for item in fill_checklists(study)["TRIPOD+AI"]}
    assert "154 train, 38 validation, 48 holdout patients" in told["12a"]
    assert f"AUC {study.sweeps[1].holdout.auc.auc:.3f}" in told["23a"]
    assert told["17"] == told["19"] == ""
    hospital.write_graph()
    assert {item.number for item in fill_checklists(read_results(hospital.folder))["CLAIM"] if item.told} >= {
        "4",
        "21",
        "28",
    }


def test_a_leak_is_shouted(finished):
    onsets = {patient.participant_id: -patient.onset_to_mri_min for patient in finished.cohort.patients}
    finished.write_holdout("attention-33aa33aa", 1, scores=onsets)
    text = Page(write_report(finished.folder).page.read_text()).text
    assert "chain · attention is above the lesion-feature observer on the same patients by +0." in text
    assert "something leaks" in text


def test_a_study_run_in_part_is_told_with_its_gaps(maker):
    maker.write_graph()
    maker.write_sweep("detection-00aa00aa")
    maker.write_holdout("detection-00aa00aa", 1)
    maker.write_sweep("tss_3h-11aa11aa", closed=False)
    text = Page(write_report(maker.folder).page.read_text()).text
    assert "What is missing" in text
    assert "sweep tss_3h-11aa11aa is not complete" in text
    assert "No checkpoint has been scored on the holdout yet." in text
    assert text.count("not started") >= 4


def test_a_study_that_has_only_been_planned_has_a_report(maker):
    maker.write_graph()
    text = Page(write_report(maker.folder).page.read_text()).text
    assert "sweep detection-00aa00aa has not been started" in text
    assert not (maker.folder.report / "roc.svg").exists()


def test_a_holdout_of_one_class_has_no_auc_but_a_report(finished):
    path = finished.folder.sweep("tss_3h-11aa11aa").promoted(1).holdout_scores
    path.write_text(re.sub(r"\t0\t", "\t1\t", path.read_text()))
    text = Page(write_report(finished.folder).page.read_text()).text
    assert "sweep tss_3h-11aa11aa: the holdout holds one class only, so it has no AUC" in text


def test_hospital_patients_carry_no_phantom_banner(hospital):
    hospital.write_all()
    text = Page(write_report(hospital.folder).page.read_text()).text
    assert "phantom cohort" not in text
    assert "lesion-feature observer" not in text


def test_written_again_a_report_is_the_same_bytes(report, finished):
    def contents(folder):
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    first, second = contents(report.parent), contents(write_report(finished.folder).page.parent)
    assert list(first) == [
        *("bars.svg", "calibration.svg", "index.html", "results.tsv"),
        *("roc.png", "roc.svg", "transfer.svg", "trials.png", "trials.svg"),
        *(f"tuning-{name}.{ending}" for name in sorted(SKILL) for ending in ("json", "svg")),
    ]
    assert first == second


def test_what_was_drawn_of_an_ended_sweep_is_kept_and_one_that_went_on_is_drawn_anew(finished, monkeypatch):
    monkeypatch.setattr("tissueclock.comparing.report.code_facts", lambda: {"git_commit": "0" * 40, "git_dirty": False})
    first = write_report(finished.folder).page.read_text()
    drawn = []
    monkeypatch.setattr("tissueclock.comparing.report.draw_tuning", lambda sweep, _: drawn.append(sweep.name))
    assert write_report(finished.folder).page.read_text() == first
    name = sorted(SKILL)[0]
    with finished.folder.sweep(name).ledger.open("a") as ledger:
        ledger.write('{"kind":"recovered","time_s":9e9,"trial":"t0001","error":"x"}\n')
    write_report(finished.folder)
    assert drawn == [name]


def test_table_and_tsv_have_the_same_rows_in_full_precision(report, finished_once):
    rows = make_rows(read_results(finished_once.folder))
    with (report.parent / "results.tsv").open() as stream:
        table = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["kind"], row["who"], row["phase"]) for row in table] == [
        (row.kind, row.who, row.phase or "n/a") for row in rows
    ]
    assert [row.kind for row in rows] == [
        *["network"] * 3,
        "observer",
        *["network"] * 3,
        "observer",
        *["reader"] * 4,
    ]
    assert float(table[1]["holdout_auc"]) == pytest.approx(rows[1].auc.auc, rel=1e-5)
    assert float(table[1]["holdout_auc_bootstrap_low"]) == pytest.approx(rows[1].bootstrap.low, rel=1e-5)
    assert table[-1]["holdout_auc"] == "n/a"


def test_results_tsv_begins_with_what_0_1_wrote_and_the_error_over_folds(report):
    """Whoever reads it by column goes on reading it."""
    header, first, *_ = (report.parent / "results.tsv").read_text().splitlines()
    known = RESULTS_TSV.split()
    assert header.split("\t")[: len(known)] == known
    assert first.startswith(
        "network\tstroke detection\tchain, scratch\tdetection\tdetection-00aa00aa\tcomplete\tparent 2, "
    )


def test_every_row_of_a_table_is_as_wide_as_its_head(report):
    """Spans counted: what stands beside a network takes the room of several text columns."""
    tables = re.findall(r"<table>.*?</table>", report.read_text(), re.DOTALL)
    assert len(tables) == 13 + len(SKILL)
    for table in tables:
        widths = {
            sum(int(span or 1) for span in re.findall(r'<t[dh](?=[ >])(?:[^>]*?colspan="(\d+)")?', row))
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        }
        assert len(widths) == 1


def test_the_roc_figure_has_a_panel_a_task_and_a_curve_an_arm(study):
    figure = draw_roc(study)
    panels = figure.axes
    labels = [[text.get_text().split("\n")[0] for text in panel.get_legend().get_texts()] for panel in panels]
    assert [panel.get_title("left") for panel in panels] == ["stroke detection", "onset < 3 h", "onset < 4.5 h"]
    assert labels[0] == ["chain, scratch · detection"]
    assert labels[1] == ["chain · tss_3h", "scratch · tss_3h", "lesion-feature observer"]
    assert labels[2][-4:] == ["reader_1", "reader_2", "reader_3", "majority"]
    assert {panel.get_xlabel() for panel in panels} == {"1 \N{MINUS SIGN} specificity"}


def test_a_curves_area_is_the_auc_in_its_legend(study):
    panel = draw_roc(study).axes[1]
    line = panel.get_lines()[0]
    x, y = line.get_xdata(), line.get_ydata()
    area = sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2)
    assert f"AUC {area:.3f} [" in line.get_label()


def test_the_trials_figure_has_a_panel_a_sweep(study):
    panels = [panel for panel in draw_trials(study).axes if panel.get_title("left")]
    assert [panel.get_title("left") for panel in panels] == [sweep.label for sweep in study.sweeps]
    best = panels[0].get_lines()[0].get_ydata()
    assert best[-1] == study.sweeps[0].ledger.best().best_value
    assert (best[1:] >= best[:-1]).all()


def test_figures_are_whole_files(report):
    for name in ("roc", "trials"):
        assert ElementTree.parse(report.parent / f"{name}.svg").getroot().tag.endswith("svg")
        assert matplotlib.image.imread(report.parent / f"{name}.png").shape[1] > 1000


def test_a_folder_that_cannot_be_written_is_named(finished):
    (finished.folder.report / "results.tsv").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"results\.tsv: cannot be written"):
        write_report(finished.folder)


def test_what_flair_is_worth_is_told_of_the_chosen_network(finished):
    for name in ("tss_4h5-22aa22aa", "tss_4h5-55bb55bb", "attention-33aa33aa"):
        promoted = finished.folder.sweep(name).promoted(1)
        rows = [row.cells for row in read_rows(promoted.holdout_scores, required=("logit",))]
        rows = [{**cells, "logit_without_flair": str(-float(cells["logit"]))} for cells in rows]
        write_rows(promoted.holdout_scores, columns=list(rows[0]), rows=rows)
        facts = json.loads(promoted.holdout.read_text())
        facts = {**facts, "scores_digest": digest_file(promoted.holdout_scores)}
        promoted.holdout.write_text(json.dumps(facts))
    (groups,) = [own for q, own in read_results(finished.folder).subgroups.items() if q.onset_before_min == 270.0]
    (taken,) = [group for group in groups if group.name == "everyone, FLAIR taken away"]
    assert taken.auc.auc < 0.5  # every logit has the other sign
    assert "everyone, FLAIR taken away" in write_report(finished.folder).page.read_text()
