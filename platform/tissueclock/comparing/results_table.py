"""The one table of a study: a row for each arm and phase, and for the observer and the readers beside them.

The report, the terminal and `results.tsv` show the same rows, and all three are made from `COLUMNS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tissueclock.comparing.calibration import Calibration
from tissueclock.comparing.column import Column
from tissueclock.comparing.formats import NOTHING, format_auc, format_number, format_rate, format_value
from tissueclock.comparing.observers import OBSERVER, ReaderResult
from tissueclock.comparing.operating import SPECIFICITIES, Operating
from tissueclock.comparing.results import ComparedQuestion, StudyResult, SweepResult
from tissueclock.comparing.scores import NOBODY_CALLED, Confusion
from tissueclock.comparing.statistics import AucEstimate, Estimate, Interval, Rate
from tissueclock.learning.hyperparameters import ROWS
from tissueclock.storage.tsv import MISSING

TELLING = tuple(name for name, row in ROWS.items() if row.told)
"""What a short configuration names, where the trial has it."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row.

    Attributes:
        kind: Who answered.
        question: The question's name.
        who: The arms, the observer or the reader.
        phase: Empty for observer and readers.
        sweep: The same.
        state: Of the sweep; empty for observer and readers.
        configuration: The best trial's, short.
        validation_auc: Of the trial that validation chose; the mean, where there are folds.
        validation_se: Its standard error over folds (or seeds), where there are several.
        n: Units of the holdout that were scored, `unit` says of what.
        n_positive: Positive ones among them.
        unit: `hemisphere` or `patient`.
        auc: On the holdout.
        bootstrap: Of the holdout AUC, over patients.
        threshold: The logit, chosen on validation.
        confusion: On the holdout at that threshold.
        operating: On the holdout at other points.
        calibration: On the holdout.
    """

    kind: Literal["network", "observer", "reader"]
    question: str
    who: str
    phase: str = ""
    sweep: str = ""
    state: str = ""
    configuration: str = ""
    validation_auc: float | None = None
    validation_se: float | None = None
    n: int = 0
    n_positive: int = 0
    unit: str = ""
    auc: AucEstimate | None = None
    bootstrap: Interval | None = None
    threshold: float | None = None
    confusion: Confusion = NOBODY_CALLED
    operating: Operating | None = None
    calibration: Calibration | None = None


def make_rows(study: StudyResult) -> list[ResultRow]:
    """The table's rows: question by question the networks, then the observer, then the readers."""
    rows: list[ResultRow] = []
    for question in study.questions:
        sweeps = study.of_question(question)
        rows.extend(_network_row(sweep) for sweep in sweeps)
        rows.extend(_observer_row(sweep) for sweep in [s for s in sweeps if s.observer][:1])
        rows.extend(_reader_row(reader, question) for reader in study.readers.get(question, ()))
    return rows


def tsv_row(row: ResultRow) -> dict[str, str]:
    """A row of `results.tsv`: text by column, in full precision."""
    return {name: _text(value) for column in COLUMNS for name, value in column.facts(row).items()}


def shorten(hyperparameters: Mapping[str, Any], *, telling: Sequence[str]) -> str:
    """A configuration in a few words.

    Args:
        hyperparameters: By name.
        telling: What to name, where the trial has it; the first three where it has none of them.

    >>> shorten({"lr": 0.00123456, "freeze_depth": 2, "gamma": 0.001}, telling=("freeze_depth", "lr"))
    'freeze_depth 2, lr 0.0012'
    """
    chosen = [name for name in telling if name in hyperparameters] or list(hyperparameters)[:3]
    return ", ".join(f"{name} {format_value(hyperparameters[name], digits=2)}" for name in chosen)


def _network_row(sweep: SweepResult) -> ResultRow:
    best, holdout = sweep.best, sweep.holdout
    return ResultRow(
        kind="network",
        question=sweep.question.name,
        who=", ".join(sweep.arms),
        phase=sweep.phase,
        sweep=sweep.name,
        state=sweep.state,
        configuration=shorten(best.facts["hyperparameters"], telling=TELLING) if best else "",
        validation_auc=best.value if best else None,
        validation_se=best.facts["metrics"].get("val_auc_se") if best else None,
        n=len(holdout.scores.units) if holdout else 0,
        n_positive=holdout.scores.n_positive if holdout else 0,
        unit=holdout.unit if holdout else "",
        auc=holdout.auc if holdout else None,
        bootstrap=holdout.bootstrap if holdout else None,
        threshold=holdout.threshold if holdout else None,
        confusion=holdout.confusion if holdout else NOBODY_CALLED,
        operating=holdout.operating if holdout else None,
        calibration=holdout.calibration if holdout else None,
    )


def _observer_row(sweep: SweepResult) -> ResultRow:
    if sweep.observer is None or sweep.holdout is None:
        raise AssertionError(f"sweep {sweep.name} has no observer")
    scores = sweep.observer.scores
    return ResultRow(
        kind="observer",
        question=sweep.question.name,
        who=OBSERVER,
        n=len(scores.units),
        n_positive=scores.n_positive,
        unit=sweep.holdout.unit,
        auc=sweep.observer.auc,
    )


def _reader_row(reader: ReaderResult, question: ComparedQuestion) -> ResultRow:
    positive = reader.confusion.sensitivity
    return ResultRow(
        kind="reader",
        question=question.name,
        who=reader.name,
        n=reader.n,
        n_positive=positive.n if positive else 0,
        unit="patient",
        confusion=reader.confusion,
    )


def _fact(name: str) -> Column[ResultRow]:
    """A column of `results.tsv` alone."""
    return Column(facts=lambda row: {name: getattr(row, name)})


def _rate_column(name: str, *, short: str) -> Column[ResultRow]:
    def rate(row: ResultRow) -> Rate | None:
        found: Rate | None = getattr(row.confusion, name)
        return found

    def facts(row: ResultRow) -> dict[str, Any]:
        found = rate(row)
        return {
            f"holdout_{name}": found.value if found else None,
            **_ends(f"holdout_{name}_wilson", found.interval if found else None),
        }

    return Column(
        heading=f"{name}\n[95 % CI]",
        cell=lambda row: format_rate(rate(row)),
        is_number=True,
        short_heading=short,
        short_cell=lambda row: f"{found.value:.2f}" if (found := rate(row)) else "",
        facts=facts,
    )


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}


def _operating_facts(row: ResultRow) -> dict[str, float | None]:
    told = row.operating
    facts = {**_estimated("holdout_auprc", told.auprc if told else None)}
    for name, rate in (("ppv", told.ppv if told else None), ("npv", told.npv if told else None)):
        facts[f"holdout_{name}"] = rate.value if rate else None
        facts |= _ends(f"holdout_{name}_wilson", rate.interval if rate else None)
    for specificity in SPECIFICITIES:
        at = told.sensitivity_at[specificity] if told else None
        facts |= _estimated(f"holdout_sensitivity_at_{specificity:g}", at)
    return facts


def _calibration_facts(row: ResultRow) -> dict[str, float | None]:
    told = row.calibration
    return {
        "temperature": told.temperature if told else None,
        **_estimated("holdout_calibration_intercept", told.intercept if told else None),
        **_estimated("holdout_calibration_slope", told.slope if told else None),
        **_estimated("holdout_brier", told.brier if told else None),
    }


def _estimated(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    return {name: estimate.value if estimate else None, **_ends(name, estimate.interval if estimate else None)}


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


QUESTION: Column[ResultRow] = Column(  # in the report the heading of a group of rows
    short_heading="task", short_cell=lambda row: row.question, facts=lambda row: {"task": row.question}
)
COLUMNS: tuple[Column[ResultRow], ...] = (
    _fact("kind"),
    QUESTION,
    Column(
        heading="arm",
        cell=lambda row: row.who,
        short_heading="who",
        short_cell=lambda row: f"{row.who} / {row.phase}" if row.phase else row.who,
        facts=lambda row: {"who": row.who},
    ),
    Column(heading="phase", cell=lambda row: row.phase or NOTHING, facts=lambda row: {"phase": row.phase}),
    _fact("sweep"),
    _fact("state"),
    Column(
        heading="best configuration",
        cell=lambda row: row.configuration or row.state or NOTHING,
        facts=lambda row: {"configuration": row.configuration},
    ),
    Column(
        heading="validation AUC",
        cell=lambda row: (
            format_number(row.validation_auc) + ("" if row.validation_se is None else f" (SE {row.validation_se:.3f})")
        ),
        is_number=True,
        short_heading="val.\nAUC",
        short_cell=lambda row: format_number(row.validation_auc, nothing=""),
        facts=lambda row: {"validation_auc": row.validation_auc, "validation_auc_se": row.validation_se},
    ),
    _fact("unit"),
    Column(
        facts=lambda row: {
            "holdout_n": row.n or None,
            "holdout_n_positive": row.n_positive if row.n else None,
        }
    ),
    Column(
        heading="holdout AUC\n[95 % CI]",
        cell=lambda row: format_auc(row.auc),
        is_number=True,
        short_heading="holdout AUC\n[95 % CI]",
        short_cell=lambda row: format_auc(row.auc) if row.auc else row.state,
        facts=lambda row: {
            "holdout_auc": row.auc.auc if row.auc else None,
            **_ends("holdout_auc_delong", row.auc.interval if row.auc else None),
        },
    ),
    Column(facts=lambda row: _ends("holdout_auc_bootstrap", row.bootstrap)),
    Column(facts=lambda row: {"threshold_logit": row.threshold}),
    _rate_column("sensitivity", short="sens."),
    _rate_column("specificity", short="spec."),
    _rate_column("accuracy", short="acc."),
    Column(facts=_operating_facts),
    Column(facts=_calibration_facts),
)
