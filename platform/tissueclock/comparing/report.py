"""The report of a study: one HTML file that opens without a server, with its table and figures beside it.

The decision stands first: which checkpoint validation chose for each question, what it is worth on the holdout, and
what that can and cannot tell. What has not been run is named, not guessed.
"""

import base64
from itertools import takewhile
from pathlib import Path

import jinja2

from tissueclock.comparing.drawing import save_figure
from tissueclock.comparing.figures import draw_roc, draw_trials
from tissueclock.comparing.looks import count_look
from tissueclock.comparing.report_tables import (
    CALIBRATION_COLUMNS,
    CHARACTERISTIC_COLUMNS,
    COST_COLUMNS,
    LINEAGE_COLUMNS,
    OPERATING_COLUMNS,
    READER_COLUMNS,
    SUBGROUP_COLUMNS,
    SWEEP_COLUMNS,
    TEST_COLUMNS,
    tabulate_configurations,
    tabulate_costs,
    trace_lineage,
)
from tissueclock.comparing.report_words import describe_study
from tissueclock.comparing.results import StudyResult
from tissueclock.comparing.results_table import COLUMNS, ResultRow, make_rows, tsv_row
from tissueclock.comparing.study_results import read_results
from tissueclock.comparing.worth_figures import draw_bars, draw_calibration
from tissueclock.settings import EQUIVALENCE_MARGIN
from tissueclock.storage.files import write_text
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.tsv import write_rows

_TEMPLATE = "report.html.j2"


def results_table(folder: StudyFolder) -> list[ResultRow]:
    """The study's table: networks, observer and readers, question by question.

    Raises:
        InputError: A file that is there is damaged, or `graph.json` is missing.
    """
    return make_rows(read_results(folder))


def write_report(folder: StudyFolder, *, margin: float = EQUIVALENCE_MARGIN) -> Path:
    """Writes `index.html`, `results.tsv` and each figure as `.svg` and `.png` to the report's folder.

    A study that has been run in part gives a report with its gaps named. Written again, a report is the same bytes as
    long as the study's files are.

    Args:
        folder: Of a study, finished or not.
        margin: AUC differences below it do not matter.

    Returns:
        The HTML file.

    Raises:
        InputError: A file that is there is damaged, or `graph.json` is missing.
        StorageError: The folder cannot be written, or the disk is full.
    """
    study = read_results(folder, margin=margin)
    look = count_look(study, folder)
    rows = make_rows(study)
    facts = [tsv_row(row) for row in rows]
    if facts:
        write_rows(folder.report / "results.tsv", columns=tuple(facts[0]), rows=facts)
    target = folder.report / "index.html"
    resolved = folder.study.read_text(encoding="utf-8") if folder.study.is_file() else ""  # 0.1 wrote none
    write_text(target, _render(study, rows, look=look, images=_save_figures(study, folder.report), resolved=resolved))
    return target


def _save_figures(study: StudyResult, report: Path) -> dict[str, str]:
    """Writes the figures that there is something to draw for; gives each as a data URI by name."""
    images = {}
    figures = {
        "bars": draw_bars(study),
        "roc": draw_roc(study),
        "calibration": draw_calibration(study),
        "trials": draw_trials(study),
    }
    for name, figure in figures.items():
        if figure is not None:
            svg = save_figure(figure, report / name).encode()
            images[name] = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return images


def _render(study: StudyResult, rows: list[ResultRow], *, look: int, images: dict[str, str], resolved: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tissueclock.comparing", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups: dict[str, list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(row.question, []).append(row)
    columns = [column for column in COLUMNS if column.heading]
    return environment.get_template(_TEMPLATE).render(
        **describe_study(study, look=look),
        columns=columns,
        n_leading=len(list(takewhile(lambda column: not column.is_number, columns))),
        groups=groups,
        tests=study.tests,
        test_columns=TEST_COLUMNS,
        measured=[sweep for sweep in study.sweeps if sweep.holdout and sweep.holdout.operating],
        operating_columns=OPERATING_COLUMNS,
        calibration_columns=CALIBRATION_COLUMNS,
        readers=study.readers,
        reader_columns=READER_COLUMNS,
        subgroups=study.subgroups,
        subgroup_columns=SUBGROUP_COLUMNS,
        characteristics=study.characteristics,
        characteristic_columns=CHARACTERISTIC_COLUMNS,
        sweeps=study.sweeps,
        sweep_columns=SWEEP_COLUMNS,
        costs=tabulate_costs(study),
        cost_columns=COST_COLUMNS,
        configurations=tabulate_configurations(study),
        lineage=trace_lineage(study),
        lineage_columns=LINEAGE_COLUMNS,
        images=images,
        resolved=resolved,
    )
