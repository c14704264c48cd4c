"""The one table of a study: a row for each arm and phase, and for the observer and the readers beside them.

The terminal, `results.tsv` and the report show the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tissueclock.comparing.observers import OBSERVER, ReaderResult
from tissueclock.comparing.results import Question, StudyResult, SweepResult
from tissueclock.comparing.scores import Confusion
from tissueclock.comparing.statistics import AucEstimate, Interval, Rate
from tissueclock.storage.tsv import MISSING

NOTHING = "\N{EN DASH}"
HEADINGS = (
    "task",
    "arm",
    "phase",
    "best configuration",
    "validation AUC",
    "holdout AUC [95 % CI]",
    "sensitivity [95 % CI]",
    "specificity [95 % CI]",
    "accuracy [95 % CI]",
)
_TELLING = ("parent", "learned", "freeze_depth", "attention", "optimiser", "lr")
"""What a short configuration names, where the trial has it."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row.

    Attributes:
        kind: Who answered.
        task: The question.
        who: The arms, the observer or the reader.
        phase: Empty for observer and readers.
        sweep: The same.
        state: Of the sweep; empty for observer and readers.
        configuration: The best trial's, short.
        validation_auc: Of the trial that validation chose.
        n: Units of the holdout that were scored, `unit` says of what.
        n_positive: Positive ones among them.
        unit: `hemisphere` or `patient`.
        auc: On the holdout.
        bootstrap: Of the holdout AUC, over patients.
        threshold: The logit, chosen on validation.
        confusion: On the holdout at that threshold.
    """

    kind: Literal["network", "observer", "reader"]
    task: str
    who: str
    phase: str = ""
    sweep: str = ""
    state: str = ""
    configuration: str = ""
    validation_auc: float | None = None
    n: int = 0
    n_positive: int = 0
    unit: str = ""
    auc: AucEstimate | None = None
    bootstrap: Interval | None = None
    threshold: float | None = None
    confusion: Confusion | None = None

    def cells(self) -> tuple[str, ...]:
        """As text, one cell for each of `HEADINGS`."""
        confusion = self.confusion or Confusion(None, None, None)
        return (
            self.task,
            self.who,
            self.phase or NOTHING,
            self.configuration or (self.state if self.kind == "network" else NOTHING),
            format_number(self.validation_auc),
            format_auc(self.auc),
            format_rate(confusion.sensitivity),
            format_rate(confusion.specificity),
            format_rate(confusion.accuracy),
        )

    def facts(self) -> dict[str, str]:
        """As text by column, in full precision, for `results.tsv`."""
        confusion = self.confusion or Confusion(None, None, None)
        facts: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("kind", "task", "who", "phase", "sweep", "state")},
            **{name: getattr(self, name) for name in ("configuration", "validation_auc", "unit")},
            "holdout_n": self.n or None,
            "holdout_n_positive": self.n_positive if self.n else None,
            "holdout_auc": self.auc.auc if self.auc else None,
            **_ends("holdout_auc_delong", self.auc.interval if self.auc else None),
            **_ends("holdout_auc_bootstrap", self.bootstrap),
            "threshold_logit": self.threshold,
        }
        for name in ("sensitivity", "specificity", "accuracy"):
            rate: Rate | None = getattr(confusion, name)
            facts[f"holdout_{name}"] = rate.value if rate else None
            facts |= _ends(f"holdout_{name}_wilson", rate.interval if rate else None)
        return {name: _text(value) for name, value in facts.items()}


def make_rows(study: StudyResult) -> list[ResultRow]:
    """The table's rows: question by question the networks, then the observer, then the readers."""
    rows: list[ResultRow] = []
    for question in study.questions:
        sweeps = study.of_question(question)
        rows.extend(_network_row(sweep) for sweep in sweeps)
        rows.extend(_observer_row(sweep) for sweep in [s for s in sweeps if s.observer][:1])
        rows.extend(_reader_row(reader, question) for reader in study.readers.get(question, ()))
    return rows


def shorten(hyperparameters: Mapping[str, Any]) -> str:
    """A configuration in a few words: what tells most, where the trial has it.

    >>> shorten({"lr": 0.00123456, "freeze_depth": 2, "gamma": 0.001})
    'freeze_depth 2, lr 0.0012'
    """
    chosen = [name for name in _TELLING if name in hyperparameters] or list(hyperparameters)[:3]
    return ", ".join(f"{name} {format_value(hyperparameters[name], digits=2)}" for name in chosen)


def format_value(value: Any, *, digits: int = 4) -> str:
    """A hyperparameter, floats to so many significant digits."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def format_number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return NOTHING if value is None else f"{value:.3f}"


def format_interval(interval: Interval) -> str:
    """Two decimals: more would be noise."""
    return f"[{interval.low:.2f}, {interval.high:.2f}]".replace("-", "\N{MINUS SIGN}")


def format_auc(auc: AucEstimate | None) -> str:
    """The AUC with its interval, or a dash."""
    return NOTHING if auc is None else f"{auc.auc:.3f} {format_interval(auc.interval)}"


def format_rate(rate: Rate | None) -> str:
    """A rate with its interval, or a dash."""
    return NOTHING if rate is None else f"{rate.value:.2f} {format_interval(rate.interval)}"


def _network_row(sweep: SweepResult) -> ResultRow:
    best, holdout = sweep.best, sweep.holdout
    return ResultRow(
        kind="network",
        task=sweep.question.name,
        who=", ".join(sweep.arms),
        phase=sweep.phase,
        sweep=sweep.name,
        state=sweep.state,
        configuration=shorten(best.facts["hyperparameters"]) if best else "",
        validation_auc=best.value if best else None,
        n=len(holdout.scores.units) if holdout else 0,
        n_positive=holdout.scores.n_positive if holdout else 0,
        unit=holdout.unit if holdout else "",
        auc=holdout.auc if holdout else None,
        bootstrap=holdout.bootstrap if holdout else None,
        threshold=holdout.threshold if holdout else None,
        confusion=holdout.confusion if holdout else None,
    )


def _observer_row(sweep: SweepResult) -> ResultRow:
    if sweep.observer is None or sweep.holdout is None:
        raise AssertionError(f"sweep {sweep.name} has no observer")
    scores = sweep.observer.scores
    return ResultRow(
        kind="observer",
        task=sweep.question.name,
        who=OBSERVER,
        n=len(scores.units),
        n_positive=scores.n_positive,
        unit=sweep.holdout.unit,
        auc=sweep.observer.auc,
    )


def _reader_row(reader: ReaderResult, question: Question) -> ResultRow:
    positive = reader.confusion.sensitivity
    return ResultRow(
        kind="reader",
        task=question.name,
        who=reader.name,
        n=reader.n,
        n_positive=positive.n if positive else 0,
        unit="patient",
        confusion=reader.confusion,
    )


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
