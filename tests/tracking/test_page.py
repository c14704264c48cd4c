import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.tracking.synthetic import SyntheticSweep
from tests.tracking.trackers import Store, follow
from tissueclock.errors import InputError
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking import page
from tissueclock.tracking.page import PageServer, open_page, runs_url


def test_the_address_names_the_runs_of_the_study_in_its_view(folder: StudyFolder) -> None:
    SyntheticSweep(folder, "detection-1").run("t0001")
    follow(folder)
    url = runs_url(folder.default_tracking_uri, study="toy", base="http://host:5000/")
    assert url == ("http://host:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=sweeps")
    tags = Store(folder).client.get_experiment("1").tags
    views = {
        tag.removeprefix("mlflow.sharedViewState."): json.loads(state) for tag, state in tags.items() if "View" in tag
    }
    assert {name: view.get("searchFilter") for name, view in views.items()} == {
        "sweeps": "tags.level = 'sweep'",
        "tissueclock": None,
        "trials-detection": "tags.level = 'trial' and tags.phase = 'detection'",
    }
    assert "tags.`holdout_auc_95`" in views["sweeps"]["selectedColumns"]
    assert views["tissueclock"]["selectedColumns"] == [
        "tags.`status`",
        "metrics.`best_value`",
        "metrics.`holdout_auc`",
        "metrics.`epoch`",
        "params.`lr`",
        "params.`freeze_depth`",
        "params.`use_attention`",
    ]


def test_a_study_that_was_never_tracked_is_told(folder: StudyFolder) -> None:
    with pytest.raises(InputError, match=r"study 'toy': nothing is logged at .*; run `tissueclock sweep` first"):
        runs_url(folder.default_tracking_uri, study="toy", base="http://host")


def test_a_port_that_is_taken_is_told(folder: StudyFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1: cannot listen there"):
            PageServer(folder.default_tracking_uri, study="toy", host="127.0.0.1", port=port)


def test_no_page_is_opened_for_a_server_that_is_away() -> None:
    with pytest.raises(InputError, match="no MLflow server answers there"):
        open_page("http://127.0.0.1:9", study="toy")


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_interrupted_while_it_starts_is_not_left_behind(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, number: int, moment: int
) -> None:
    SyntheticSweep(folder, "detection-1").run("t0001")
    follow(folder)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        if moment == 0:
            os.kill(os.getpid(), number)  # before the process is known to anyone
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        if moment == 1:
            os.kill(os.getpid(), number)
        return started[-1]

    def answers(url: str) -> bool:
        if len(asked) == moment - 2:
            os.kill(os.getpid(), number)
        asked.append(url)
        return False

    asked: list[str] = []
    monkeypatch.setattr(page.subprocess, "Popen", start)
    monkeypatch.setattr(page, "_answers", answers)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with contextlib.suppress(KeyboardInterrupt):
        open_page(folder.default_tracking_uri, study="toy", port=port, say=lambda _: None)
    assert [process.poll() is not None for process in started] == [True]
