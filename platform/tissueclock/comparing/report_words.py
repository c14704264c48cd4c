"""The report's words and small tables, as plain data for its template."""

from typing import Any

from tissueclock.comparing.observers import OBSERVER
from tissueclock.comparing.results import PairedTest, Promoted, Question, StudyResult, SweepResult
from tissueclock.comparing.results_table import NOTHING, format_auc, format_interval, format_number, format_value
from tissueclock.comparing.statistics import AucDifference, Interval
from tissueclock.storage.ledger import TrialEntry

_SHORT = 12
"""Characters of a digest that are shown; the whole is in its tooltip."""


def describe_study(study: StudyResult) -> dict[str, Any]:
    """Everything that the template shows beside table and figures."""
    return {
        "study": study.name,
        "banner": _banner(study),
        "facts": _facts(study),
        "decisions": [_decision(study, question) for question in study.questions],
        "leaks": [_leak(sweep) for sweep in study.sweeps if sweep.observer and sweep.observer.leaks],
        "notes": _notes(study),
        "gaps": list(study.gaps),
        "tests": [_test_cells(test) for test in study.tests],
        "sweeps": [_sweep_cells(sweep) for sweep in study.sweeps],
        "failures": [failure for sweep in study.sweeps for failure in _failures(sweep)],
        "configurations": _configurations(study),
        "lineage": [_lineage(study, sweep, promoted) for sweep in study.sweeps for promoted in sweep.promoted],
        "n_short": _SHORT,
    }


def format_difference(difference: AucDifference) -> str:
    """The difference with its sign and interval."""
    return f"{_signed(difference.difference)} {format_interval(difference.interval)}"


def format_p(p: float | None) -> str:
    """A p value as it is printed: three decimals, or that it is smaller, or a dash.

    >>> format_p(0.0421), format_p(1e-5)
    ('0.042', '< 0.001')
    """
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _banner(study: StudyResult) -> str:
    if study.cohort is None:
        return "The cohort is not at hand: whether its patients are real or simulated cannot be told from here."
    return "Numbers are from a phantom cohort, not from patients." if study.cohort.is_phantom else ""


def _facts(study: StudyResult) -> list[tuple[str, str, bool]]:
    """What was run: name, value, and whether the value is a digest, to be shown shortened."""
    opened = [sweep.ledger.facts.get("lineage", {}) for sweep in study.sweeps if sweep.ledger.facts]
    facts = [("arms", ", ".join(dict.fromkeys(arm for sweep in study.sweeps for arm in sweep.arms)), False)]
    if study.cohort:
        source = ", ".join(f"{key} {value}" for key, value in study.cohort.source.items())
        counts = ", ".join(f"{n} {split}" for split, n in study.cohort.n_patients.items())
        facts.append(("cohort", f"{study.cohort.name} ({source})" if source else study.cohort.name, False))
        facts.append(("patients", f"{sum(study.cohort.n_patients.values())}: {counts}", False))
    facts.append(("seed", str(study.seed), False))
    for name, key in (("cohort digest", "cohort"), ("split digest", "split")):
        digests = dict.fromkeys(str(lineage[key]) for lineage in opened if key in lineage)
        facts.extend((name, digest, True) for digest in digests)
    codes = dict.fromkeys(_code(lineage["code"]) for lineage in opened if "code" in lineage)
    facts.extend(("code", code, False) for code in codes)
    return facts


def _code(code: dict[str, Any]) -> str:
    commit = code.get("git_commit")
    changed = ", with uncommitted changes" if code.get("git_dirty") else ""
    return f"tissueclock {code.get('version', '?')}, commit {str(commit)[:_SHORT] if commit else 'unknown'}{changed}"


def _chosen(study: StudyResult, question: Question) -> SweepResult | None:
    """Of a question's scored sweeps the one that validation prefers."""
    scored = [sweep for sweep in study.of_question(question) if sweep.best and sweep.holdout and sweep.holdout.auc]
    return max(scored, key=lambda sweep: sweep.best.value if sweep.best else 0.0, default=None)


def _decision(study: StudyResult, question: Question) -> dict[str, Any]:
    chosen = _chosen(study, question)
    if chosen is None or chosen.best is None or chosen.holdout is None:
        return {
            "question": question.name,
            "choice": "",
            "worth": "No checkpoint has been scored on the holdout yet.",
            "tests": [],
        }
    holdout = chosen.holdout
    units = f"{len(holdout.scores.units)} {holdout.unit}s, {holdout.scores.n_positive} positive"
    worth = (
        f"Validation AUC {format_number(chosen.best.value)}; holdout AUC {format_auc(holdout.auc)} ({units}; "
        f"95 % intervals: DeLong, and over resampled patients {format_interval(holdout.bootstrap or Interval(0, 1))})."
    )
    tests = [_test_sentence(test, chosen) for test in study.tests if chosen.label in (test.first, test.second)]
    return {"question": question.name, "choice": chosen.label, "worth": worth, "tests": tests}


def _test_sentence(test: PairedTest, chosen: SweepResult) -> str:
    other, sign = (test.second, 1) if test.first == chosen.label else (test.first, -1)
    difference, interval = sign * test.difference.difference, test.difference.interval
    ends = interval if sign > 0 else Interval(-interval.high, -interval.low)
    verdict = "more than chance explains" if ends.low > 0 or ends.high < 0 else "no evidence of a difference"
    p = _equals(test.difference.p)
    return f"Against {other}: {_signed(difference)} AUC {format_interval(ends)}, p {p}: {verdict}."


def _equals(p: float | None) -> str:
    text = format_p(p)
    return text if text.startswith("<") or p is None else f"= {text}"


def _leak(sweep: SweepResult) -> str:
    if sweep.observer is None:
        return ""
    return (
        f"{sweep.label} is above the {OBSERVER} on the same patients by {format_difference(sweep.observer.difference)} "
        "AUC, more than the interval allows: something leaks. Find it before believing a number of this study."
    )


def _notes(study: StudyResult) -> list[str]:
    notes = [
        "Configuration, checkpoint and threshold were chosen on validation; the holdout was scored once for each "
        "promoted checkpoint. A validation AUC is the best of many trials and therefore flatters.",
        "A difference within its interval is no evidence, in either direction. The p values are not corrected for the "
        "number of tests.",
    ]
    if scored := [sweep.holdout for sweep in study.sweeps if sweep.holdout and sweep.holdout.auc]:
        widths = [result.auc.interval.high - result.auc.interval.low for result in scored if result.auc]
        patients = {patient for result in scored for patient in result.scores.patients}
        width = f"{min(widths):.2f}"
        if len(widths) > 1:
            width += f" to {max(widths):.2f}"
        notes.insert(
            1,
            f"The holdout has {len(patients)} patients with a score. 95 % intervals of a holdout AUC are {width} wide.",
        )
        if any(result.unit == "hemisphere" for result in scored):
            notes.append(
                "Where hemispheres are scored, AUC intervals and tests count both of a patient as one observation; "
                "those of sensitivity, specificity and accuracy (Wilson) count them as two."
            )
    if failed := sum(len(sweep.ledger.with_status("failed")) for sweep in study.sweeps):
        notes.append(
            f"{failed} of {sum(len(s.ledger.trials) for s in study.sweeps)} trials failed; they are listed below."
        )
    if any(sweep.observer for sweep in study.sweeps):
        notes.append(
            f"The {OBSERVER} classifies features measured in the true lesion, scored out of fold: what a network can "
            "hope for, though not a strict bound."
        )
    if study.readers:
        notes.append("A reader's DWI-FLAIR mismatch counts as a call for an onset less than 4.5 h before the MRI.")
    return notes


def _test_cells(test: PairedTest) -> tuple[str, ...]:
    z = NOTHING if test.difference.z is None else _signed(test.difference.z, digits=2)
    p = format_p(test.difference.p)
    return (test.question.name, test.first, test.second, str(test.n), format_difference(test.difference), z, p)


def _sweep_cells(sweep: SweepResult) -> tuple[str, ...]:
    ledger = sweep.ledger
    counts = [len(ledger.with_status(status)) for status in ("finished", "pruned", "failed", None)]
    weights = f"best of {sweep.spec['upstream']}" if sweep.spec.get("upstream") else str(sweep.spec.get("weights", ""))
    return (
        sweep.name,
        ", ".join(sweep.arms),
        weights or NOTHING,
        sweep.state,
        str(sweep.spec.get("trials", NOTHING)),
        *map(str, counts),
        str(sum(len(trial.recovered) for trial in ledger.trials.values())),
        _hours(list(ledger.trials.values())),
    )


def _hours(trials: list[TrialEntry]) -> str:
    """From the first trial asked to the last ended, in words."""
    ended = [trial.ended_s for trial in trials if trial.ended_s is not None]
    if not ended:
        return NOTHING
    minutes = (max(ended) - min(trial.asked_s for trial in trials)) / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _failures(sweep: SweepResult) -> list[str]:
    """A line for each reason, with the trials that failed of it."""
    trials: dict[str, list[str]] = {}
    for trial in sweep.ledger.with_status("failed"):
        trials.setdefault(trial.error or "no reason recorded", []).append(trial.name)
    return [f"{sweep.name}, {', '.join(names)}: {error}" for error, names in trials.items()]


def _configurations(study: StudyResult) -> dict[str, Any]:
    """Hyperparameters down, sweeps across."""
    chosen = [(sweep, sweep.best) for sweep in study.sweeps if sweep.best]
    names = sorted({name for _, best in chosen for name in best.facts["hyperparameters"]})
    rows = [("trial", [str(best.facts["trial"]) for _, best in chosen])]
    rows.append(("best epoch", [str(best.facts.get("epoch", NOTHING)) for _, best in chosen]))
    for name in names:
        values = [best.facts["hyperparameters"].get(name, NOTHING) for _, best in chosen]
        rows.append((name, [format_value(value) for value in values]))
    return {"columns": [sweep.label for sweep, _ in chosen], "rows": rows if chosen else []}


def _lineage(study: StudyResult, sweep: SweepResult, promoted: Promoted) -> dict[str, Any]:
    """One promoted checkpoint: what it is and the chain back to its first parent."""
    owners = {other.digest: f"{s.phase} rank {other.rank}" for s in study.sweeps for other in s.promoted}
    chain = promoted.facts.get("lineage", {}).get("chain", [])
    holdout = promoted.holdout.auc if promoted.holdout else None
    return {
        "cells": (
            sweep.label,
            str(promoted.rank),
            str(promoted.facts["trial"]),
            format_number(promoted.value),
            format_auc(holdout),
        ),
        "digest": promoted.digest,
        "chain": [{"who": owners.get(digest, "unknown"), "digest": str(digest)} for digest in chain],
    }


def _signed(value: float, *, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
