"""The verdict: some sentences on the last onset question, of which the first names what validation chose."""

from tissueclock.comparing.formats import format_auc, format_equals, format_interval, format_signed
from tissueclock.comparing.observers import MAJORITY, ReaderResult
from tissueclock.comparing.results import ComparedQuestion, PairedTest, StudyResult, SweepResult, choose
from tissueclock.comparing.statistics import Interval


def state_verdict(study: StudyResult) -> list[str]:
    """What the study found: what was chosen and its worth, phases against scratch, against radiomics and readers.

    Returns:
        Sentences; one that says so where nothing has been scored.
    """
    question = _asked(study)
    chosen = study.chosen(question) if question else None
    if question is None or chosen is None:
        return ["No checkpoint has been scored on the holdout yet: there is no verdict."]
    return [_worth(chosen), _phases(study, question), *_radiomics(study, question), _readers(study, question)]


def _asked(study: StudyResult) -> ComparedQuestion | None:
    """The last onset question with a score, else the last question with one."""
    scored = [question for question in study.questions if study.chosen(question)]
    onsets = [question for question in scored if question.onset_before_min is not None]
    return next(reversed(onsets or scored), None)


def _worth(chosen: SweepResult) -> str:
    holdout = chosen.holdout
    if holdout is None or holdout.auc is None:
        return f"{chosen.question.name}: the holdout holds one class only, so no network can be judged on it."
    inside = holdout.attention_in_lesion
    looks = "" if inside is None else f"; {inside:.0%} of its attention lies in the lesion"
    return (
        f"{chosen.question.name}: validation chose {chosen.label}, which reaches a holdout AUC of "
        f"{format_auc(holdout.auc)} on {len(holdout.scores.units)} {holdout.unit}s "
        f"({holdout.scores.n_positive} positive){looks}."
    )


def _phases(study: StudyResult, question: ComparedQuestion) -> str:
    """The phased network that validation prefers, against the scratch arm of the same phase and network."""
    of = {sweep.label: sweep for sweep in study.of_question(question)}
    pairs = [
        (phased, scratch, test)
        for test in study.tests
        if test.question == question and test.verdict is not None and test.first in of and test.second in of
        for phased, scratch in [(of[test.first], of[test.second]), (of[test.second], of[test.first])]
        if phased.spec.get("upstream") and scratch.spec.get("weights") == "random"
        if phased.spec.get("network") == scratch.spec.get("network")
    ]
    if not pairs:
        return "Phased training was not compared with training from random weights."
    phased, scratch, test = max(pairs, key=lambda pair: _value(pair[0]))
    return f"Phased training ({phased.label}) against random weights ({scratch.label}): {_told(test, phased, study)}."


def _radiomics(study: StudyResult, question: ComparedQuestion) -> list[str]:
    """The network that validation prefers, against the radiomics baseline that it prefers; nothing without one."""
    asked = study.of_question(question)
    network = choose(sweep for sweep in asked if not sweep.is_radiomics)
    baseline = choose(sweep for sweep in asked if sweep.is_radiomics)
    if network is None or baseline is None:
        return []
    test = next((t for t in study.tests if {t.first, t.second} == {network.label, baseline.label}), None)
    if test is None:
        return [f"Radiomics ({baseline.label}) and networks have no patients in common."]
    return [f"The best network ({network.label}) against radiomics ({baseline.label}): {_told(test, network, study)}."]


def _value(sweep: SweepResult) -> float:
    return sweep.best.value if sweep.best else 0.0


def _told(test: PairedTest, ours: SweepResult, study: StudyResult) -> str:
    """A test, from the side of one of its two."""
    sign = 1 if test.first == ours.label else -1
    interval = test.difference.interval
    ends = interval if sign > 0 else Interval(-interval.high, -interval.low)
    return (
        f"{format_signed(sign * test.difference.difference)} AUC {format_interval(ends)}, "
        f"p {format_equals(test.p_holm)} after Holm: {_words(test, sign, study.margin)}"
    )


def _words(test: PairedTest, sign: int, margin: float) -> str:
    if test.verdict == "equivalent":
        return f"equivalent within {margin:g}"
    if test.verdict == "undecided":
        return f"undecided: neither a difference nor its absence (within {margin:g}) is shown"
    better = (test.verdict == "first is better") == (sign > 0)
    return "better" if better else "worse"


def _readers(study: StudyResult, question: ComparedQuestion) -> str:
    readers = study.readers.get(question, ())
    if not readers:
        return "No readers answered this question on these patients."
    reader = next((reader for reader in readers if reader.name == MAJORITY), readers[0])
    who = "the readers' majority" if reader.name == MAJORITY else reader.name
    chosen = study.chosen(question)
    ours = "radiomics" if chosen is not None and chosen.is_radiomics else "the network"
    return (
        f"At the threshold of validation {ours} alone is right about {reader.against.n_first} of {reader.n} "
        f"patients, {who} alone about {reader.against.n_second} (McNemar p {format_equals(reader.against.p)}): "
        f"{_better(reader, ours, who)}."
    )


def _better(reader: ReaderResult, ours: str, who: str) -> str:
    if reader.against.p >= 0.05:
        return "undecided"
    return f"{ours} is better" if reader.against.n_first > reader.against.n_second else f"{who} is better"
