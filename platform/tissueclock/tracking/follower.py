"""The follower: a thread that reads a study's ledgers as they grow and keeps MLflow true to them.

The sweep writes its ledgers and knows nothing of this. Whatever happens here stays here: a tracker that is away is
tried again with growing patience, and what was missed is caught up from the ledgers, which are the truth. A driver that
was killed leaves nothing that its successor needs: what is on the tracker is found again by tags.
"""

import contextlib
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissueclock.errors import InputError
from tissueclock.storage.files import read_json, write_json
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.connection import one_line_answer, open_client, prepare_environment
from tissueclock.tracking.relocating import relocate
from tissueclock.tracking.run_facts import StudyStatus
from tissueclock.tracking.sweep_log import SweepLog

if TYPE_CHECKING:
    from tissueclock.tracking.sync import StudyIdentity, StudySync

_POLL_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_CLOSING_TRIES, _CLOSING_PAUSE_S = 3, 0.3


class Follower:
    """Follows the ledgers of one study folder until it is stopped.

    Args:
        uri: The tracker; see `tissueclock.tracking.connection.SCHEMES`.
        study: The study's name: the experiment's, and that of the study's run.
        folder: The study's folder.
        make_client: Makes a client of a URI.
        poll_s: Seconds between two looks at the ledgers.
    """

    def __init__(
        self,
        *,
        uri: str,
        study: str,
        folder: StudyFolder,
        make_client: Callable[[str], Any] = open_client,
        poll_s: float = _POLL_S,
    ) -> None:
        self._uri = uri
        self._study = study
        self._folder = folder
        self._make_client = make_client
        self._poll_s = poll_s
        self._logs: dict[str, SweepLog] = {}
        self._artifacts: deque[tuple[Path, str | None]] = deque()
        self._sync: StudySync | None = None
        self._status: StudyStatus = "finished"
        self._fault: str | None = None
        self._refused = 0, ""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._is_closed = False
        self._thread = threading.Thread(target=self._follow, name="tissueclock-tracking", daemon=True)

    @property
    def fault(self) -> str | None:
        """One line on what keeps the tracker from being up to date; None where nothing does."""
        return self._fault or self._refused[1] or None

    def start(self) -> None:
        """Starts to follow. Returns at once."""
        self._thread.start()

    def log_report(self, report: Path) -> None:
        """Queues a report's folder as artifacts of the study's run, under `report/`."""
        self._artifacts.append((report, "report"))
        self._wake.set()

    def stop(self, *, timeout_s: float, status: StudyStatus = "finished") -> int:
        """Catches up, ends the runs that are open, and ends the thread. Never raises.

        Args:
            timeout_s: How long to wait, in seconds.
            status: How the study ended: `finished`, `failed` or `interrupted`.

        Returns:
            How many ledger lines and queued artifacts are not logged, and one more where the study's run could not be
            ended; 0: the tracker agrees with the ledgers. A tracker that is away is left after
            a few tries; the next run of the study catches up.
        """
        self._status = status
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._wake.set()
        with contextlib.suppress(RuntimeError):  # it was never started
            self._thread.join(timeout_s)
        is_open = self._thread.ident is not None and not self._is_closed
        n_pending = self._refused[0] + len(self._artifacts) + is_open
        with contextlib.suppress(Exception):  # a ledger that cannot be read is the sweep's to complain of
            self._discover()
            for log in list(self._logs.values()):
                n_pending += log.pending.total() + log.n_unread()
        return n_pending

    def _follow(self) -> None:
        n_faults = n_closing = 0
        while True:
            self._wake.clear()
            is_closing = self._stopping.is_set()
            try:
                self._catch_up("running")
                if is_closing:
                    self._catch_up(self._status)
                    self._is_closed = True
                self._fault, n_faults = None, 0
            except Exception as error:
                self._fault = self._said(error)
                self._sync = None  # what was sent and not answered is unknown: look again
                n_faults += 1
            if is_closing:
                n_closing += 1
                if not self._fault or n_closing >= _CLOSING_TRIES or time.monotonic() > self._deadline:
                    return
                time.sleep(_CLOSING_PAUSE_S)
            elif self._fault:
                self._stopping.wait(_pause_s(n_faults))
            else:
                self._wake.wait(self._poll_s)

    def _catch_up(self, status: StudyStatus) -> None:
        """One look at all ledgers, and what it takes to make the tracker agree with them."""
        self._discover()
        for log in self._logs.values():
            log.read()
        sync = self._tracker()
        study = sync.sync_study(status)
        current = self._current_sweeps()
        for log in list(self._logs.values()):
            self._check_deadline()
            is_live = status == "running" and (current is None or log.name in current)
            sync.sync_sweep(log, study=study, live=is_live, current=current)
        while self._artifacts:
            self._check_deadline()
            sync.log_artifacts(study, *self._artifacts[0])
            sync.log_intervals(self._artifacts[0][0])
            self._artifacts.popleft()
        self._refused = sync.refusals.n_lines, sync.refusals.reason or ""

    def _tracker(self) -> "StudySync":
        if self._sync is None:
            prepare_environment()
            from tissueclock.tracking.sync import Refusals, StudySync

            is_server = self._uri.startswith(("http:", "https:"))
            artifact_root = None if is_server else self._folder.artifacts.absolute().as_uri()
            client = self._make_client(self._uri)
            if artifact_root is not None:
                is_own = self._uri == self._folder.default_tracking_uri
                relocate(self._uri, experiment=self._study, artifact_root=artifact_root, is_own=is_own)
            self._sync = StudySync(
                client=client,
                identity=self._identity(),
                folder=self._folder,
                artifact_root=artifact_root,
                refusals=Refusals(*self._refused),
                check=self._check_deadline,
            )
            self._artifacts.extend(
                (path, None)
                for path in (self._folder.study, self._folder.graph)
                if path.is_file() and (path, None) not in self._artifacts
            )
        return self._sync

    def _identity(self) -> "StudyIdentity":
        """The folder's identity, made at the first time and kept in `tracking.json`.

        One that is damaged is put aside: the folder gets another, and is logged from its ledgers as another study.
        """
        from tissueclock.tracking.sync import StudyIdentity

        path = self._folder.tracking
        try:
            facts = read_json(path, schema=1, needed=("study_id", "started_s"))
        except InputError:
            if path.exists():
                path.replace(path.with_suffix(".damaged"))
            facts = {"schema": 1, "study_id": uuid.uuid4().hex, "started_s": round(time.time(), 3)}
            write_json(path, facts)
        return StudyIdentity(self._study, facts["study_id"], facts["started_s"])

    def _discover(self) -> None:
        for sweep in self._folder.sweeps():
            self._logs.setdefault(sweep.path.name, SweepLog(sweep.path.name, sweep))

    def _current_sweeps(self) -> set[str] | None:
        """The sweeps that the study consists of now; a folder may hold others, of an earlier state of its file."""
        if not self._folder.graph.is_file():
            return None
        return set(read_json(self._folder.graph).get("sweeps", {}))

    def _said(self, error: Exception) -> str:
        return one_line_answer(error, self._uri)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError("no time was left to log everything; the next run of the study catches up")


def _pause_s(n_faults: int) -> float:
    """The pause after so many faults in a row: doubling up to a minute, with jitter."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(n_faults - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
