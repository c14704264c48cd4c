import json
import socket

import pytest

from tests.tracking.synthetic import SyntheticSweep
from tests.tracking.trackers import Store, follow
from tissueclock.errors import InputError
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.columns import COLUMNS_TAG
from tissueclock.tracking.page import PageServer, open_page, runs_url


def test_the_address_names_the_runs_of_the_study_in_its_view(folder: StudyFolder) -> None:
    SyntheticSweep(folder, "detection-1").run("t0001")
    follow(folder)
    url = runs_url(folder.default_tracking_uri, study="toy", base="http://host:5000/")
    assert url == ("http://host:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=tissueclock")
    columns = json.loads(Store(folder).client.get_experiment("1").tags[COLUMNS_TAG])["selectedColumns"]
    assert columns == [
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
