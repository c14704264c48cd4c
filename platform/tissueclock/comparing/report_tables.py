"""The small tables of the report: operating points, calibration, readers, tests, sweeps, configurations, lineage."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup

from tissueclock.comparing.calibration import Calibration
from tissueclock.comparing.column import Column
from tissueclock.comparing.formats import (
    NOTHING,
    format_auc,
    format_difference,
    format_digest,
    format_estimate,
    format_interval,
    format_number,
    format_p,
    format_rate,
    format_signed,
    format_value,
)
from tissueclock.comparing.looking import Looks
from tissueclock.comparing.observers import ReaderResult
from tissueclock.comparing.operating import Operating
from tissueclock.comparing.regions import OnRegions
from tissueclock.comparing.results import Cost, PairedTest, Promoted, StudyResult, SweepResult
from tissueclock.comparing.subgroups import MIN_CLASS, SPLITS, Characteristic, Subgroup
from tissueclock.comparing.tuning import Contrast, Handover, Importance
from tissueclock.storage.ledger import Status, TrialEntry


@dataclass(frozen=True, slots=True)
class Heritage:
    """A promoted checkpoint and the chain back to its first parent.

    Attributes:
        sweep: The label of the sweep that promoted it.
        promoted: The checkpoint.
        parents: Digest and who promoted it, first to last.
    """

    sweep: str
    promoted: Promoted
    parents: tuple[tuple[str, str], ...]


def trace_lineage(study: StudyResult) -> list[Heritage]:
    """Every promoted checkpoint with its parents; one that no sweep of the study promoted is called unknown."""
    owners = {promoted.digest: f"{s.phase} rank {promoted.rank}" for s in study.sweeps for promoted in s.promoted}
    return [
        Heritage(
            sweep.label,
            promoted,
            tuple((str(d), owners.get(d, "unknown")) for d in promoted.facts.get("lineage", {}).get("chain", ())),
        )
        for sweep in study.sweeps
        for promoted in sweep.promoted
    ]


def tabulate_configurations(study: StudyResult) -> dict[str, Any]:
    """Hyperparameters down, sweeps across."""
    chosen = [(sweep, sweep.best) for sweep in study.sweeps if sweep.best]
    names = sorted({name for _, best in chosen for name in best.facts["hyperparameters"]})
    rows = [("trial", [str(best.facts["trial"]) for _, best in chosen])]
    rows.append(("best epoch", [str(best.facts.get("epoch", NOTHING)) for _, best in chosen]))
    for name in names:
        values = [best.facts["hyperparameters"].get(name, NOTHING) for _, best in chosen]
        rows.append((name, [format_value(value) for value in values]))
    return {"columns": [sweep.label for sweep, _ in chosen], "rows": rows if chosen else []}


def tabulate_costs(study: StudyResult) -> list[Cost]:
    """The cost of every sweep begun, and of all of a unit together; a sum of bills leaves out what is not known."""
    rows = list(study.costs)
    for unit in dict.fromkeys(cost.unit for cost in rows):
        costs = [cost for cost in study.costs if cost.unit == unit]
        bills = [cost.billed_h for cost in costs if cost.billed_h is not None]
        rows.append(Cost("all", (), unit, sum(bills) if bills else None, sum(cost.spent_h for cost in costs)))
    return rows


def _hours_of(hours: float | None) -> str:
    return NOTHING if hours is None else f"{hours:.3f}"


def _first_weights(sweep: SweepResult) -> str:
    upstream = sweep.spec.get("upstream")
    return f"best of {upstream}" if upstream else str(sweep.spec.get("weights", "")) or NOTHING


def _n_trials(sweep: SweepResult, status: Status | None) -> str:
    return str(len(sweep.ledger.with_status(status)))


def _hours(trials: Sequence[TrialEntry]) -> str:
    """From the first trial asked to the last ended, in words."""
    ended = [trial.ended_s for trial in trials if trial.ended_s is not None]
    if not ended:
        return NOTHING
    minutes = (max(ended) - min(trial.asked_s for trial in trials)) / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _confirmed(sweep: SweepResult) -> str:
    """What the promoted configuration reached from fresh seeds: mean, and how many."""
    values = sweep.best.confirmed if sweep.best else ()
    return f"{format_number(fmean(values))} ({len(values)} seeds)" if values else NOTHING


def _parents(heritage: Heritage) -> str:
    if not heritage.parents:
        return "none: from its first weights"
    return Markup(" → ").join(Markup("{} {}").format(who, format_digest(d)) for d, who in heritage.parents)


def _only_right(test: PairedTest) -> str:
    return f"{test.calls.n_first} / {test.calls.n_second}" if test.calls else NOTHING


def _operating(sweep: SweepResult) -> Operating:
    if sweep.holdout is None or sweep.holdout.operating is None:
        raise AssertionError(f"sweep {sweep.name} has no operating points")
    return sweep.holdout.operating


def _optimistic(sweep: SweepResult) -> str:
    calls = _operating(sweep).optimistic
    rates = [f"{rate.value:.2f}" if rate else NOTHING for rate in (calls.sensitivity, calls.specificity)]
    return " / ".join(rates)


def _calibration(sweep: SweepResult) -> Calibration:
    if sweep.holdout is None or sweep.holdout.calibration is None:
        raise AssertionError(f"sweep {sweep.name} has no calibration")
    return sweep.holdout.calibration


def _without_interval(contrast: Contrast) -> str:
    return "(one seed: no interval)" if contrast.n == 1 else "(the same from every seed: no interval)"


def _looks(sweep: SweepResult) -> Looks:
    if sweep.best is None or sweep.best.looks is None:
        raise AssertionError(f"sweep {sweep.name} does not tell where it looks")
    return sweep.best.looks


def _permuted_range(sweep: SweepResult) -> str:
    """On the hemispheres where it was ranked: its own, and theirs."""
    looks = _looks(sweep)
    if not looks.hit_permuted:
        return NOTHING
    return f"{looks.hit:.2f}: {min(looks.hit_permuted):.2f} to {max(looks.hit_permuted):.2f}"


def _weak(group: Subgroup) -> str:
    return f"fewer than {MIN_CLASS} of a class: tells nothing by itself" if group.is_weak else ""


def _parents_of(handover: Handover) -> str:
    return ", ".join(
        f"{rank}: {n} trials, best {best:.3f}, mean {mean:.3f}" for rank, (n, best, mean) in handover.parents.items()
    )


CONTRAST_COLUMNS: tuple[Column[Contrast], ...] = (
    Column("sweep", lambda contrast: contrast.sweep),
    Column("knob", lambda contrast: contrast.knob),
    Column("winner's", lambda contrast: format_value(contrast.kept, digits=2), is_number=True),
    Column("changed to", lambda contrast: format_value(contrast.changed, digits=2), is_number=True),
    Column("seeds", lambda contrast: str(contrast.n), is_number=True),
    Column("winner: validation AUC", lambda contrast: format_number(contrast.winner), is_number=True),
    Column(
        "winner \N{MINUS SIGN} changed [95 % CI]",
        lambda contrast: (
            f"{format_signed(contrast.mean_difference)} "
            + (format_interval(contrast.difference.interval) if contrast.difference else _without_interval(contrast))
        ),
        is_number=True,
    ),
    Column("cost", lambda contrast: f"{contrast.hours:.3f} {contrast.unit}-h", is_number=True),
    Column("failed", lambda contrast: contrast.failed),
)
IMPORTANCE_COLUMNS: tuple[Column[Importance], ...] = (
    Column("knob", lambda importance: importance.knob),
    Column("share of the variance", lambda importance: f"{importance.share:.2f}", is_number=True),
    Column("over reruns", lambda importance: f"{importance.low:.2f} to {importance.high:.2f}", is_number=True),
)
HANDOVER_COLUMNS: tuple[Column[Handover], ...] = (
    Column("sweep", lambda handover: handover.sweep),
    Column("by the rank of the parent", _parents_of),
    Column("parent of the best", lambda handover: str(handover.winner), is_number=True),
    Column("Kendall's tau [95 % CI]", lambda handover: format_estimate(handover.tau), is_number=True),
)
SUBGROUP_COLUMNS: tuple[Column[Subgroup], ...] = (
    Column("patients", lambda group: group.name),
    Column("n", lambda group: str(group.n), is_number=True),
    Column("positive", lambda group: str(group.n_positive), is_number=True),
    Column("AUC [95 % CI]", lambda group: format_auc(group.auc), is_number=True),
    Column("", _weak),
)
CHARACTERISTIC_COLUMNS: tuple[Column[Characteristic], ...] = (
    Column("", lambda row: row.name),
    *(Column(split, lambda row, split=split: row.values[split], is_number=True) for split in SPLITS),  # type: ignore[misc]
)
REGION_COLUMNS: tuple[Column[OnRegions], ...] = (
    Column("", lambda row: row.who),
    Column("n", lambda row: str(row.n), is_number=True),
    Column("positive", lambda row: str(row.n_positive), is_number=True),
    Column("holdout AUC [95 % CI]", lambda row: format_auc(row.auc), is_number=True),
    Column("sensitivity [95 % CI]", lambda row: format_rate(row.confusion.sensitivity), is_number=True),
    Column("specificity [95 % CI]", lambda row: format_rate(row.confusion.specificity), is_number=True),
)
LOOK_COLUMNS: tuple[Column[SweepResult], ...] = (
    Column("task", lambda sweep: sweep.question.name),
    Column("arm", lambda sweep: sweep.label),
    Column("map", lambda sweep: _looks(sweep).kind),
    Column("with a\nlesion", lambda sweep: str(_looks(sweep).n), is_number=True),
    Column("overlap\n(mean)", lambda sweep: f"{_looks(sweep).overlap:.2f}", is_number=True),
    Column("50 % and more\n[95 % CI]", lambda sweep: format_rate(_looks(sweep).substantial), is_number=True),
    Column("25 to 50 %", lambda sweep: f"{_looks(sweep).moderate.value:.2f}", is_number=True),
    Column("share of the\nbrain looked at", lambda sweep: f"{_looks(sweep).hot:.2f}", is_number=True),
    Column("pointing game\n[95 % CI]", lambda sweep: format_rate(_looks(sweep).hits), is_number=True),
    Column("with permuted weights\n(range)", _permuted_range, is_number=True),
    Column("p", lambda sweep: format_p(_looks(sweep).p), is_number=True),
)
TEST_COLUMNS: tuple[Column[PairedTest], ...] = (
    Column("task", lambda test: test.question.name),
    Column("first", lambda test: test.first),
    Column("second", lambda test: test.second),
    Column("units", lambda test: str(test.n), is_number=True),
    Column(
        "AUC, first \N{MINUS SIGN} second [95 % CI]",
        lambda test: format_difference(test.difference),
        is_number=True,
    ),
    Column(
        "z",
        lambda test: NOTHING if test.difference.z is None else format_signed(test.difference.z, digits=2),
        is_number=True,
    ),
    Column("p", lambda test: format_p(test.difference.p), is_number=True),
    Column("p, Holm", lambda test: format_p(test.p_holm), is_number=True),
    Column("right by one\nalone", _only_right, is_number=True),
    Column("McNemar\np", lambda test: format_p(test.calls.p if test.calls else None), is_number=True),
    Column("verdict", lambda test: test.verdict or NOTHING),
)
OPERATING_COLUMNS: tuple[Column[SweepResult], ...] = (
    Column("task", lambda sweep: sweep.question.name),
    Column("arm", lambda sweep: sweep.label),
    Column("AUPRC [95 % CI]", lambda sweep: format_estimate(_operating(sweep).auprc), is_number=True),
    Column("by chance", lambda sweep: f"{_operating(sweep).prevalence:.2f}", is_number=True),
    Column("PPV [95 % CI]", lambda sweep: format_rate(_operating(sweep).ppv), is_number=True),
    Column("NPV [95 % CI]", lambda sweep: format_rate(_operating(sweep).npv), is_number=True),
    Column(
        "sensitivity at\nspecificity 0.8",
        lambda sweep: format_estimate(_operating(sweep).sensitivity_at[0.8]),
        is_number=True,
    ),
    Column("at 0.9", lambda sweep: format_estimate(_operating(sweep).sensitivity_at[0.9]), is_number=True),
    Column("cut chosen on the holdout:\nsens. / spec. (optimistic)", _optimistic, is_number=True),
)
CALIBRATION_COLUMNS: tuple[Column[SweepResult], ...] = (
    Column("task", lambda sweep: sweep.question.name),
    Column("arm", lambda sweep: sweep.label),
    Column("temperature", lambda sweep: f"{_calibration(sweep).temperature:.2f}", is_number=True),
    Column("in the large\n(right: 0)", lambda sweep: format_estimate(_calibration(sweep).intercept), is_number=True),
    Column("slope\n(right: 1)", lambda sweep: format_estimate(_calibration(sweep).slope), is_number=True),
    Column("Brier score", lambda sweep: format_estimate(_calibration(sweep).brier), is_number=True),
)
READER_COLUMNS: tuple[Column[ReaderResult], ...] = (
    Column("reader", lambda reader: reader.name),
    Column("patients", lambda reader: str(reader.n), is_number=True),
    Column("reader: sensitivity", lambda reader: format_rate(reader.confusion.sensitivity), is_number=True),
    Column("specificity", lambda reader: format_rate(reader.confusion.specificity), is_number=True),
    Column("model: sensitivity", lambda reader: format_rate(reader.network.sensitivity), is_number=True),
    Column("specificity", lambda reader: format_rate(reader.network.specificity), is_number=True),
    Column(
        "right alone:\nmodel / reader",
        lambda reader: f"{reader.against.n_first} / {reader.against.n_second}",
        is_number=True,
    ),
    Column("McNemar p", lambda reader: format_p(reader.against.p), is_number=True),
)
SWEEP_COLUMNS: tuple[Column[SweepResult], ...] = (
    Column("sweep", lambda sweep: sweep.name),
    Column("arm", lambda sweep: ", ".join(sweep.arms)),
    Column("first weights", _first_weights),
    Column("state", lambda sweep: sweep.state),
    Column("asked", lambda sweep: str(sweep.spec.get("trials", NOTHING)), is_number=True),
    Column("finished", lambda sweep: _n_trials(sweep, "finished"), is_number=True),
    Column("pruned", lambda sweep: _n_trials(sweep, "pruned"), is_number=True),
    Column("failed", lambda sweep: _n_trials(sweep, "failed"), is_number=True),
    Column("open", lambda sweep: _n_trials(sweep, None), is_number=True),
    Column(
        "recoveries",
        lambda sweep: str(sum(len(trial.recovered) for trial in sweep.ledger.entries())),
        is_number=True,
    ),
    Column(
        "best on validation", lambda sweep: format_number(sweep.best.value) if sweep.best else NOTHING, is_number=True
    ),
    Column("confirmed", _confirmed, is_number=True),
    Column("time", lambda sweep: _hours(sweep.ledger.entries()), is_number=True),
)
COST_COLUMNS: tuple[Column[Cost], ...] = (
    Column("sweep", lambda cost: cost.sweep),
    Column("arm", lambda cost: ", ".join(cost.arms)),
    Column("unit", lambda cost: f"{cost.unit}-hours"),
    Column("bill, at most", lambda cost: _hours_of(cost.billed_h), is_number=True),
    Column("cost", lambda cost: _hours_of(cost.spent_h), is_number=True),
    Column(
        "cost / bill",
        lambda cost: f"{cost.spent_h / cost.billed_h:.0%}" if cost.billed_h else NOTHING,
        is_number=True,
    ),
)
LINEAGE_COLUMNS: tuple[Column[Heritage], ...] = (
    Column("sweep", lambda heritage: heritage.sweep),
    Column("rank", lambda heritage: str(heritage.promoted.rank), is_number=True),
    Column("trial", lambda heritage: str(heritage.promoted.facts["trial"])),
    Column("validation AUC", lambda heritage: format_number(heritage.promoted.value), is_number=True),
    Column(
        "holdout AUC\n[95 % CI]",
        lambda heritage: format_auc(heritage.promoted.holdout.auc if heritage.promoted.holdout else None),
        is_number=True,
    ),
    Column(
        "attention\nin lesion",
        lambda heritage: format_number(
            heritage.promoted.holdout.attention_in_lesion if heritage.promoted.holdout else None
        ),
        is_number=True,
    ),
    Column("weights", lambda heritage: format_digest(heritage.promoted.digest)),
    Column("parents, first to last", _parents),
)
