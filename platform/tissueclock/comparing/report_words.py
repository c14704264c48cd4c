"""The report's words: what was run, what to take, how far to trust it."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from markupsafe import Markup

from tissueclock.comparing.formats import (
    format_auc,
    format_difference,
    format_digest,
    format_equals,
    format_estimate,
    format_interval,
    format_number,
    format_signed,
    format_value,
)
from tissueclock.comparing.looks import MANY
from tissueclock.comparing.observers import OBSERVER, Agreement
from tissueclock.comparing.results import ComparedQuestion, PairedTest, StudyResult, SweepResult
from tissueclock.comparing.statistics import Interval, normal_z
from tissueclock.comparing.verdict import state_verdict
from tissueclock.lineage import describe_code


def describe_study(study: StudyResult, *, look: int) -> dict[str, Any]:
    """Everything that the template shows beside tables and figures.

    Args:
        study: What was run.
        look: Which look at this holdout the report is; 0 where that is not known.
    """
    return {
        "study": study.name,
        "verdict": state_verdict(study),
        "agreements": {question.name: _agreement(found) for question, found in study.agreement.items()},
        "banner": _banner(study),
        "facts": _facts(study),
        "decisions": [_decision(study, question) for question in study.questions],
        "leaks": [_leak(sweep) for sweep in study.sweeps if sweep.observer and sweep.observer.leaks],
        "worn": _worn(look) if look >= MANY else "",
        "notes": [*_notes(study), *([_worn(look)] if 0 < look < MANY else [])],
        "gaps": list(study.gaps),
        "failures": [failure for sweep in study.sweeps for failure in _failures(sweep)],
    }


def _banner(study: StudyResult) -> str:
    if study.cohort is None:
        return "The cohort is not at hand: whether its patients are real or simulated cannot be told from here."
    return "Numbers are from a phantom cohort, not from patients." if study.cohort.is_phantom else ""


def _facts(study: StudyResult) -> list[tuple[str, str | Markup]]:
    """What was run: name and value."""
    opened = [sweep.ledger.facts.get("lineage", {}) for sweep in study.sweeps if sweep.ledger.facts]
    facts = [("arms", ", ".join(dict.fromkeys(arm for sweep in study.sweeps for arm in sweep.arms)))]
    if study.cohort:
        source = _in_words(study.cohort.source)
        counts = ", ".join(f"{n} {split}" for split, n in study.cohort.n_patients.items())
        facts.append(("cohort", f"{study.cohort.name} ({source})" if source else study.cohort.name))
        unknown = f"; of {n} onset or side is not known" if (n := study.cohort.n_unknown) else ""
        facts.append(("patients", f"{sum(study.cohort.n_patients.values())}: {counts}{unknown}"))
    facts.append(("seed", str(study.seed)))
    for name, key in (("cohort digest", "cohort"), ("split digest", "split")):
        digests = dict.fromkeys(str(lineage[key]) for lineage in opened if key in lineage)
        facts.extend((name, format_digest(digest)) for digest in digests)
    codes = dict.fromkeys(describe_code(code) for sweep in study.sweeps for code in sweep.ledger.codes)
    facts.extend(("code", code) for code in codes)
    return facts


def _in_words(facts: Mapping[str, Any]) -> str:
    """Facts in a row, those within facts in brackets."""
    words = [
        f"{key.replace('_', ' ')} ({_in_words(value)})"
        if isinstance(value, Mapping)
        else f"{key.replace('_', ' ')} {format_value(value)}"
        for key, value in facts.items()
    ]
    return ", ".join(words)


def _agreement(found: Agreement) -> str:
    return (
        f"{found.n_readers} readers read the same {found.n} patients: Fleiss' kappa {format_estimate(found.kappa)} "
        "(95 % CI)."
    )


def _decision(study: StudyResult, question: ComparedQuestion) -> dict[str, Any]:
    chosen = study.chosen(question)
    if chosen is None or chosen.best is None or chosen.holdout is None or chosen.holdout.auc is None:
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
    p = format_equals(test.difference.p)
    against = f"Against {other}: {format_signed(difference)} AUC {format_interval(ends)}, p {p}"
    if test.verdict is None:
        differs = "more than chance explains" if ends.low > 0 or ends.high < 0 else "no evidence of a difference"
        return f"{against}: {differs}."
    better = {"first is better": sign > 0, "second is better": sign < 0}.get(test.verdict)
    words = test.verdict if better is None else "better" if better else "worse"
    return f"{against}, after Holm {format_equals(test.p_holm)}: {words}."


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
        "Holm's p values are adjusted for all tests between networks of one question. Undecided is no evidence, in "
        f"either direction. Equivalent: two one-sided tests say that AUCs differ by less than {study.margin:g}, the "
        "margin of the study.",
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
    notes += [_flattery(sweep) for sweep in study.sweeps if sweep.holdout and sweep.holdout.validation]
    notes += [
        f"{sweep.label}: the promoted configuration reached {fmean(again):.3f} on validation from {len(again)} fresh "
        f"seeds, where the search had {sweep.best.value:.3f}: choosing the best of many flattered it by "
        f"{format_signed(sweep.best.value - fmean(again))}."
        for sweep in study.sweeps
        if sweep.best and (again := sweep.best.confirmed) and {*again} != {sweep.best.value}  # else nothing is drawn
    ]
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


def _worn(look: int) -> str:
    text = (
        f"This is look {look} at this holdout: so many sets of scores of it were reported, by this and other studies."
    )
    if look >= MANY:
        text += " What was changed in their light was chosen on the holdout too: its numbers flatter by now."
    return text


def _flattery(sweep: SweepResult) -> str:
    """By how much the winner's validation AUC was above its holdout AUC: other patients, so variances add."""
    holdout = sweep.holdout
    if holdout is None or holdout.auc is None or holdout.validation is None:
        return f"{sweep.label}: how much validation flattered cannot be told."
    excess = holdout.validation.auc - holdout.auc.auc
    half = normal_z() * math.sqrt(holdout.validation.variance + holdout.auc.variance)
    return (
        f"{sweep.label}: AUC {holdout.validation.auc:.3f} on the patients that chose it, {holdout.auc.auc:.3f} on the "
        f"holdout: flattered by {format_signed(excess)} {format_interval(Interval(excess - half, excess + half))}."
    )


def _failures(sweep: SweepResult) -> list[str]:
    """A line for each reason, with the trials that failed of it."""
    trials: dict[str, list[str]] = {}
    for trial in sweep.ledger.with_status("failed"):
        trials.setdefault(trial.error or "no reason recorded", []).append(trial.name)
    return [f"{sweep.name}, {', '.join(names)}: {error}" for error, names in trials.items()]
