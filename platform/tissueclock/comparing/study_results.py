"""A study folder, finished or not, read to frozen records: sweeps, promoted checkpoints, their holdout scores, tests.

What is not there is named in `gaps`; what is damaged raises. Runs nothing and changes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tissueclock.cohort.store import Cohort
from tissueclock.comparing.holdout import HoldoutResult, judge_holdout
from tissueclock.comparing.looking import read_looks, read_pictures
from tissueclock.comparing.observers import (
    MISMATCH_ONSET_MIN,
    OBSERVER,
    Agreement,
    ObserverScores,
    ReaderResult,
    agree,
    compare_with_observer,
    count_readers,
    read_observer,
)
from tissueclock.comparing.results import (
    CohortFacts,
    ComparedQuestion,
    Completeness,
    Cost,
    PairedTest,
    Promoted,
    StudyResult,
    SweepResult,
    choose,
)
from tissueclock.comparing.statistics import compare_aucs
from tissueclock.comparing.subgroups import (
    Subgroup,
    find_left_out,
    find_subgroups,
    find_without_flair,
    read_characteristics,
    tabulate_cohort,
)
from tissueclock.comparing.testing import adjust_holm, compare_calls, judge_difference
from tissueclock.errors import CohortError
from tissueclock.seeds import derive_seed
from tissueclock.settings import EQUIVALENCE_MARGIN
from tissueclock.storage.folders import StudyFolder, SweepFolder
from tissueclock.storage.ledger import LedgerState, read_ledger

_COMPARED = "val_auc"
"""The objective of the phases that are compared; one that restores volumes answers no question."""


def read_results(folder: StudyFolder, *, margin: float = EQUIVALENCE_MARGIN) -> StudyResult:
    """Reads a study, finished or not.

    Args:
        folder: With at least `graph.json`.
        margin: AUC differences below it do not matter.

    Raises:
        InputError: A file that is there is damaged, or `graph.json` is missing.
    """
    graph = folder.read_graph()
    gaps: list[str] = []
    cohort = _open_cohort(Path(graph["cohort"]), gaps)
    names = list(dict.fromkeys(name for sweeps in graph["arms"].values() for name in sweeps))
    names += [name for name in graph["sweeps"] if name not in names]
    ledgers = {name: read_ledger(folder.sweep(name).ledger) for name in names}
    costs = tuple(_cost(name, graph["sweeps"][name], ledgers[name]) for name in names if ledgers[name].n_lines)
    names = [name for name in names if graph["sweeps"][name].get("objective", _COMPARED) == _COMPARED]
    sweeps = _by_question([_read_sweep(folder.sweep(name), graph, ledgers[name], gaps) for name in names])
    if cohort and (strangers := _swept_on_another(sweeps, cohort.digest)):
        gaps.append(
            f"{cohort.folder} is another cohort now than {', '.join(strangers)} ran on: no observer, no readers"
        )
        cohort = None
    if cohort:
        observer = read_observer(cohort.folder)
        sweeps = tuple(_with_observer(sweep, observer, gaps) for sweep in sweeps)
    if cohort and _has_known_lesions(cohort):
        gaps += [
            f"sweep {sweep.name} was scored before where it looks was told; delete its promoted/*/holdout.json and run "
            "tissueclock sweep again"
            for sweep in sweeps
            if sweep.holdout and sweep.best and not sweep.best.looks
        ]
    known = read_characteristics(cohort) if cohort else {}
    return StudyResult(
        name=str(graph["study"]),
        seed=int(graph["seed"]),
        cohort=_cohort_facts(cohort) if cohort else None,
        sweeps=sweeps,
        readers=_readers(sweeps, cohort) if cohort else {},
        tests=_tests(sweeps, margin),
        gaps=tuple(gaps),
        costs=costs,
        agreement=_agreement(sweeps, cohort) if cohort else {},
        subgroups=_subgroups(sweeps, known, cohort) if cohort else {},
        characteristics=tabulate_cohort(cohort, known) if cohort else (),
        margin=margin,
    )


def _cost(name: str, spec: Mapping[str, Any], ledger: LedgerState) -> Cost:
    """What a sweep was to cost and has cost."""
    return Cost(name, tuple(spec["arms"]), ledger.unit, ledger.bill.get("hours"), ledger.device_s / 3600)


def _read_sweep(folder: SweepFolder, graph: Mapping[str, Any], ledger: LedgerState, gaps: list[str]) -> SweepResult:
    name = folder.path.name
    spec = graph["sweeps"][name]
    state: Completeness = "complete" if ledger.closed else "incomplete" if ledger.n_lines else "not started"
    if state == "not started":
        gaps.append(f"sweep {name} has not been started")
    elif state == "incomplete":
        n_open = len(ledger.with_status(None))
        gaps.append(f"sweep {name} is not complete" + (f": {n_open} trials have not ended" if n_open else ""))
    if spec.get("error"):
        gaps.append(f"sweep {name}: {spec['error']}")
    promoted = tuple(_read_promoted(folder, rank, ledger, int(graph["seed"]), gaps) for rank in sorted(ledger.promoted))
    question = _question(spec, promoted[0].holdout if promoted else None)
    return SweepResult(name, spec["phase"], tuple(spec["arms"]), question, spec, state, ledger, promoted)


def _question(spec: Mapping[str, Any], holdout: HoldoutResult | None) -> ComparedQuestion:
    """What was asked, as the scores say or, before scoring, as the phase promised (a graph of 0.1 has no promises)."""
    unit = holdout.unit if holdout else spec.get("unit")
    cut = holdout.onset_before_min if holdout else spec.get("onset_before_min")
    if cut:
        each = ", each hemisphere" if unit == "hemisphere" else ""
        return ComparedQuestion(f"onset < {cut / 60:g} h{each}", unit, float(cut))
    return ComparedQuestion(spec.get("title") or spec["phase"].replace("_", " "), unit)


def _read_promoted(folder: SweepFolder, rank: int, ledger: LedgerState, seed: int, gaps: list[str]) -> Promoted:
    where, line = folder.promoted(rank), ledger.promoted[rank]
    trial = ledger.trials.get(line["trial"])
    facts: dict[str, Any] = {"trial": line["trial"], "hyperparameters": trial.hyperparameters if trial else {}}
    if where.trial.is_file():
        facts = where.read_trial()
    else:
        gaps.append(f"sweep {folder.path.name}: promoted checkpoint {rank} has no trial.json")
    if (fault := where.fault(line["digest"])) is not None:
        gaps.append(
            f"sweep {folder.path.name}: {fault}; tissueclock sweep mends it where the trial's own folder is whole"
        )
    holdout = None
    if where.holdout.is_file():
        generator = np.random.default_rng(derive_seed(seed, "bootstrap", folder.path.name)) if rank == 1 else None
        holdout = judge_holdout(where, generator=generator)
        gaps.extend(holdout.complaints)
        if holdout.auc is None:
            gaps.append(f"sweep {folder.path.name}: the holdout holds one class only, so it has no AUC")
    else:
        gaps.append(f"sweep {folder.path.name}: promoted checkpoint {rank} has not been scored on the holdout")
    promoted = Promoted(rank, str(line["digest"]), float(line["value"]), facts, holdout)
    if holdout is None or rank > 1:
        return promoted
    return replace(promoted, looks=read_looks(where), pictures=read_pictures(where.looks))


def _by_question(sweeps: Sequence[SweepResult]) -> tuple[SweepResult, ...]:
    """Questions stand together, onset after the others, by its cut; a sweep not scored yet has that of its phase's."""
    known = {sweep.phase: sweep.question for sweep in sweeps if sweep.question.unit is not None}
    mended = [replace(sweep, question=known.get(sweep.phase, sweep.question)) for sweep in sweeps]
    questions = sorted(
        dict.fromkeys(sweep.question for sweep in mended),
        key=lambda asked: math.inf if asked.unit is None else asked.onset_before_min or 0.0,
    )
    return tuple(sorted(mended, key=lambda sweep: questions.index(sweep.question)))


def _with_observer(sweep: SweepResult, observer: ObserverScores, gaps: list[str]) -> SweepResult:
    if sweep.holdout is None:
        return sweep
    compared = compare_with_observer(sweep.holdout.scores, observer, onset_before_min=sweep.question.onset_before_min)
    if compared and compared.n_missing:
        gaps.append(f"sweep {sweep.name}: {compared.n_missing} holdout patients have no {compared.column}")
    return replace(sweep, observer=compared)


def _tests(sweeps: Sequence[SweepResult], margin: float) -> tuple[PairedTest, ...]:
    tests = [
        test
        for one, two in combinations(sweeps, 2)
        if one.question == two.question
        and (one.phase == two.phase or set(one.arms) & set(two.arms) or one.is_radiomics != two.is_radiomics)
        and (test := _test(one, two))
    ]
    questions = dict.fromkeys(test.question for test in tests)
    judged = [test for q in questions for test in _judge([t for t in tests if t.question == q], margin)]
    against_observer = [
        PairedTest(s.question, s.label, OBSERVER, len(s.observer.scores.units), s.observer.difference)
        for s in sweeps
        if s.observer
    ]
    return (*judged, *against_observer)


def _judge(family: Sequence[PairedTest], margin: float) -> list[PairedTest]:
    """The tests of one question, each judged in the light of the others."""
    adjusted = adjust_holm([test.difference.p for test in family])
    return [
        replace(test, p_holm=p, verdict=judge_difference(test.difference, p=p, margin=margin))
        for test, p in zip(family, adjusted, strict=True)
    ]


def _test(one: SweepResult, two: SweepResult) -> PairedTest | None:
    if one.holdout is None or two.holdout is None:
        return None
    others = set(two.holdout.scores.units)
    units = tuple(unit for unit in one.holdout.scores.units if unit in others)
    first, second = one.holdout.scores.take(units), two.holdout.scores.take(units)
    if not first.has_both:
        return None
    difference = compare_aucs(first.labels, first.logits, second.logits, patients=first.patients)
    calls = None
    if len(set(first.patients)) == len(units):
        ones, twos = first.logits >= one.holdout.threshold, second.logits >= two.holdout.threshold
        calls = compare_calls(first.labels, ones, twos)
    return PairedTest(one.question, one.label, two.label, len(units), difference, calls)


def _open_cohort(folder: Path, gaps: list[str]) -> Cohort | None:
    try:
        return Cohort.open(folder)
    except CohortError as error:
        gaps.append(f"cohort: {error}; no observer and no readers are shown")
        return None


def _swept_on_another(sweeps: Sequence[SweepResult], digest: str) -> list[str]:
    return [
        sweep.name
        for sweep in sweeps
        if (swept := sweep.ledger.facts.get("lineage", {}).get("cohort")) is not None and swept != digest
    ]


def _has_known_lesions(cohort: Cohort) -> bool:
    """Whether a lesion of a holdout patient is known, so that scoring tells where networks look."""
    masks = cohort.lesion_masks
    return masks is not None and any(bool(masks[row].any()) for row in cohort.split_rows("holdout"))


def _cohort_facts(cohort: Cohort) -> CohortFacts:
    splits = {hemisphere.patient: hemisphere.split for hemisphere in cohort.table}
    return CohortFacts(
        folder=cohort.folder,
        name=cohort.name,
        digest=cohort.digest,
        split_digest=cohort.split_digest,
        source=cohort.source,
        is_phantom=(cohort.folder / "truth").is_dir() or "phantom" in str(dict(cohort.source)).lower(),
        n_patients={split: list(splits.values()).count(split) for split in ("train", "validation", "holdout")},
        n_unknown=sum(not patient.is_scored for patient in cohort.patients),
    )


def _readers(sweeps: Sequence[SweepResult], cohort: Cohort) -> dict[ComparedQuestion, tuple[ReaderResult, ...]]:
    """The readers of each question, beside the network that validation chose for it."""
    results: dict[ComparedQuestion, tuple[ReaderResult, ...]] = {}
    for question in dict.fromkeys(sweep.question for sweep in sweeps):
        chosen = choose(sweep for sweep in sweeps if sweep.question == question)
        if chosen is not None and chosen.holdout is not None:
            results[question] = count_readers(
                chosen.holdout.scores,
                cohort.patients,
                onset_before_min=question.onset_before_min,
                threshold=chosen.holdout.threshold,
            )
    return {question: readers for question, readers in results.items() if readers}


def _agreement(sweeps: Sequence[SweepResult], cohort: Cohort) -> dict[ComparedQuestion, Agreement]:
    found: dict[ComparedQuestion, Agreement] = {}
    for sweep in sweeps:
        if sweep.holdout and sweep.question.onset_before_min == MISMATCH_ONSET_MIN and sweep.question not in found:
            agreement = agree(cohort.patients, set(sweep.holdout.scores.patients))
            if agreement is not None:
                found[sweep.question] = agreement
    return found


def _subgroups(
    sweeps: Sequence[SweepResult], known: Mapping[str, Mapping[str, str]], cohort: Cohort
) -> dict[ComparedQuestion, tuple[Subgroup, ...]]:
    found = {}
    for question in dict.fromkeys(sweep.question for sweep in sweeps if sweep.question.unit == "patient"):
        chosen = choose(sweep for sweep in sweeps if sweep.question == question)
        if known and chosen is not None and chosen.holdout is not None:
            groups = find_subgroups(chosen.holdout.scores, known)
            if (without_flair := chosen.holdout.without_flair) is not None:
                groups += find_without_flair(without_flair)
            if (left_out := chosen.holdout.left_out) is not None:
                groups += find_left_out(left_out, {p.participant_id: p.site for p in cohort.patients})
            found[question] = groups
    return {question: groups for question, groups in found.items() if groups}
