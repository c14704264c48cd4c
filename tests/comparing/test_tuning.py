"""What a knob was worth: found where it is, with an interval where there are seeds, silent where nothing tells."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tests.comparing.conftest import BOUNDS
from tissueclock.comparing.report import write_report
from tissueclock.comparing.study_results import read_results
from tissueclock.comparing.tuning import find_contrasts, find_handovers, measure_importances
from tissueclock.comparing.tuning_figures import draw_transfer, draw_tuning
from tissueclock.storage.ledger import LedgerState, TrialEntry

SWEEP = "tss_4h5-22aa22aa"


def with_trials(sweep, values):
    """The sweep with other trials: hyperparameters and the value of each."""
    ledger = LedgerState(facts=sweep.ledger.facts)
    for i, (hyperparameters, value) in enumerate(values):
        entry = TrialEntry(f"t{i:04d}", hyperparameters, i, 0.0, status="finished")
        entry.metrics[1] = {"best_value": value, "epoch_s": 3.6}
        ledger.trials[entry.name] = entry
    return replace(sweep, ledger=ledger)


def test_importance_is_found_where_it_is(study):
    generator = np.random.default_rng(0)
    drawn = [
        {"lr": float(10 ** generator.uniform(-5, -1)), "dropout": float(10 ** generator.uniform(-5, -1))}
        for _ in range(40)
    ]
    sweep = with_trials(study.sweeps[0], [(h, 0.7 - 0.05 * abs(np.log10(h["lr"]) + 3)) for h in drawn])
    found = measure_importances(sweep, {"lr": BOUNDS["lr"], "dropout": BOUNDS["lr"]})
    assert [importance.knob for importance in found] == ["lr", "dropout"]
    assert found[0].low > 0.8
    assert sum(importance.share for importance in found) == pytest.approx(1.0, abs=1e-6)
    assert measure_importances(with_trials(sweep, [(h, 0.5) for h in drawn]), BOUNDS) == ()  # all alike
    assert measure_importances(with_trials(sweep, [(h, h["lr"]) for h in drawn[:5]]), BOUNDS) == ()  # too few


def test_a_contrast_is_paired_by_seed(finished):
    kept, changed = (0.81, 0.84, 0.79), (0.78, 0.83, 0.75)
    with finished.open_ledger(SWEEP) as writer:
        for i in (1, 2, 3):
            for name, value, more in (
                (f"t0001c{i}", kept[i - 1], {}),
                (f"t0001c{i}-freeze_depth", changed[i - 1], {"changed": "freeze_depth"}),
            ):
                writer.append(
                    "asked", trial=name, confirms="t0001", seed=i, hyperparameters={"freeze_depth": 0}, **more
                )
                metrics = {"epoch": 1.0, "best_value": value, "epoch_s": 36.0}
                writer.append("reported", trial=name, epoch=1, metrics=metrics)
                writer.append("ended", trial=name, status="finished")
    sweep = next(sweep for sweep in read_results(finished.folder).sweeps if sweep.name == SWEEP)
    assert sweep.ledger.confirmed("t0001") == list(kept)  # what was changed confirms nothing
    (contrast,) = find_contrasts(sweep)
    expected = ttest_rel(kept, changed).confidence_interval(0.95)
    assert (contrast.knob, contrast.n, contrast.changed) == ("freeze_depth", 3, 0)
    assert contrast.difference.value == pytest.approx(np.mean(kept) - np.mean(changed))
    assert (contrast.difference.interval.low, contrast.difference.interval.high) == pytest.approx(
        (expected.low, expected.high)
    )
    assert contrast.hours == pytest.approx(0.03)
    assert "What was tuned, and what it was worth" in write_report(finished.folder).page.read_text()


def test_handovers_tell_which_parent_won(study):
    found = {handover.sweep: handover for handover in find_handovers(study)}
    sweep = next(sweep for sweep in study.sweeps if sweep.name == SWEEP)
    handover = found[sweep.label]
    best = max(sweep.ledger.with_status("finished", "pruned"), key=lambda trial: trial.best_value)
    assert handover.winner == best.hyperparameters["parent"]
    assert sum(n for n, _, _ in handover.parents.values()) == 11  # of 12 trials one failed
    assert handover.tau.interval.low <= handover.tau.value <= handover.tau.interval.high


def test_figures_of_tuning_show_every_trial_and_every_line(study):
    sweep = next(sweep for sweep in study.sweeps if sweep.name == SWEEP)
    figure = draw_tuning(sweep, BOUNDS)
    slices = [panel for panel in figure.axes if panel.get_xlabel() in BOUNDS]
    assert {panel.get_xlabel() for panel in slices} == set(BOUNDS) - {"batch_size"}
    assert {len(panel.collections[0].get_offsets()) for panel in slices} == {11}
    assert {panel.get_xscale() for panel in slices if panel.get_xlabel() == "lr"} == {"log"}
    assert draw_tuning(sweep, {}) is None
    lines = draw_transfer(study).axes[0].get_lines()
    assert len(lines) == 6  # two checkpoints of three phases of the chain have a parent
