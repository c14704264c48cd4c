"""The report of a study: one HTML file that opens without a server, with its table and figures beside it.

The decision stands first: which checkpoint validation chose for each question, what it is worth on the holdout, and
what that can and cannot tell. What has not been run is named, not guessed.
"""

import base64
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import jinja2

from tissueclock.comparing.checklist import fill_checklists
from tissueclock.comparing.drawing import save_figure
from tissueclock.comparing.figures import draw_roc, draw_trials
from tissueclock.comparing.look_figures import draw_looks
from tissueclock.comparing.looking import Pictures
from tissueclock.comparing.looks import count_look
from tissueclock.comparing.regions import compare_on_regions
from tissueclock.comparing.report_tables import (
    CALIBRATION_COLUMNS,
    CHARACTERISTIC_COLUMNS,
    CONTRAST_COLUMNS,
    COST_COLUMNS,
    HANDOVER_COLUMNS,
    IMPORTANCE_COLUMNS,
    LINEAGE_COLUMNS,
    LOOK_COLUMNS,
    OPERATING_COLUMNS,
    READER_COLUMNS,
    REGION_COLUMNS,
    SUBGROUP_COLUMNS,
    SWEEP_COLUMNS,
    TEST_COLUMNS,
    tabulate_configurations,
    tabulate_costs,
    trace_lineage,
)
from tissueclock.comparing.report_words import describe_study
from tissueclock.comparing.results import StudyResult, SweepResult
from tissueclock.comparing.results_table import COLUMNS, ResultRow, make_rows, tsv_row
from tissueclock.comparing.score_figures import draw_bars, draw_calibration
from tissueclock.comparing.study_results import read_results
from tissueclock.comparing.tuning import Importance, find_contrasts, find_handovers, measure_importances
from tissueclock.comparing.tuning_figures import draw_transfer, draw_tuning
from tissueclock.errors import InputError
from tissueclock.lineage import code_facts
from tissueclock.settings import EQUIVALENCE_MARGIN
from tissueclock.storage.files import digest_facts, digest_file, read_json, write_json, write_text
from tissueclock.storage.folders import StudyFolder
from tissueclock.storage.tsv import write_rows

_ALPHA = 0.05
_TEMPLATE = "report.html.j2"
_ALSO_AS_PNG = ("roc", "trials")
"""For slides and manuscripts; each costs as much as its SVG."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written.

    Attributes:
        page: The HTML file.
        rows: The study's table: networks, observer and readers, question by question.
        facts: The same as `results.tsv` has it.
    """

    page: Path
    rows: list[ResultRow]
    facts: list[dict[str, Any]]


def write_report(folder: StudyFolder, *, margin: float = EQUIVALENCE_MARGIN) -> Report:
    """Writes `index.html`, `results.tsv` and each figure as `.svg`, some as `.png` too, to the report's folder.

    A study that has been run in part gives a report with its gaps named. Written again, a report is the same bytes as
    long as the study's files are.

    Args:
        folder: Of a study, finished or not.
        margin: AUC differences below it do not matter.

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
    images, tuned = _save_figures(study, folder.report), _tuned(study, folder)
    write_text(target, _render(study, rows, look=look, images=images, tuned=tuned, resolved=resolved))
    return Report(target, rows, facts)


@dataclass(frozen=True, slots=True)
class _Tuned:
    """What the report tells of a sweep's knobs: `image` is a data URI, or empty."""

    label: str
    importances: tuple[Importance, ...]
    image: str


def _save_figures(study: StudyResult, report: Path) -> dict[str, str]:
    """Writes the figures that there is something to draw for; gives each as a data URI by name."""
    images = {}
    figures = {
        "bars": draw_bars(study),
        "roc": draw_roc(study),
        "calibration": draw_calibration(study),
        "looks": draw_looks(_pictures(study)),
        "transfer": draw_transfer(study),
        "trials": draw_trials(study),
    }
    for name, figure in figures.items():
        if figure is not None:
            images[name] = _as_uri(save_figure(figure, report / name, as_png=name in _ALSO_AS_PNG))
    return images


def _pictures(study: StudyResult) -> dict[str, Pictures]:
    """Of the last question that has some: one a network, scratch beside pretrained."""
    for question in reversed(study.questions):
        sweeps = study.of_question(question)
        found = {s.label: s.best.pictures for s in sweeps if s.best and s.best.pictures}
        if found:
            return found
    return {}


def _is_blind(sweep: SweepResult) -> bool:
    """Whether where a network looks cannot be told from where networks with permuted weights do."""
    looks = sweep.best.looks if sweep.best else None
    return looks is not None and looks.p is not None and looks.p > _ALPHA


def _tuned(study: StudyResult, folder: StudyFolder) -> list[_Tuned]:
    """Knobs and figure of each sweep that says what it tuned; 0.1 did not.

    They take a second each, and a sweep that has ended keeps its own: beside the figure lies what it was made of.
    """
    found, code = [], code_facts()
    for sweep in study.sweeps:
        own = folder.sweep(sweep.name)
        bounds = read_json(own.spec).get("bounds", {}) if own.spec.is_file() else {}
        stem = folder.report / f"tuning-{sweep.name}"
        made_of = [sweep.label, bounds, digest_file(own.ledger) if own.ledger.is_file() else "", code]
        key = digest_facts(made_of)
        tuned = None if code["git_dirty"] else _kept(stem, sweep.label, key)
        if tuned is None and (figure := draw_tuning(sweep, bounds)) is not None:
            tuned = _Tuned(sweep.label, measure_importances(sweep, bounds), _as_uri(save_figure(figure, stem)))
            write_json(stem.with_suffix(".json"), {"key": key, "importances": [asdict(i) for i in tuned.importances]})
        if tuned is not None:
            found.append(tuned)
    return found


def _kept(stem: Path, label: str, key: str) -> _Tuned | None:
    """What an earlier report drew of the same; None where there is none, or it cannot be read."""
    try:
        facts = read_json(stem.with_suffix(".json"), needed=("key", "importances"))
        importances = tuple(Importance(**importance) for importance in facts["importances"])
        image = _as_uri(stem.with_suffix(".svg").read_text(encoding="utf-8"))
    except (InputError, OSError, TypeError):
        return None
    return _Tuned(label, importances, image) if facts["key"] == key else None


def _as_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _render(
    study: StudyResult, rows: list[ResultRow], *, look: int, images: dict[str, str], tuned: list[_Tuned], resolved: str
) -> str:
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
        regions=compare_on_regions(study.sweeps),
        region_columns=REGION_COLUMNS,
        n_pictures=len(next(iter(_pictures(study).values())).names) if _pictures(study) else 0,
        looked=[sweep for sweep in study.sweeps if sweep.best and sweep.best.looks],
        look_columns=LOOK_COLUMNS,
        blind=[sweep.label for sweep in study.sweeps if _is_blind(sweep)],
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
        checklists=fill_checklists(study),
        images=images,
        tuned=tuned,
        contrasts=[contrast for sweep in study.sweeps for contrast in find_contrasts(sweep)],
        contrast_columns=CONTRAST_COLUMNS,
        importance_columns=IMPORTANCE_COLUMNS,
        handovers=find_handovers(study),
        handover_columns=HANDOVER_COLUMNS,
        resolved=resolved,
    )
