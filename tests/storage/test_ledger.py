"""The ledger: whole lines, one writer, folded the same however it is read."""

import subprocess
import sys
from pathlib import Path

import pytest

from tissueclock.errors import BusyError, InputError, StorageError
from tissueclock.storage.ledger import LedgerReader, LedgerWriter, read_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep" / "ledger.jsonl"


def write_two_trials(path: Path) -> None:
    with LedgerWriter(path) as writer:
        writer.append("opened", sweep="s")
        for name in ("t0001", "t0002"):
            writer.append("asked", trial=name, hyperparameters={"lr": 0.1}, seed=1)
            writer.append("started", trial=name, node="here", epoch=0)
        for epoch, value in enumerate((0.5, 0.7), start=1):
            writer.append("reported", trial="t0001", epoch=epoch, metrics={"best_value": value})
        writer.append("ended", trial="t0001", status="finished")


def test_what_was_appended_is_what_is_read(path: Path) -> None:
    write_two_trials(path)

    ledger = read_ledger(path)

    assert [trial.name for trial in ledger.with_status(None)] == ["t0002"]
    assert ledger.trials["t0001"].best_value == 0.7
    assert ledger.trials["t0001"].last_epoch == 2
    assert not ledger.closed


def test_a_torn_last_line_is_dropped_and_written_over(path: Path) -> None:
    write_two_trials(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"ended","trial":"t00')

    assert read_ledger(path).trials["t0002"].status is None
    with LedgerWriter(path) as writer:
        writer.append("ended", trial="t0002", status="pruned")

    assert path.read_bytes().startswith(whole)
    assert read_ledger(path).trials["t0002"].status == "pruned"


def test_a_reader_that_polls_now_and_then_sees_what_one_that_reads_at_once_sees(path: Path) -> None:
    reader = LedgerReader(path)
    assert reader.poll().n_lines == 0

    write_two_trials(path)
    reader.poll()
    with LedgerWriter(path) as writer:
        writer.append("reopened")
        writer.append("retried", trial="t0001")

    assert reader.poll() == read_ledger(path)


def test_a_second_writer_is_refused_while_the_first_is_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissueclock.storage.ledger._LOCK_WAIT_S", 0.2)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from tissueclock.storage.ledger import LedgerWriter;"
            "w = LedgerWriter(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    with pytest.raises(BusyError, match=r"ledger\.jsonl: another process is writing"):
        LedgerWriter(path)
    holder.kill()
    holder.communicate()
    with LedgerWriter(path) as writer:
        writer.append("opened", sweep="s")


def test_a_line_changed_by_hand_is_named_by_its_byte(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"kind":"opened","time_s":1}\nnot a line\n')

    with pytest.raises(InputError, match=r"ledger\.jsonl: the line that ends at byte 40 is b'not a line"):
        read_ledger(path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "sweep").write_text("a file in the way")

    with pytest.raises(StorageError, match="cannot be written"):
        LedgerWriter(tmp_path / "sweep" / "ledger.jsonl")


def test_a_trial_is_of_the_code_that_last_took_it_up(path: Path) -> None:
    old, new = {"version": "0.1.0"}, {"version": "0.2.0"}
    with LedgerWriter(path) as writer:
        writer.append("opened", lineage={"code": old})
        writer.append("attempt", trials_left=2)  # as 0.1 wrote it
        for name in ("t0001", "t0002"):
            writer.append("asked", trial=name, hyperparameters={}, seed=1)
            writer.append("started", trial=name, node="here", epoch=0)
        writer.append("attempt", trials_left=1, code=new)
        writer.append("started", trial="t0002", node="here", epoch=3)

    ledger = read_ledger(path)

    assert [trial.code for trial in ledger.trials.values()] == [old, new]
    assert ledger.codes == [old, new]


def test_the_cost_is_every_epoch_s_once_at_the_devices_that_trials_took_then(path: Path) -> None:
    with LedgerWriter(path) as writer:
        writer.append("opened", spec={"cpus_per_trial": 2.0, "gpus_per_trial": 0.0})
        writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
        first, second = {"best_value": 0.5, "epoch_s": 10.0}, {"best_value": 0.6, "epoch_s": 11.0}
        writer.append("reported", trial="t0001", epoch=1, metrics=first)
        writer.append("reported", trial="t0001", epoch=1, metrics=first)  # its report may have been lost
        writer.append("billed", hours=3.0, devices=4.0, unit="CPU")
        writer.append("reported", trial="t0001", epoch=2, metrics=second)
        writer.append("reported", trial="t0001", epoch=2, metrics={**second, "epoch_s": 12.0})  # trained once more

    ledger = read_ledger(path)

    assert ledger.device_s == 2 * 10 + 4 * 11 + 4 * 12
    assert (ledger.bill["hours"], ledger.unit) == (3.0, "CPU")


def test_a_retry_begins_an_empty_curve(path: Path) -> None:
    with LedgerWriter(path) as writer:
        writer.append("asked", trial="t0001", hyperparameters={}, seed=1)
        writer.append("reported", trial="t0001", epoch=5, metrics={"best_value": 0.93})
        writer.append("recovered", trial="t0001", error="boom")
        writer.append("ended", trial="t0001", status="failed", error="boom")
        writer.append("retried", trial="t0001")
        trial = writer.state.trials["t0001"]
        assert (trial.best_value, trial.last_epoch, trial.recovered, trial.error) == (None, 0, [], None)
        writer.append("reported", trial="t0001", epoch=1, metrics={"best_value": 0.59})
    again = read_ledger(path).trials["t0001"]
    assert (again.best_value, again.last_epoch) == (0.59, 1)
    assert again.begun_s >= again.asked_s
