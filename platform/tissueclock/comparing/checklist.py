"""What a manuscript must tell (TRIPOD+AI, CLAIM), as far as the study itself does; the rest is for its author.

References:
    Collins et al. 2024, doi 10.1136/bmj-2023-078378 (TRIPOD+AI).
    Mongan et al. 2020, doi 10.1148/ryai.2020200029 (CLAIM).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tissueclock.comparing.formats import format_auc, format_estimate, format_number
from tissueclock.comparing.results import StudyResult, SweepResult
from tissueclock.lineage import describe_code


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the checklist.

    Attributes:
        number: The checklist's.
        topic: What it asks for, short.
        told: What the study tells of it; empty where the author has to.
    """

    number: str
    topic: str
    told: str


def fill_checklists(study: StudyResult) -> dict[str, tuple[Item, ...]]:
    """The items of each checklist, by its name and in their order, with what this study tells of each."""
    return {
        name: tuple(Item(number, topic, told[number](study) if number in told else "") for number, topic in items)
        for name, items, told in (("TRIPOD+AI", _TRIPOD, _TOLD_TRIPOD), ("CLAIM", _CLAIM, _TOLD_CLAIM))
    }


_TRIPOD = (
    ("1", "title"),
    ("2", "abstract"),
    ("3", "background: context, intended use, inequalities between groups"),
    ("4", "objectives: development or evaluation"),
    ("5", "data: sources, dates"),
    ("6", "participants: setting, eligibility, treatments"),
    ("7", "data preparation"),
    ("8", "outcome: definition, assessment, blinding"),
    ("9", "predictors: choice, definition, assessment"),
    ("10", "sample size"),
    ("11", "missing data"),
    ("12a", "analytical methods: how data were partitioned"),
    ("12b", "how predictors were handled"),
    ("12c", "type of model, building, hyperparameters, internal validation"),
    ("12d", "heterogeneity between clusters (sites)"),
    ("12e", "measures of performance"),
    ("12f", "model updating"),
    ("12g", "how predictions of the evaluated model were made"),
    ("13", "class imbalance"),
    ("14", "fairness"),
    ("15", "model output and thresholds"),
    ("16", "differences between training and evaluation data"),
    ("17", "ethical approval"),
    ("18", "open science: funding, interests, protocol, registration, data, code"),
    ("19", "patient and public involvement"),
    ("20", "participants: flow, characteristics"),
    ("21", "model development: numbers of participants and outcome events"),
    ("22", "model specification"),
    ("23a", "performance, with intervals, also in subgroups"),
    ("23b", "heterogeneity of performance between clusters"),
    ("24", "model updating: results"),
    ("25", "interpretation"),
    ("26", "limitations"),
    ("27", "usability: use in care, expertise needed, next steps"),
)

_CLAIM = (
    ("1", "title: that it is artificial intelligence"),
    ("2", "summary"),
    ("3", "background: clinical role"),
    ("4", "objectives and hypotheses"),
    ("5", "prospective or retrospective"),
    ("6", "goal of the study"),
    ("7", "data sources"),
    ("8", "eligibility: how, where and when patients were found"),
    ("9", "preprocessing"),
    ("10", "subsets of the data"),
    ("11", "definitions of data elements"),
    ("12", "de-identification"),
    ("13", "missing data"),
    ("14", "reference standard: definition"),
    ("15", "reference standard: why this one"),
    ("16", "annotations: source, annotators' qualifications"),
    ("17", "annotation tools"),
    ("18", "variability between and within raters"),
    ("19", "sample size"),
    ("20", "partitions: how data were assigned"),
    ("21", "partitions: at which level they are disjoint"),
    ("22", "model: inputs, outputs, layers"),
    ("23", "software libraries"),
    ("24", "initial parameters"),
    ("25", "training: augmentation, hyperparameters, number of models"),
    ("26", "how the final model was selected"),
    ("27", "ensembling"),
    ("28", "metrics of performance"),
    ("29", "statistical significance and uncertainty"),
    ("30", "robustness, sensitivity analysis"),
    ("31", "explainability"),
    ("32", "testing on external data"),
    ("33", "flow of participants"),
    ("34", "demographic and clinical characteristics of each partition"),
    ("35", "performance on all partitions"),
    ("36", "diagnostic accuracy and its precision"),
    ("37", "failure analysis"),
    ("38", "limitations"),
    ("39", "implications for practice"),
    ("40", "registration"),
    ("41", "where the protocol is"),
    ("42", "funding, role of funders"),
)


def _objectives(study: StudyResult) -> str:
    asked = ", ".join(question.name for question in study.questions)
    return f"development, with evaluation on patients held out from the same cohort: {asked}" if asked else ""


def _partition(study: StudyResult) -> str:
    if study.cohort is None:
        return ""
    counts = ", ".join(f"{n} {split}" for split, n in study.cohort.n_patients.items())
    return (
        f"by patient, stored and hashed before any training ({counts} patients; split {study.cohort.split_digest[:12]})"
    )


def _building(study: StudyResult) -> str:
    told = [_one_building(sweep) for sweep in study.sweeps if sweep.ledger.trials]
    return "; ".join(told)


def _one_building(sweep: SweepResult) -> str:
    spec: Mapping[str, Any] = sweep.ledger.facts.get("spec", {})
    network = sweep.spec.get("network") or {}
    parts = [f"{sweep.label}: network {network.get('kind', 'not known')}", f"{len(sweep.ledger.trials)} configurations"]
    if searcher := spec.get("searcher"):
        parts.append(f"searched by {searcher}")
    if (folds := spec.get("folds", 1)) > 1:
        parts.append(f"{folds} folds")
    return ", ".join(parts)


def _measures(study: StudyResult) -> str:
    return (
        "AUC (DeLong, and over resampled patients), AUPRC, sensitivity, specificity, PPV and NPV at the threshold of "
        "validation, calibration in the large, slope, Brier score, net benefit; paired tests with Holm's adjustment, "
        f"equivalence within {study.margin:g}"
    )


def _imbalance(study: StudyResult) -> str:
    shares = [
        f"{sweep.label}: {sweep.holdout.scores.n_positive} of {len(sweep.holdout.scores.units)} positive"
        for sweep in study.sweeps
        if sweep.holdout
    ]
    return "on the holdout, " + "; ".join(shares) if shares else ""


def _fairness(study: StudyResult) -> str:
    n = sum(len(groups) for groups in study.subgroups.values())
    return f"AUC of {n} kinds of patients is in this report" if n else ""


def _output(study: StudyResult) -> str:
    told = [f"{sweep.label}: logit {format_number(sweep.holdout.threshold)}" for sweep in study.sweeps if sweep.holdout]
    return (
        "a logit; calls from a threshold that maximises Youden's J on validation (" + "; ".join(told) + ")"
        if told
        else ""
    )


def _code(study: StudyResult) -> str:
    codes = dict.fromkeys(describe_code(code) for sweep in study.sweeps for code in sweep.ledger.codes)
    return "code: " + ", ".join(codes) if codes else ""


def _characteristics(study: StudyResult) -> str:
    return (
        "table of the patients in this report; who was left out before packing stands in qc.tsv and failed.tsv"
        if study.characteristics
        else ""
    )


def _numbers(study: StudyResult) -> str:
    onset = [row for row in study.characteristics if row.name.startswith("onset <")]
    return "; ".join(f"{row.name}: " + ", ".join(f"{n} {split}" for split, n in row.values.items()) for row in onset)


def _specification(study: StudyResult) -> str:
    shown = [f"{sweep.label}: weights {sweep.best.digest[:12]}" for sweep in study.sweeps if sweep.best]
    return "; ".join(shown)


def _performance(study: StudyResult) -> str:
    told = []
    for sweep in study.sweeps:
        if sweep.holdout and sweep.holdout.auc:
            slope = sweep.holdout.calibration.slope if sweep.holdout.calibration else None
            told.append(f"{sweep.label}: AUC {format_auc(sweep.holdout.auc)}, slope {format_estimate(slope)}")
    return "; ".join(told)


def _raters(study: StudyResult) -> str:
    told = [
        f"{question.name}: {found.n_readers} readers, {found.n} patients, Fleiss' kappa {format_estimate(found.kappa)}"
        for question, found in study.agreement.items()
    ]
    return "between raters, " + "; ".join(told) if told else ""


def _software(study: StudyResult) -> str:
    found = [sweep.ledger.facts.get("lineage", {}).get("environment", {}) for sweep in study.sweeps]
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in facts.items() if name != "hostname")
        for facts in found
        if facts
    )
    return "; ".join(versions)


def _first_weights(study: StudyResult) -> str:
    return "; ".join(f"{sweep.label}: {sweep.first_weights}" for sweep in study.sweeps)


def _selection(study: StudyResult) -> str:
    confirmed = [sweep.label for sweep in study.sweeps if sweep.best and sweep.best.confirmed]
    again = f"; learned again from fresh seeds before that: {', '.join(confirmed)}" if confirmed else ""
    return f"the best validation AUC of a sweep, the holdout unseen{again}" if study.sweeps else ""


def _looks(study: StudyResult) -> str:
    told = [
        f"{sweep.label}: {looks.kind}" + (", against permuted weights" if looks.hit_permuted else "")
        for sweep in study.sweeps
        if (looks := sweep.best.looks if sweep.best else None)
    ]
    return "; ".join(told)


def _replicas(_: StudyResult) -> str:
    return "each promoted checkpoint scored the holdout once; of several replicas the mean logit counts"


_TOLD_TRIPOD: Mapping[str, Callable[[StudyResult], str]] = {
    "4": _objectives,
    "12a": _partition,
    "12c": _building,
    "12e": _measures,
    "12g": _replicas,
    "13": _imbalance,
    "14": _fairness,
    "15": _output,
    "18": _code,
    "20": _characteristics,
    "21": _numbers,
    "22": _specification,
    "23a": _performance,
}

_TOLD_CLAIM: Mapping[str, Callable[[StudyResult], str]] = {
    "4": _objectives,
    "18": _raters,
    "20": _partition,
    "21": lambda _: "patients",
    "22": _specification,
    "23": _software,
    "24": _first_weights,
    "25": _building,
    "26": _selection,
    "27": _replicas,
    "28": _measures,
    "31": _looks,
    "34": _characteristics,
    "36": _performance,
}
