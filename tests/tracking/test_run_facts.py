from tests.tracking.synthetic import SyntheticSweep
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.run_facts import parameters, sweep_facts, trial_facts
from tissueclock.tracking.sweep_log import SweepLog


def log_of(sweep: SyntheticSweep) -> SweepLog:
    log = SweepLog(sweep.name, sweep.folder)
    log.read()
    return log


def test_what_spans_decades_has_its_logarithm_beside_it() -> None:
    params = parameters({"lr": 1e-3, "final_lr": 0.1, "gamma": 0.01, "weight_decay": 0.0, "dropout": 0.2, "color": 3})
    assert params["log10_lr"] == "-3.0"
    assert params["log10_final_lr"] == "-1.0"
    assert params["log10_gamma"] == "-2.0"
    assert "log10_weight_decay" not in params  # of nothing there is none
    assert not {"log10_dropout", "log10_color"} & set(params)


def test_a_small_fraction_keeps_its_exponent_in_a_narrow_column() -> None:
    assert parameters({"lr": 1.2434732112345e-05})["lr"] == "1.2435e-05"


def test_names_that_mlflow_refuses_are_made_fit() -> None:
    assert parameters({"net:lr": 1e-3}) == {"net_lr": "0.001"}


def test_an_epoch_reported_twice_is_one_step_with_its_first_time(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.ask("t0001")
    sweep.report("t0001", 1)
    first = log_of(sweep).reported_s["t0001", 1]
    sweep.append("recovered", trial="t0001", error="worker lost")
    sweep.report("t0001", 1)
    log = log_of(sweep)
    facts = trial_facts(log, log.state.trials["t0001"], live=True)
    assert {step: facts.point_at(step).time_ms for step in facts.steps} == {1: round(first * 1000)}
    assert facts.tags["recovered"] == "worker lost"


def test_a_sweep_without_a_survivor_is_failed_once_nobody_works_on_it(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.run("t0001", status="failed", error="boom")
    assert sweep_facts(log_of(sweep), live=True).status == "RUNNING"
    assert sweep_facts(log_of(sweep), live=False).status == "FAILED"


def test_a_reopened_sweep_runs_again(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    sweep.run("t0001")
    sweep.close()
    assert sweep_facts(log_of(sweep), live=True).status == "FINISHED"
    sweep.append("reopened")
    assert sweep_facts(log_of(sweep), live=True).status == "RUNNING"


def test_a_torn_line_waits_until_it_is_whole(folder: StudyFolder) -> None:
    sweep = SyntheticSweep(folder, "detection-1")
    log = log_of(sweep)
    with sweep.folder.ledger.open("ab") as stream:
        stream.write(b'{"kind":"closed","time_s":1')
        stream.flush()
        log.read()
        assert not log.state.closed
        stream.write(b"}\n")
    assert log.n_unread() == 1
    log.read()
    assert log.state.closed
